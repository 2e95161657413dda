"""Network namespaces as files: how they are made, entered and removed, and the threads that this needs.

A namespace lives while a process is in it or its file is mounted (network_namespaces(7)). Which namespace
code runs in belongs to the thread, so work that leaves the daemon's own is done in a thread that ends with
it: no failure can leave a thread of the daemon in the wrong one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
_SIOCSIFFLAGS = 0x8914
_UP_RUNNING = 0x1 | 0x40
_LIBC = ctypes.CDLL(None, use_errno=True)

_T = TypeVar("_T")


async def in_own_thread(work: Callable[[], _T]) -> _T:
    """Run ``work`` in a thread of its own. It cannot be stopped: who is cancelled waits for its end, so that
    an undo finds all that was done."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            loop.call_soon_threadsafe(future.set_exception, error)
        else:
            loop.call_soon_threadsafe(future.set_result, result)

    threading.Thread(target=run, name="kleene-network", daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        future.exception()  # looked at, so that asyncio does not report it as forgotten
        raise


def make(file: Path) -> None:
    """Make a namespace, its loopback up, and mount it at ``file``. The calling thread stays in it.

    Raises:
        OSError: not permitted, or the file exists.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o400)
    os.close(descriptor)
    try:
        _call("unshare", _CLONE_NEWNET)
        _loopback_up()
        own = b"/proc/thread-self/ns/net"
        _call("mount", own, os.fsencode(file), None, ctypes.c_ulong(_MS_BIND), None)
    except BaseException:
        file.unlink()
        raise


def enter(file: Path) -> None:
    """Move the calling thread into the namespace.

    Raises:
        FileNotFoundError: there is no such namespace.
        OSError: not permitted, or the file is none.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)


def remove(file: Path) -> None:
    """Take the file of a namespace away; a file that does not exist is passed over.

    Raises:
        OSError: not permitted.
    """
    # EINVAL: a file that nothing is mounted on, left by a crash or the host's restart.
    try:
        _call("umount2", os.fsencode(file), _MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    with contextlib.suppress(FileNotFoundError):
        file.unlink()


def _loopback_up() -> None:
    """By ioctl (netdevice(7)): quicker than by netlink."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP_RUNNING))


def _call(name: str, *arguments: int | bytes | ctypes.c_ulong | None) -> None:
    """Call a function of libc that Python 3.11 does not have."""
    if getattr(_LIBC, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
