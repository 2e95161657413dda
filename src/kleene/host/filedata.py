"""The content and the extended attributes of one file, copied from descriptor to descriptor.

Data is shared where the file system can (``FICLONE``), else copied inside the kernel (copy_file_range(2), or
sendfile(2) from one file system to another), else read and written. Holes stay holes. Who wants to know a
content while it is copied is given what was written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

SMALL = 128 * 1024
"""Bytes up to which reading and writing is quicker than asking the file system to share blocks."""

LARGE = 4 * 1024 * 1024
"""Bytes from which on a second thread is worth its start."""

_CHUNK = 1024 * 1024
_PIECE = 4 * _CHUNK  # bytes that are copied before the second thread gets on with them
_BEHIND = 16 * _CHUNK  # bytes after which the disk is told to begin
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


_Wrote = Callable[[int], object]
"""Told up to where the target is written."""


def copy_data(source: int, target: int, status: os.stat_result, sink: Sink | None = None) -> None:
    """Copy the content of ``source``, whose fstat(2) is ``status``, to the empty file ``target``.

    Args:
        sink: gets the content: what is written, or, where blocks are shared, what ``source`` has after that.
            ``target`` must be open for reading, too.

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
        with _beside(target, size, sink) as wrote:
            if status.st_blocks * 512 < size:
                _copy_between_holes(source, target, size, wrote)
            else:
                _copy_range(source, target, (0, size), wrote)


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


def _copy_by_hand(source: int, target: int, start: int, end: int, wrote: _Wrote) -> None:
    while start < end and (data := os.read(source, min(end - start, _CHUNK))):
        write_all(target, data)
        start += len(data)
        wrote(start)


@contextlib.contextmanager
def _beside(target: int, size: int, sink: Sink | None) -> Iterator[_Wrote]:
    """What happens to what was written: it is read back and hashed, and the disk is told to begin with it.

    It is in memory then. The snapshot that follows a copy waits until all is on the disk, so that should not
    begin only then. Of a large file a second thread does both: neither needs the interpreter's lock.
    """
    taken = begun = 0

    def take(end: int) -> None:
        nonlocal taken, begun
        if sink is not None:
            while taken < end and (data := os.pread(target, min(end - taken, _CHUNK), taken)):
                sink.update(data)
                taken += len(data)
        if end - begun >= _BEHIND or end == size:
            _begin_writing(target, begun, end - begun)
            begun = end

    if size < LARGE:
        yield take
        return
    with ThreadPoolExecutor(1, thread_name_prefix="kleene-copy") as second:
        pending: list[Future[None]] = []
        yield lambda end: pending.append(second.submit(take, end))
        for each in pending:
            each.result()


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

    def _copy_between_holes(source: int, target: int, size: int, wrote: _Wrote) -> None:
        """Copy what is between the holes."""
        os.ftruncate(target, size)
        at = 0
        while at < size:
            start = min(_data_after(source, at, size), size)
            at = min(os.lseek(source, start, os.SEEK_HOLE), size) if start < size else size
            _copy_range(source, target, (start, at), wrote)
            wrote(at)

    def _data_after(source: int, at: int, size: int) -> int:
        try:
            return os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return size
            raise

    def _copy_range(source: int, target: int, place: tuple[int, int], wrote: _Wrote) -> None:
        """Copy from one place to another, by the first way that there is between the two files."""
        at, end = place
        os.lseek(source, at, os.SEEK_SET)
        os.lseek(target, at, os.SEEK_SET)
        for way in (_copy_file_range, _send_file):
            try:
                while at < end and (done := way(source, target, at, min(end - at, _PIECE))):
                    at += done
                    wrote(at)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            else:
                return
        os.lseek(source, at, os.SEEK_SET)
        _copy_by_hand(source, target, at, end, wrote)

    def _copy_file_range(source: int, target: int, at: int, size: int) -> int:
        return os.copy_file_range(source, target, size, offset_src=at)

    def _send_file(source: int, target: int, at: int, size: int) -> int:
        return os.sendfile(target, source, at, size)

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

    def _copy_between_holes(source: int, target: int, size: int, wrote: _Wrote) -> None:
        _copy_by_hand(source, target, 0, size, wrote)

    def _copy_range(source: int, target: int, place: tuple[int, int], wrote: _Wrote) -> None:
        _copy_by_hand(source, target, *place, wrote)

    def _begin_writing(target: int, start: int, size: int) -> None:
        return None

    def xattrs(fd: int) -> dict[str, bytes]:
        """Nothing: capabilities of files exist on Linux only."""
        return {}

    def set_xattrs(fd: int, attributes: dict[str, bytes]) -> None:
        """Nothing: see :func:`xattrs`."""
