"""The files of one log, as if they were one: those that were rotated away, and the one that is written to.

A rotated file is named after the place of its first byte in the whole log, ``log.OFFSET``: so places
stay what they are when the log is rotated and when its oldest file is removed. The file that is written to,
``log``, goes on where the last of them ends. A record lies in one file. Open descriptors belong to the
:class:`Series`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

_TRIES = 20


class Segment(NamedTuple):
    """An open file of a log, and the place of its first byte."""

    start: int
    fd: int

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size


class Rotated(NamedTuple):
    """A file that was rotated away."""

    start: int
    path: Path


class Series:
    """The open files of a log, the oldest first.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.segments = _open(path)

    @property
    def begin(self) -> int:
        """The place of the first byte that is still there."""
        return self.segments[0].start

    def pread(self, size: int, offset: int) -> tuple[bytes, int]:
        """Bytes of one file from a place on, or from the next that is still there; and that place."""
        for segment in self.segments:
            # The file after it is there: so nothing is written to it any more.
            if offset < segment.start + segment.size or segment is self.segments[-1]:
                break
        offset = max(offset, segment.start)
        return os.pread(segment.fd, size, offset - segment.start), offset

    def refresh(self, offset: int) -> None:
        """See whether the log was rotated; what was not read before ``offset`` stays open."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == os.fstat(self.segments[-1].fd).st_ino:  # noqa: PTH116
                return
            new = _open(self._path)
            known = {segment.start for segment in new}
            unread = [
                s for s in self.segments if s.start not in known and s.start + s.size > offset
            ]
            for segment in set(self.segments) - set(unread):
                os.close(segment.fd)
            self.segments = sorted([*unread, *new])

    def close(self) -> None:
        for segment in self.segments:
            os.close(segment.fd)
        self.segments = []


def rotated(path: Path) -> list[Rotated]:
    """The rotated files of the log at ``path``, the oldest first."""
    found = [
        Rotated(int(suffix), each)
        for each in path.parent.glob(f"{path.name}.*")
        if (suffix := each.name.removeprefix(f"{path.name}.")).isdecimal()
    ]
    return sorted(found)


def next_start(path: Path) -> int:
    """The place of the first byte of the file that is written to."""
    files = rotated(path)
    return files[-1].start + files[-1].path.stat().st_size if files else 0


def exists(path: Path) -> bool:
    """Whether there is any file of the log at ``path``."""
    return path.exists() or bool(rotated(path))


def changed(path: Path) -> int:
    """When the log was written to last, in nanoseconds since the epoch.

    Raises:
        FileNotFoundError: there is none.
    """
    files = [path] if path.exists() else [each.path for each in rotated(path)[-1:]]
    if not files:
        raise FileNotFoundError(path)
    return files[0].stat().st_mtime_ns


def _open(path: Path) -> list[Segment]:
    """All files of a log. It may be rotated meanwhile: then what was opened does not fit together.

    Raises:
        FileNotFoundError: there is none.
    """
    for _ in range(_TRIES):
        with contextlib.ExitStack() as undo:
            current = _open_file(path, undo)
            older = _open_rotated(path, undo)
            if current is None and not older:
                break
            inodes = {os.fstat(segment.fd).st_ino for segment in older or ()}
            if older is None or (current is not None and os.fstat(current).st_ino in inodes):
                continue
            undo.pop_all()
            start = older[-1].start + older[-1].size if older else 0
            return older if current is None else [*older, Segment(start, current)]
    raise FileNotFoundError(path)


def _open_rotated(path: Path, undo: contextlib.ExitStack) -> list[Segment] | None:
    """The rotated files; ``None`` if one was removed meanwhile."""
    try:
        return [Segment(each.start, _fd(each.path, undo)) for each in rotated(path)]
    except FileNotFoundError:
        return None


def _open_file(path: Path, undo: contextlib.ExitStack) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return _fd(path, undo)
    return None


def _fd(path: Path, undo: contextlib.ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd
