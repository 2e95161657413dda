"""Subvolumes as streams: the ``btrfs`` tool between file descriptors. Holds nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from kleene.errors import InvalidInput
from kleene.host import process
from kleene.storage.driver import Usage
from kleene.storage.layout import pool_full


async def send(arguments: Sequence[str], fd: int) -> None:
    """Write the stream of a read-only subvolume to ``fd`` (btrfs-send(8)).

    Args:
        arguments: its absolute path, with ``-p BASE`` before it for the change since ``BASE`` only.
    """
    argv = ["btrfs", "send", "-q", *arguments]
    (await process.run(argv, stdout_fd=fd, timeout=None)).check()


async def receive(fd: int, directory: Path, dataset: str) -> None:
    """Make a read-only subvolume in ``directory`` from the stream that is read from ``fd``.

    The tool confines itself to the directory (``-C``), whatever paths the stream has (btrfs-receive(8)).

    Raises:
        HostUnavailable: the pool is full.
        InvalidInput: what was read is no stream.
    """
    argv = ["btrfs", "receive", "-q", "-e", "-C", str(directory)]
    done = await process.run(argv, stdin=fd, timeout=None)
    if b"No space left on device" in done.stderr:
        raise pool_full(directory)
    if done.status != 0:
        raise InvalidInput(
            f"the stream for dataset '{dataset}' cannot be read",
            hint="it must be one whole stream of btrfs send",
            details=done.stderr.decode(errors="replace").strip(),
        )


async def pipe(path: str, receiver: Callable[[int], Awaitable[None]]) -> None:
    """Send the read-only subvolume at ``path`` to a receiver in this process."""
    reading, writing = os.pipe()
    sending = asyncio.create_task(_send_and_close(path, writing))
    try:
        await receiver(reading)
        await sending
    finally:
        os.close(reading)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send_and_close(path: str, fd: int) -> None:
    try:
        await send([path], fd)
    finally:
        os.close(fd)


async def usage(path: Path) -> Usage:
    """The space of a subvolume, by looking at every extent of it (btrfs-filesystem(8), ``du``)."""
    argv = ["btrfs", "filesystem", "du", "-s", "--raw", str(path)]
    done = (await process.run(argv, timeout=None)).check()
    total, exclusive = done.stdout.decode(errors="replace").splitlines()[-1].split()[:2]
    return Usage(exclusive=int(exclusive), referenced=int(total))
