"""What files outside the datasets hold on disk, alone and together: the blocking half.

A file system that lets files share blocks (XFS, btrfs) tells of each extent whether it is shared
(``FS_IOC_FIEMAP``, Documentation/filesystems/fiemap in the kernel's sources); everywhere else a file has its
blocks for itself (stat(2)). ZFS does not tell what files share by block cloning: there it counts as often
as there are files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from kleene.host import inroot
from kleene.host.filedata import SMALL
from kleene.host.treewalk import walk
from kleene.storage.driver import Files, Part, Usage

Extent = tuple[int, int, int]
"""A device, and what tells a place on it from every other: an address, or an inode and -1."""

_FIEMAP = 0xC020660B
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_AT_ONCE = 16  # more than 1,024 bytes would make the call keep the interpreter's lock
_WRITE_OUT = 1  # FIEMAP_FLAG_SYNC
_LAST, _SHARED = 0x1, 0x2000  # FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_SHARED
_BLOCK = 512  # stat(2), st_blocks


def measure(groups: Sequence[Sequence[Part]], check: Callable[[], None]) -> list[Usage]:
    """What the :class:`Files` of each group hold, as of :meth:`StorageDriver.space`; its other parts nothing.

    Args:
        check: raises when nobody wants to know any more.
    """
    sizes: dict[Extent, int] = {}
    held: dict[Files, list[Extent]] = {}
    for part in {part for group in groups for part in group if isinstance(part, Files)}:
        check()
        extents = [extent for path in files_of(part) for extent in _extents(*path)]
        sizes.update(extents)
        held[part] = [key for key, _ in extents]
    users = Counter(key for keys in held.values() for key in keys)
    return [_usage(group, held, sizes, users) for group in groups]


def _usage(
    group: Iterable[Part],
    held: dict[Files, list[Extent]],
    sizes: dict[Extent, int],
    users: Counter[Extent],
) -> Usage:
    parts = {part for part in group if isinstance(part, Files)}
    own = Counter(key for part in parts for key in held[part])
    return Usage(
        exclusive=sum(sizes[key] for key, times in own.items() if times == users[key]),
        referenced=sum(sizes[key] for key in own),
    )


def files_of(part: Files) -> Iterator[tuple[str, os.stat_result]]:
    """The file, or the directory with all in it. What goes meanwhile is passed over."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(part.path)
        if not stat.S_ISDIR(status.st_mode):
            yield part.path, status
            return
        with inroot.root_fd(part.path) as top:
            for entry in walk(top, changing=True):
                yield f"{part.path}/{entry.path}", entry.stat


def _extents(path: str, status: os.stat_result) -> Iterator[tuple[Extent, int]]:
    """Where a file lies, with the bytes that it takes there."""
    taken = status.st_blocks * _BLOCK
    if stat.S_ISREG(status.st_mode) and status.st_size > SMALL:  # others are never made to share
        with contextlib.suppress(FileNotFoundError):
            for address, size in _shared(path):
                yield (status.st_dev, address, 0), size
                taken -= size
    yield (status.st_dev, status.st_ino, -1), max(taken, 0)


def _shared(path: str) -> Iterator[tuple[int, int]]:
    """The extents of a file that others have too: address and length on the disk, in bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        start, last = 0, False
        while not last:
            request = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
            _HEAD.pack_into(request, 0, start, 2**64 - 1 - start, _WRITE_OUT, 0, _AT_ONCE, 0)
            fcntl.ioctl(fd, _FIEMAP, request)
            count = _HEAD.unpack_from(request)[3]
            last = count == 0
            for number in range(count):
                where = _HEAD.size + number * _EXTENT.size
                logical, address, length, flags = _EXTENT.unpack_from(request, where)
                start, last = logical + length, bool(flags & _LAST)
                if flags & _SHARED:
                    yield address, length
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        os.close(fd)
