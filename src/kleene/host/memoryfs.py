"""File systems in memory: mounted and unmounted by system calls. They last until they are unmounted."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from kleene.errors import HostUnavailable

# linux/mount.h and sys/mount.h
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_DETACH = 2


def mount(directory: Path, *, size: int) -> None:
    """Mount an empty file system of at most ``size`` bytes, for root alone, and not to be swapped out.

    Raises:
        HostUnavailable: the kernel refuses.
    """
    if sys.platform != "linux":
        raise HostUnavailable("files in memory are not there yet on this system")
    options = f"mode=0700,size={size}"
    error = _mount(directory, f"{options},noswap")
    if error == errno.EINVAL:  # before Linux 6.4
        error = _mount(directory, options)
    if error:
        raise HostUnavailable(
            f"no file system in memory can be mounted on '{directory}': {os.strerror(error)}"
        )


def _mount(directory: Path, options: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_NOSUID | _NODEV | _NOEXEC)
    path = os.fsencode(directory)
    done = libc.mount(b"kleene", path, b"tmpfs", flags, options.encode())
    return ctypes.get_errno() if done < 0 else 0


def unmount(directory: Path) -> None:
    """Unmount what is mounted on a directory; nothing happens if that is nothing.

    A container that still has a file of it keeps that file until it ends.

    Raises:
        HostUnavailable: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(directory), _DETACH) == 0:
        return
    error = ctypes.get_errno()
    if error != errno.EINVAL:
        raise HostUnavailable(f"'{directory}' cannot be unmounted: {os.strerror(error)}")
