"""What the processes of a container wrote: the logs of its instances, merged in the order of time.

The keepers write the logs; they stay until they are forgotten with their container. Reading blocks: it
belongs into a thread.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from kleene.runtime import logseries
from kleene.runtime.driver import LogRecord
from kleene.runtime.logfile import Line, LogFile

_SLACK = 1_000_000_000
"""Nanoseconds by which a file's time may be behind what was written: it is taken from a coarse clock."""


class ContainerLog:
    """A :class:`kleene.runtime.driver.Log`.

    Args:
        directory: has a directory for each instance, and in it the file ``log`` and, when the instance has
            ended, one that is named after ``container``.
    """

    def __init__(self, directory: Path, container: str) -> None:
        self._directory = directory
        self._container = container
        self._files: dict[str, LogFile] = {}
        self._ended: set[str] = set()

    def history(self, *, lines: int | None, since: int = 0) -> Iterator[LogRecord]:
        """What is there; at most the last ``lines``, none of it older than ``since``."""
        self._list()
        if lines is not None:
            self._skip_to_last(lines, since)
        parts = [file.records() for file in self._files.values()]
        for record in heapq.merge(*parts, key=attrgetter("time")):
            if record.time >= since:
                yield record

    def news(self) -> list[LogRecord]:
        """What was written since the last call of this, or since the history."""
        self._list()
        found: list[LogRecord] = []
        for name, file in self._files.items():
            if name not in self._ended:
                found += self._news_of(name, file)
        return sorted(found, key=attrgetter("time"))

    def _news_of(self, name: str, file: LogFile) -> list[LogRecord]:
        # Asked for before the log is read: afterwards nothing is written.
        ended = (self._directory / name / self._container).exists()
        with contextlib.suppress(FileNotFoundError):
            file.hold()
            batch = list(file.records())
            if ended:
                self._end(name, file)
            return batch
        self._end(name, file)
        return []

    def _end(self, name: str, file: LogFile) -> None:
        file.release()
        self._ended.add(name)

    def close(self) -> None:
        """Close what is open."""
        for file in self._files.values():
            file.release()

    def _list(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for entry in self._directory.iterdir():
                if entry.name not in self._files and logseries.exists(entry / "log"):
                    self._files[entry.name] = LogFile(entry / "log")

    def _skip_to_last(self, count: int, since: int) -> None:
        """Have every file begin where the last ``count`` lines of all begin."""
        newest: list[tuple[Line, LogFile]] = []
        for written, file in self._newest_first():
            # What was written last in this one, and in all that follow, is older than all that is wanted.
            too_old = len(newest) == count and (not count or written < newest[-1][0].time)
            lines, end = file.last_lines(0 if too_old or written < since else count)
            file.skip_to(end)
            newest += [(line, file) for line in lines]
            newest.sort(key=lambda found: found[0].time, reverse=True)
            del newest[count:]
        for line, file in newest:
            file.skip_to(line.offset)

    def _newest_first(self) -> list[tuple[int, LogFile]]:
        """The files, with a time after which nothing was written to each."""
        dated = []
        for name, file in self._files.items():
            with contextlib.suppress(FileNotFoundError):
                changed = logseries.changed(self._directory / name / "log")
                dated.append((changed + _SLACK, file))
        return sorted(dated, key=lambda found: found[0], reverse=True)
