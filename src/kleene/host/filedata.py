"""The content and the extended attributes of one file, copied from descriptor to descriptor.

Data is shared where the file system can (``FICLONE``), else copied inside the kernel (copy_file_range(2)),
else read and written. Holes stay holes.
"""

from __future__ import annotations

import errno
import os
import sys

SMALL = 128 * 1024
"""Bytes up to which reading and writing is quicker than asking the file system to share blocks."""

_CHUNK = 1024 * 1024
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


def copy_data(source: int, target: int, status: os.stat_result) -> None:
    """Copy the content of ``source``, whose fstat(2) is ``status``, to the empty file ``target``.

    Raises:
        OSError: as read(2) and write(2).
    """
    size = status.st_size
    if size <= SMALL:
        _copy_by_hand(source, target, size)
    elif not _share(source, target):
        if status.st_blocks * 512 < size:
            _copy_between_holes(source, target, size)
        else:
            _copy_range(source, target, 0, size)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write ``data`` whole: write(2) may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _copy_by_hand(source: int, target: int, size: int) -> None:
    while size > 0 and (data := os.read(source, min(size, _CHUNK))):
        write_all(target, data)
        size -= len(data)


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

    def _copy_between_holes(source: int, target: int, size: int) -> None:
        os.ftruncate(target, size)
        at = 0
        while at < size:
            try:
                start = os.lseek(source, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                raise
            at = min(os.lseek(source, start, os.SEEK_HOLE), size)
            _copy_range(source, target, start, at)

    def _copy_range(source: int, target: int, start: int, end: int) -> None:
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        left = end - start
        try:
            while left > 0 and (done := os.copy_file_range(source, target, left)):
                left -= done
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
        _copy_by_hand(source, target, left)

    def xattrs(fd: int) -> dict[str, bytes]:
        """The attributes that belong to a file's content: ``user.*`` and its capabilities.

        Access lists and security labels speak of the users and the policy of one system; they stay there.
        """
        return {
            name: os.getxattr(fd, name)
            for name in os.listxattr(fd)
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

    def _copy_between_holes(source: int, target: int, size: int) -> None:
        _copy_by_hand(source, target, size)

    def _copy_range(source: int, target: int, start: int, end: int) -> None:
        _copy_by_hand(source, target, end - start)

    def xattrs(fd: int) -> dict[str, bytes]:
        """Nothing: capabilities of files exist on Linux only."""
        return {}

    def set_xattrs(fd: int, attributes: dict[str, bytes]) -> None:
        """Nothing: see :func:`xattrs`."""
