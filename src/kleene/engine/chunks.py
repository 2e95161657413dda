"""A body that comes in chunks, read by a thread as a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import IO, Any, TypeVar

from kleene.host.threads import own_thread

T = TypeVar("T")


async def read_in_thread(chunks: AsyncIterator[bytes], work: Callable[[IO[bytes]], T]) -> T:
    """What ``work`` makes of the chunks; it ends before this returns or raises.

    A body that breaks off ends the file early, and its error is raised when ``work`` has ended.
    """
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(writing, "wb")
    )
    stream = asyncio.StreamWriter(transport, protocol, None, loop)
    source = os.fdopen(reading, "rb", buffering=0)
    task = own_thread(lambda: _closing(source, work))
    try:
        await _feed(stream, chunks, task)
    finally:
        stream.close()
        await _ended(task)
    return task.result()


def _closing(source: IO[bytes], work: Callable[[IO[bytes]], T]) -> T:
    with source:
        return work(source)


async def _feed(
    stream: asyncio.StreamWriter, chunks: AsyncIterator[bytes], work: asyncio.Future[Any]
) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the thread tells why
        async for chunk in chunks:
            stream.write(chunk)
            await stream.drain()
            if work.done():
                return


async def _ended(work: asyncio.Future[Any]) -> None:
    """Wait for a thread's end, whatever it comes to."""
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
