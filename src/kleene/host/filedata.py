"""The content and the extended attributes of one file, copied from descriptor to descriptor.

Data is shared where the file system can (``FICLONE``), else copied inside the kernel (copy_file_range(2)),
else read and written. Holes stay holes. Who wants to know a content while it is copied is given the same
bytes that are written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

SMALL = 128 * 1024
"""Bytes up to which reading and writing is quicker than asking the file system to share blocks."""

LARGE = 4 * 1024 * 1024
"""Bytes from which on a second thread is worth its start."""

_CHUNK = 1024 * 1024
_AHEAD = 16  # chunks that the copy may be ahead of the second thread
_BEHIND = (
    64 * 1024 * 1024
)  # bytes after which the disk is told to begin: in smaller pieces it costs more
_FICLONE = 0x40049409  # linux/fs.h
_NOT_HERE = (
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EPERM,
    errno.ETXTBSY,
    errno.EBADF,
)


class Sink(Protocol):
    """Takes a content piece by piece, as the objects of hashlib do."""

    def update(self, data: bytes, /) -> object: ...


_Took = Callable[[bytes, int], object]
"""Told of a piece that was written, if it was read for that, and of where it ends."""


def copy_data(source: int, target: int, status: os.stat_result, sink: Sink | None = None) -> None:
    """Copy the content of ``source``, whose fstat(2) is ``status``, to the empty file ``target``.

    Args:
        sink: gets the content: what is written, or, where blocks are shared, what ``source`` has after that.

    Raises:
        OSError: as read(2) and write(2).
    """
    size = status.st_size
    if size <= SMALL:
        _copy_small(source, target, size, sink)
    elif _share(source, target):
        if sink is not None:
            read_through(source, size, sink)
    else:
        with _beside(target, size, sink) as took:
            if status.st_blocks * 512 < size:
                _copy_between_holes(source, target, size, took, whole=sink is not None)
            else:
                _copy_range(source, target, (0, size), took, read=sink is not None)


def read_through(fd: int, size: int, sink: Sink) -> None:
    """Give ``sink`` the next ``size`` bytes of a file; fewer if it has shrunk.

    Raises:
        OSError: as read(2).
    """
    while size > 0 and (data := os.read(fd, min(size, _CHUNK))):
        sink.update(data)
        size -= len(data)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write ``data`` whole: write(2) may take less than it is given."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _copy_small(source: int, target: int, size: int, sink: Sink | None) -> None:
    while size > 0 and (data := os.read(source, size)):
        write_all(target, data)
        if sink is not None:
            sink.update(data)
        size -= len(data)


def _copy_by_hand(source: int, target: int, start: int, end: int, took: _Took) -> None:
    while start < end and (data := os.read(source, min(end - start, _CHUNK))):
        write_all(target, data)
        start += len(data)
        took(data, start)


@contextlib.contextmanager
def _beside(target: int, size: int, sink: Sink | None) -> Iterator[_Took]:
    """What happens to each piece that was written: it is hashed, and the disk is told to begin with it.

    The snapshot that follows a copy waits until all is on the disk, so that should not begin only then. Of a
    large file a second thread does both: neither needs the interpreter's lock.
    """
    begun = 0

    def take(data: bytes, end: int) -> None:
        nonlocal begun
        if sink is not None:
            sink.update(data)
        if end - begun >= _BEHIND or end == size:
            _begin_writing(target, begun, end - begun)
            begun = end

    if size < LARGE:
        yield take
        return
    with ThreadPoolExecutor(1, thread_name_prefix="kleene-copy") as second:
        pending: deque[Future[None]] = deque()

        def took(data: bytes, end: int) -> None:
            pending.append(second.submit(take, data, end))
            if len(pending) > _AHEAD:
                pending.popleft().result()

        yield took
        while pending:
            pending.popleft().result()


if sys.platform == "linux":
    import fcntl

    def _share(source: int, target: int) -> bool:
        """Let ``target`` share the blocks of ``source``; false where that cannot be done."""
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno in _NOT_HERE:
                return False
            raise
        return True

    def _copy_between_holes(
        source: int, target: int, size: int, took: _Took, *, whole: bool
    ) -> None:
        """Copy what is between the holes. ``whole``: these are told of too, as the zeros that they are."""
        os.ftruncate(target, size)
        at = 0
        while at < size:
            start = min(_data_after(source, at, size), size)
            if whole:
                _take_zeros(at, start, took)
            at = min(os.lseek(source, start, os.SEEK_HOLE), size) if start < size else size
            _copy_range(source, target, (start, at), took, read=whole)

    def _data_after(source: int, at: int, size: int) -> int:
        try:
            return os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return size
            raise

    def _take_zeros(start: int, end: int, took: _Took) -> None:
        zeros = bytes(min(end - start, _CHUNK))
        while start < end:
            piece = zeros[: end - start]
            start += len(piece)
            took(piece, start)

    def _copy_range(
        source: int, target: int, place: tuple[int, int], took: _Took, *, read: bool
    ) -> None:
        """Copy from one place to another. ``read``: the content is asked for, so it has to be read."""
        at, end = place
        os.lseek(source, at, os.SEEK_SET)
        os.lseek(target, at, os.SEEK_SET)
        try:
            while not read and at < end:
                done = os.copy_file_range(source, target, min(end - at, _BEHIND))
                if not done:
                    return
                at += done
                took(b"", at)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
        _copy_by_hand(source, target, at, end, took)

    _sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    _SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h

    def _begin_writing(target: int, start: int, size: int) -> None:
        """Have the kernel begin to write to the disk. What fails there fails the snapshot, too."""
        _sync_file_range(target, start, size, _SYNC_FILE_RANGE_WRITE)

    def xattrs(fd: int) -> dict[str, bytes]:
        """The attributes that belong to a file's content: ``user.*`` and its capabilities.

        Access lists and security labels speak of the users and the policy of one system; they stay there.
        """
        names = os.listxattr(fd)
        if not names:
            return {}
        return {
            name: os.getxattr(fd, name)
            for name in names
            if name == "security.capability" or name.startswith("user.")
        }

    def set_xattrs(fd: int, attributes: dict[str, bytes]) -> None:
        """Set attributes; ``user.*`` are left out where the file system has none.

        Raises:
            OSError: as setxattr(2).
        """
        for name, value in attributes.items():
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP or not name.startswith("user."):
                    raise

else:

    def _share(source: int, target: int) -> bool:
        return False

    def _copy_between_holes(
        source: int, target: int, size: int, took: _Took, *, whole: bool
    ) -> None:
        _copy_by_hand(source, target, 0, size, took)

    def _copy_range(
        source: int, target: int, place: tuple[int, int], took: _Took, *, read: bool
    ) -> None:
        _copy_by_hand(source, target, *place, took)

    def _begin_writing(target: int, start: int, size: int) -> None:
        return None

    def xattrs(fd: int) -> dict[str, bytes]:
        """Nothing: capabilities of files exist on Linux only."""
        return {}

    def set_xattrs(fd: int, attributes: dict[str, bytes]) -> None:
        """Nothing: see :func:`xattrs`."""
