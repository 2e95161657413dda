"""The files of one log, as if they were one.

A keeper writes to ``log``, and begins a new file of that name now and then: the one before would be gone. So
each file has a second name as soon as somebody looks at it, ``log.OFFSET``, after the place of its first byte
in the whole log: places stay what they are when a new file is begun and when the oldest is removed. A record
lies in one file. Open descriptors belong to the :class:`Series`.
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
    """A file by its second name."""

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

    def pread(self, wanted: int, offset: int) -> tuple[bytes, int]:
        """Bytes of one file from a place on, or from the next that is still there; and that place."""
        for segment in self.segments:
            # The file after it is there: so nothing is written to it any more.
            size = segment.size
            if (size and offset < segment.start + size) or segment is self.segments[-1]:
                break
        offset = max(offset, segment.start)
        return os.pread(segment.fd, wanted, offset - segment.start), offset

    def refresh(self, offset: int) -> None:
        """See whether a new file was begun; what was not read before ``offset`` stays open."""
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


def secure(path: Path) -> None:
    """Give the file that is written to its second name, if it has none yet.

    Raises:
        FileNotFoundError: there is no such file.
    """
    while True:
        files = rotated(path)
        last = files[-1].path.stat() if files else None
        if last is not None and last.st_ino == path.stat().st_ino:
            return
        # An empty file takes a place too: a name is given once.
        start = files[-1].start + max(1, last.st_size) if last is not None else 0
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            path.with_name(f"{path.name}.{start}").hardlink_to(path)
            return


def rotated(path: Path) -> list[Rotated]:
    """The files of the log at ``path`` by their second names, the oldest first."""
    found = [
        Rotated(int(suffix), each)
        for each in path.parent.glob(f"{path.name}.*")
        if (suffix := each.name.removeprefix(f"{path.name}.")).isdecimal()
    ]
    return sorted(found)


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
    """All files of a log. One may be removed meanwhile: then it is tried again.

    Raises:
        FileNotFoundError: there is none.
    """
    for _ in range(_TRIES):
        with contextlib.ExitStack() as undo, contextlib.suppress(FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                secure(path)
            found = [Segment(each.start, _fd(each.path, undo)) for each in rotated(path)]
            if not found:
                break
            undo.pop_all()
            return found
    raise FileNotFoundError(path)


def _fd(path: Path, undo: contextlib.ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd
