"""One log of conmon: records of what a process wrote, in the format that Kubernetes calls CRI.

A record is a line: a time, the stream, ``F`` or ``P``, and the bytes, with one space between. ``F`` ends a
line of the output; after ``P`` it goes on in the next record of the stream, so its newline is not part of it.
Facts: conmon's source, ``src/ctr_logging.c``, version 2.1.6. The log only grows, but for its beginning (see
:mod:`kleene.runtime.logseries`); this module only reads it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from kleene.runtime.driver import LogRecord
from kleene.runtime.logseries import Segment, Series

_FIRST_READ, _LARGEST_READ = 16 * 1024, 256 * 1024
_SECOND = 1_000_000_000


class Line(NamedTuple):
    """A line of the output.

    Attributes:
        time: when its last record was written, in nanoseconds since the epoch.
        offset: where it begins.
    """

    time: int
    offset: int


class LogFile:
    """A log and how far it was read. Open only while it is read, or from :meth:`hold` to :meth:`release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._held: Series | None = None
        self._unfinished: set[bytes] = set()  # streams that are in the middle of a line
        self._size = _FIRST_READ

    def hold(self) -> None:
        """Keep it open: so it can be read to its end even when it is removed."""
        if self._held is None:
            self._held = Series(self._path)

    def release(self) -> None:
        """Close it."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def skip_to(self, offset: int) -> None:
        """Read on from ``offset``, where a record begins."""
        self._offset = offset

    def records(self) -> Iterator[LogRecord]:
        """What was not read yet, to the end that the file has then; nothing of a file that is removed."""
        with contextlib.suppress(FileNotFoundError):
            while batch := self.read():
                yield from batch

    def read(self) -> list[LogRecord]:
        """The next records; none if there is no whole one yet."""
        with self._opened() as files:
            while True:
                data, self._offset = files.pread(self._size, self._offset)
                whole = data.rfind(b"\n") + 1
                if whole or len(data) < self._size:
                    break
                self._size *= 2
        self._size = max(self._size, _LARGEST_READ)
        self._offset += whole
        found = (self._record(line) for line in data[:whole].split(b"\n")[:-1])
        return [record for record in found if record is not None]

    def _record(self, line: bytes) -> LogRecord | None:
        fields = _fields(line)
        if fields is None:
            return None
        begins = fields.stream not in self._unfinished
        if fields.whole:
            self._unfinished.discard(fields.stream)
        else:
            self._unfinished.add(fields.stream)
        stream: Literal["stdout", "stderr"] = "stderr" if fields.stream == b"stderr" else "stdout"
        return LogRecord(stream, fields.data, fields.time, begins)

    def last_lines(self, count: int) -> tuple[list[Line], int]:
        """The last lines, the newest first, at most ``count``; and where the last whole record ends."""
        lines: list[Line] = []
        end = newest = 0
        with self._opened() as files:
            begin = files.begin
            for record in (r for each in reversed(files.segments) for r in _backwards(each)):
                end = end or record.end
                if record.fields.whole or not newest:
                    if newest and len(lines) < count:
                        lines.append(Line(newest, record.end))
                    newest = record.fields.time
                if len(lines) >= count:
                    return lines, end
        return ([*lines, Line(newest, begin)] if newest else lines), end

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Series]:
        if self._held is not None:
            self._held.refresh(self._offset)
            yield self._held
            return
        files = Series(self._path)
        try:
            yield files
        finally:
            files.close()


class _Fields(NamedTuple):
    time: int
    stream: bytes
    whole: bool
    data: bytes


class _Record(NamedTuple):
    end: int
    fields: _Fields


def _fields(line: bytes) -> _Fields | None:
    """The parts of a line of the log; ``None`` if it is not a record."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    time, stream, tag, content = parts
    whole = tag == b"F"
    return _Fields(_nanoseconds(time), stream, whole, content + b"\n" if whole else content)


def _nanoseconds(text: bytes) -> int:
    """A time of a record, such as ``2026-11-24T00:01:59.952684908+00:00``; 0 if it is none."""
    return _second(text[:19], text[29:]) + int(text[20:29]) if len(text) == 35 else 0


@lru_cache(maxsize=16)
def _second(text: bytes, zone: bytes) -> int:
    return int(datetime.fromisoformat((text + zone).decode("ascii")).timestamp()) * _SECOND


def _backwards(file: Segment) -> Iterator[_Record]:
    """All whole records of a file, the last one first."""
    position = file.size
    rest = b""  # of a record that begins before `position`
    while position:
        start = max(0, position - _LARGEST_READ)
        data = os.pread(file.fd, position - start, start) + rest
        cut = data.find(b"\n") + 1 if start else 0
        yield from _split_backwards(data, cut, file.start + start)
        rest, position = data[:cut] if start else b"", start


def _split_backwards(data: bytes, cut: int, start: int) -> Iterator[_Record]:
    end = data.rfind(b"\n") + 1
    while end > cut:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        if (fields := _fields(data[begin : end - 1])) is not None:
            yield _Record(start + end, fields)
        end = begin
