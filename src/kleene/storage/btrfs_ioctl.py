"""The btrfs ioctls that the driver needs, on open file descriptors. Holds no state.

Numbers and layouts are those of ``linux/btrfs.h`` and ``linux/btrfs_tree.h``, in the generic encoding of
``asm-generic/ioctl.h`` (x86, arm, riscv, s390). The calls go through ctypes and not through
:func:`fcntl.ioctl`: that one keeps the interpreter's lock for arguments of more than 1024 bytes, and these
wait for the disk. All raise :class:`OSError` with the kernel's ``errno``.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass

FIRST_INODE = 256
"""Inode number of the root directory of every subvolume (``BTRFS_FIRST_FREE_OBJECTID``)."""

_ROOT_TREE = 1
_UUID_TREE = 9
_EXTENT_DATA_KEY = 108
_ROOT_REF_KEY = 156
_ORPHANS, _ORPHAN_KEY = 2**64 - 5, 48
_UUID_SUBVOL_KEY = 251
_INLINE = 0
_FILE_EXTENT_SIZE = 53  # struct btrfs_file_extent_item with a place on disk
_SEARCHED = 256 * 1024
_SEARCHED_OF_ONE = 16 * 1024
_MAX = 2**64 - 1
_RDONLY = 1 << 1
_SPEC_BY_ID = 1 << 4
_NAME_MAX = 255
_ARGS_SIZE = 4096

_ENABLE_SIMPLE_QUOTA = 4
_MAX_REFERENCED = 1 << 0

_WRITE, _READ = 1, 2


def _number(direction: int, number: int, size: int) -> int:
    """``_IOC`` of asm-generic/ioctl.h for btrfs' magic number."""
    return direction << 30 | size << 16 | 0x94 << 8 | number


_SYNC = _number(0, 8, 0)
_SUBVOL_CREATE = _number(_WRITE, 14, _ARGS_SIZE)
_TREE_SEARCH = _number(_READ | _WRITE, 17, _ARGS_SIZE)
_SNAP_CREATE_V2 = _number(_WRITE, 23, _ARGS_SIZE)
_FS_INFO = _number(_READ, 31, 1024)
_TREE_SEARCH_V2 = _number(_READ | _WRITE, 17, 112)
_QUOTA_CTL = _number(_READ | _WRITE, 40, 16)
_QGROUP_LIMIT = _number(_READ, 43, 48)
_GET_SUBVOL_INFO = _number(_READ, 60, 504)
_SNAP_DESTROY_V2 = _number(_WRITE, 63, _ARGS_SIZE)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class SubvolumeInfo:
    """What the kernel knows of a subvolume.

    Attributes:
        id: of its tree; never used again in this file system.
        created: when it was made, in seconds since the epoch.
        readonly: whether it is a frozen one.
        generation: of the last transaction that changed it.
        parent: UUID of what it is a snapshot of; zeros if it is none.
    """

    id: int
    created: float
    readonly: bool
    generation: int
    parent: bytes


def _ioctl(fd: int, request: int, argument: ctypes.Array[ctypes.c_char]) -> None:
    if _libc.ioctl(ctypes.c_int(fd), ctypes.c_ulong(request), argument) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _buffer(
    layout: str, *values: int | bytes, size: int = _ARGS_SIZE
) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack(layout, *values), size)


def _encoded(name: str) -> bytes:
    data = os.fsencode(name)
    if not data or len(data) > _NAME_MAX or b"/" in data:
        raise ValueError(f"not the name of a subvolume: {name!r}")
    return data


def create_subvolume(directory: int, name: str) -> None:
    """Make an empty subvolume ``name`` in ``directory``. Durable after fsync(2) of ``directory``."""
    _ioctl(directory, _SUBVOL_CREATE, _buffer("=q4088s", 0, _encoded(name)))


def create_snapshot(source: int, directory: int, name: str, *, readonly: bool) -> None:
    """Make ``name`` in ``directory`` a snapshot of the subvolume ``source``, written data included.

    Commits the transaction: durable on return.
    """
    flags = _RDONLY if readonly else 0
    argument = _buffer("=qQQ32s4040s", source, 0, flags, b"", _encoded(name))
    _ioctl(directory, _SNAP_CREATE_V2, argument)


def destroy_subvolume(fd: int, subvolume_id: int) -> None:
    """Take a subvolume away by its id; ``fd`` is anything in the file system. Its space comes back later.

    Durable after fsync(2) of the directory that it lay in. Raises ENOTEMPTY while there is a subvolume in it.
    Linux 5.7.
    """
    _ioctl(fd, _SNAP_DESTROY_V2, _buffer("=qQQ32sQ", 0, 0, _SPEC_BY_ID, b"", subvolume_id))


def subvolume_info(fd: int) -> SubvolumeInfo:
    """Facts about the subvolume that ``fd`` lies in. Linux 4.18."""
    raw = ctypes.create_string_buffer(504)
    _ioctl(fd, _GET_SUBVOL_INFO, raw)
    tree, _name, _parent, _dir, generation, flags = struct.unpack_from("=Q256sQQQQ", raw)
    seconds, nanoseconds = struct.unpack_from("=QI", raw, 392)
    return SubvolumeInfo(
        tree, seconds + nanoseconds / 1e9, bool(flags & 1), generation, raw.raw[312:328]
    )


def write_back(fd: int) -> None:
    """Write out all that was written in the file system of ``fd`` (syncfs(2)), so that it has its place."""
    if _libc.syncfs(ctypes.c_int(fd)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def filesystem_id(fd: int) -> bytes:
    """The 16 bytes that tell this file system from every other."""
    raw = ctypes.create_string_buffer(1024)
    _ioctl(fd, _FS_INFO, raw)
    return raw.raw[16:32]


def enable_simple_quota(fd: int) -> None:
    """Charge subvolumes for what they write from now on. Linux 6.7; nothing happens if it is so already."""
    _ioctl(fd, _QUOTA_CTL, _buffer("=QQ", _ENABLE_SIMPLE_QUOTA, 0, size=16))


def limit_subvolume(fd: int, size: int | None) -> None:
    """Charge the subvolume that ``fd`` lies in for at most ``size`` bytes. Durable with the next commit."""
    most = _MAX if size is None else size
    _ioctl(fd, _QGROUP_LIMIT, _buffer("=QQQQQQ", 0, _MAX_REFERENCED, most, 0, 0, 0, size=48))


def sync(fd: int) -> None:
    """Write all that the file system has in memory to disk, and commit."""
    _ioctl(fd, _SYNC, ctypes.create_string_buffer(1))


def nested_subvolumes(fd: int, subvolume_id: int) -> list[int]:
    """Ids of the subvolumes that lie directly in the one given, wherever in it.

    Asks the root tree, so that no path that somebody made in the subvolume is ever walked.
    """
    found: list[int] = []
    while batch := _root_refs(fd, subvolume_id, found[-1] + 1 if found else 0):
        found += batch
    return found


def _root_refs(fd: int, parent: int, first: int) -> list[int]:
    """One answer of the tree search for the children of ``parent`` with an id of ``first`` or more."""
    key = struct.pack(
        "=7Q4I4Q",
        *(_ROOT_TREE, parent, parent, first, _MAX, 0, _MAX),
        *(_ROOT_REF_KEY, _ROOT_REF_KEY, _ARGS_SIZE, 0),
        *(0, 0, 0, 0),
    )
    raw = ctypes.create_string_buffer(key, _ARGS_SIZE)
    _ioctl(fd, _TREE_SEARCH, raw)
    (count,) = struct.unpack_from("=I", raw, 64)
    children, position = [], len(key)
    for _ in range(count):
        _transaction, _object, child, _type, length = struct.unpack_from("=QQQII", raw, position)
        children.append(child)
        position += 32 + length
    return children


def has_destroyed(fd: int) -> bool:
    """Whether there are destroyed subvolumes that the kernel has not taken apart yet (orphan items)."""
    key = _search_key(_ROOT_TREE, (_ORPHANS, _ORPHAN_KEY, 0), (_ORPHANS, _ORPHAN_KEY, _MAX))
    raw = ctypes.create_string_buffer(key, _ARGS_SIZE)
    _ioctl(fd, _TREE_SEARCH, raw)
    return struct.unpack_from("=I", raw, 64) != (0,)


def subvolume_of(fd: int, uuid: bytes) -> int | None:
    """The id of the subvolume of this UUID, if there is one (``BTRFS_UUID_KEY_SUBVOL``)."""
    object_id, offset = struct.unpack("=QQ", uuid)
    key = (object_id, _UUID_SUBVOL_KEY, offset)
    raw = ctypes.create_string_buffer(_search_key(_UUID_TREE, key, key), _ARGS_SIZE)
    _ioctl(fd, _TREE_SEARCH, raw)
    if struct.unpack_from("=I", raw, 64) == (0,):
        return None
    (found,) = struct.unpack_from("=Q", raw, 104 + 32)
    return int(found)


def _search_key(tree: int, first: tuple[int, int, int], last: tuple[int, int, int]) -> bytes:
    """``struct btrfs_ioctl_search_key`` for all items from one key to another."""
    return struct.pack(
        "=7Q4I4Q",
        *(tree, first[0], last[0], first[2], last[2], 0, _MAX),
        *(first[1], last[1], 2**32 - 1, 0),
        *(0, 0, 0, 0),
    )


def data_extents(fd: int, subvolume_id: int, inode: int | None = None) -> Iterator[tuple[int, int]]:
    """Where the data of a subvolume's files lies: address and length on disk, in bytes, many times over.

    What is not written out yet is not there, nor are small files, which lie in the tree itself. ``fd`` is
    anything in the file system. Linux 3.16 (``BTRFS_IOC_TREE_SEARCH_V2``).

    Args:
        inode: of the one file that is meant.
    """
    room = _SEARCHED if inode is None else _SEARCHED_OF_ONE
    raw = ctypes.create_string_buffer(112 + room)
    first, last = (inode or FIRST_INODE, 0, 0), (inode or _MAX - 256, 255, _MAX)
    while True:
        key = _search_key(subvolume_id, first, last)
        ctypes.memmove(raw, key + struct.pack("=Q", room), 112)
        try:
            _ioctl(fd, _TREE_SEARCH_V2, raw)
        except FileNotFoundError:  # it was destroyed meanwhile
            return
        (count,) = struct.unpack_from("=I", raw, 64)
        if not count:
            return
        first = yield from _extents_in(raw, count)


def _extents_in(
    raw: ctypes.Array[ctypes.c_char], count: int
) -> Generator[tuple[int, int], None, tuple[int, int, int]]:
    """The extents in one answer of the tree search; the key after its last one."""
    view, position = memoryview(raw), 112
    header, extent = struct.Struct("=8xQQII").unpack_from, struct.Struct("=BQQ").unpack_from
    inode = offset = kind = 0
    for _ in range(count):
        inode, offset, kind, length = header(view, position)
        position += 32
        if kind == _EXTENT_DATA_KEY and length == _FILE_EXTENT_SIZE:
            how, address, size = extent(view, position + 20)
            if how != _INLINE and address:
                yield address, size
        position += length
    if offset < _MAX:
        return inode, kind, offset + 1
    return inode, kind + 1, 0
