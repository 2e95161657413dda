"""The kernel's mount interface by descriptors: mounts that are nowhere yet, moved into a namespace.

Facts: open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2), setns(2), all since
Linux 5.2, mount_setattr since 5.12. A mount that is in no namespace goes with its last descriptor. Functions
raise ``OSError``; on systems other than Linux, ``HostUnavailable``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kleene.errors import HostUnavailable
from kleene.host.inroot import O_PATH

_T = TypeVar("_T")

# The numbers are the same on every architecture but alpha.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _SETATTR = 428, 429, 430, 431, 432, 442
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_TO_DESCRIPTORS = 0x04 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
_SET_STRING, _CMD_CREATE = 1, 6
_RDONLY, _NOSUID, _NODEV = 0x01, 0x02, 0x04
_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_MS_REC_PRIVATE = 0x4000 | (1 << 18)
_MS_REC_SLAVE = 0x4000 | (1 << 19)
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def clone(fd: int, *, read_only: bool) -> int:
    """A mount of what ``fd`` (``O_PATH`` will do) is open on, without what is mounted below; no device in it
    can be opened."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    tree = _call(_OPEN_TREE, fd, b"", flags)
    with _closed_on_error(tree):
        _restrict(tree, read_only=read_only)
    return tree


def memory(options: dict[str, str]) -> int:
    """A mount of a new file system in memory (tmpfs(5)). ``options``: as ``{"size": "65536"}``."""
    context = _call(_FSOPEN, b"tmpfs", 1)
    try:
        for name, value in options.items():
            _call(_FSCONFIG, context, _SET_STRING, name.encode(), value.encode(), 0)
        _call(_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, 1, _NOSUID | _NODEV)
    finally:
        os.close(context)


def memory_file(content: bytes, mode: int, uid: int, gid: int, *, read_only: bool) -> int:
    """A mount of one file that lies in a file system in memory of its own.

    To be called by :func:`in_own_thread`: only in a namespace can a part of a mount be taken, so the thread
    gets one of its own, that nobody else sees.
    """
    tree = memory({"size": str(len(content) + 65536), "mode": "0700"})
    try:
        _check(_libc.unshare(_CLONE_NEWNS))
        _check(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))
        anywhere = os.open("/dev", O_PATH | os.O_DIRECTORY)
        try:
            attach(tree, anywhere)
        finally:
            os.close(anywhere)
        fd = os.open("file", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tree)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            return clone(fd, read_only=read_only)
        finally:
            os.close(fd)
    finally:
        os.close(tree)


def attach(tree: int, target: int) -> None:
    """Put a mount over what ``target`` is open on, which must be in the thread's namespace."""
    _call(_MOVE_MOUNT, tree, b"", target, b"", _TO_DESCRIPTORS)


def detach(tree: int, proc: int) -> None:
    """Take away a mount that :func:`attach` put into the thread's namespace, wherever it is by now.

    Args:
        proc: the host's ``/proc``, for the thread may see another.
    """
    os.fchdir(proc)
    _check(_libc.umount2(b"self/fd/%d" % tree, _MNT_DETACH))


def namespace_without(directory: Path) -> int:
    """A mount namespace like the host's, in which a small file system in memory, empty, covers a directory;
    it goes with its last descriptor.

    To be called by :func:`in_own_thread`: the thread enters it. What is unmounted on the host meanwhile is
    unmounted in it too, where the host shares its mounts.
    """
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC_SLAVE, None))
    cover = os.fsencode(directory)
    _check(_libc.mount(b"none", cover, b"tmpfs", _NOSUID | _NODEV, b"size=65536,mode=0700"))
    return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace: int) -> None:
    """Make a mount namespace the thread's. Only in :func:`in_own_thread`."""
    _check(_libc.unshare(_CLONE_FS))
    _check(_libc.setns(namespace, _CLONE_NEWNS))


def in_own_thread(work: Callable[[], _T]) -> _T:
    """Do ``work`` in a thread that ends with it, so that no other is in a namespace that it enters. Blocks.

    What ``work`` calls must be imported already: the files that it sees may be a container's.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="mounts")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _restrict(tree: int, *, read_only: bool) -> None:
    attributes = _MountAttr(_NODEV | (_RDONLY if read_only else 0), 0, _MS_PRIVATE, 0)
    size = ctypes.sizeof(attributes)
    _call(_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)


def _call(number: int, *arguments: object) -> int:
    if sys.platform != "linux":
        raise HostUnavailable(f"mounts by descriptors are not there on {sys.platform}")
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *words))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise
