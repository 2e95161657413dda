"""ZFS streams between file descriptors. Holds nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import struct
from collections.abc import Sequence

from kleene.errors import CommandFailed, InvalidInput
from kleene.host import process
from kleene.storage import zfs_command

_HEAD = 24
_MAGIC = 0x2F5BACBAC
_SUBSTREAM = 1
_CHUNK = 1 << 20


async def send(arguments: Sequence[str], fd: int, *, subject: str) -> None:
    """Write the stream of a snapshot to ``fd``: ``[-i BASE] SNAPSHOT``."""
    done = await process.run(["zfs", "send", *arguments], stdout_fd=fd, timeout=None)
    if done.status != 0:
        raise zfs_command.meaning(done, subject)


async def receive(fd: int, name: str, *, subject: str) -> None:
    """Make the dataset ``name`` from the stream that is read from ``fd``.

    Raises:
        InvalidInput: no stream, or one with properties: those could mount it anywhere on the host.
    """
    head = await asyncio.to_thread(_read_exactly, fd, _HEAD)
    if not is_plain(head):
        raise _unreadable(subject, "it must be one whole stream of zfs send, without properties")
    reading, writing = os.pipe()
    pump = asyncio.create_task(asyncio.to_thread(_pump, head, fd, writing))
    try:
        done = await process.run(["zfs", "receive", name], stdin=reading, timeout=None)
    finally:
        os.close(reading)
        await asyncio.wait([pump])
    if done.status != 0:
        raise _understood(done, subject)


async def pipe(arguments: Sequence[str], name: str, *, subject: str) -> None:
    """Send a snapshot into a new dataset of this host."""
    reading, writing = os.pipe()
    sending = asyncio.create_task(_send_and_close(arguments, writing, subject))
    try:
        done = await process.run(["zfs", "receive", name], stdin=reading, timeout=None)
    finally:
        os.close(reading)
        sent = await asyncio.gather(sending, return_exceptions=True)
    if done.status != 0:
        raise _understood(done, subject)
    if sent[0] is not None:
        raise sent[0]


async def _send_and_close(arguments: Sequence[str], fd: int, subject: str) -> None:
    try:
        await send(arguments, fd, subject=subject)
    finally:
        os.close(fd)


def is_plain(head: bytes) -> bool:
    """Whether a stream that begins so is that of one snapshot, without properties.

    ``dmu_replay_record`` of sys/zfs_ioctl.h: type and length (4 bytes each), magic number, then the version,
    whose lowest two bits tell the kind of header; in the byte order of the sender.
    """
    for order in "<>":
        kind, _length, magic, version = struct.unpack(
            f"{order}IIQQ", head.ljust(_HEAD, b"\0")[:_HEAD]
        )
        if magic == _MAGIC:
            return bool(kind == 0 and version & 3 == _SUBSTREAM)
    return False


def _unreadable(subject: str, hint: str, details: str | None = None) -> InvalidInput:
    return InvalidInput(f"the stream for {subject} cannot be read", hint=hint, details=details)


def _understood(done: process.Completed, subject: str) -> Exception:
    error = zfs_command.meaning(done, subject)
    if isinstance(error, CommandFailed):
        return _unreadable(subject, "it must be one whole stream of zfs send", error.details)
    return error


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := os.read(fd, size - len(data))):
        data += chunk
    return data


def _pump(head: bytes, source: int, target: int) -> None:
    """Copy until the source ends or nobody reads the target any more, and close the target."""
    watch = select.poll()
    watch.register(source, select.POLLIN)
    watch.register(target, 0)
    with contextlib.suppress(BrokenPipeError), os.fdopen(target, "wb", buffering=0) as out:
        chunk = head
        while chunk:
            _write_all(out.fileno(), chunk)
            ready = dict(watch.poll())
            chunk = b"" if target in ready else os.read(source, _CHUNK)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
