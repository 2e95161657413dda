"""Tar streams between the event loop and threads: out of a directory, and into one.

Each lasts as long as its iteration or call; the thread ends with it, whatever ended it. A stream that is made
for a client goes through :func:`apart`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from typing import IO, Any

from kleene.engine.chunks import read_in_thread
from kleene.engine.core import Core
from kleene.host import archive, tarwrite
from kleene.host.threads import own_thread

_CHUNK = 64 * 1024

Placing = Callable[[list[str]], list[str]]


async def stream(
    root: int, path: str, *, name: str = ".", emptied: Collection[str] = ()
) -> AsyncGenerator[bytes, None]:
    """A tar stream of what is at ``path`` in ``root``, a descriptor that is closed at the end.

    Args:
        name, emptied: as for :func:`kleene.host.tarwrite.write`.
    """
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    sink = os.fdopen(writing, "wb")
    work = own_thread(lambda: _write(root, path, name, sink, emptied))
    try:
        while data := await reader.read(_CHUNK):
            yield data
        await work
    finally:
        transport.close()  # a thread that still writes gets EPIPE
        await _ended(work)
        os.close(root)


async def apart(core: Core, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The chunks, each made in a task of its own; the first of them is made now.

    The task of a client that has gone is cancelled again and again (anyio's cancel scopes), so nothing in it
    can clean up. What makes the chunks is cancelled once, and closed whether they are read or not.

    Raises:
        Exception: whatever stops the stream before its first chunk.
    """
    return _apart(core, chunks, await anext(chunks, None))


async def _apart(
    core: Core, chunks: AsyncGenerator[bytes, None], chunk: bytes | None
) -> AsyncGenerator[bytes, None]:
    step: asyncio.Future[bytes | None] | None = None
    try:
        while chunk is not None:
            yield chunk
            step = asyncio.ensure_future(anext(chunks, None))
            chunk = await asyncio.shield(step)
    finally:
        core.background(_closed(chunks, step), "close stream")


async def _closed(
    chunks: AsyncGenerator[bytes, None], step: asyncio.Future[bytes | None] | None
) -> None:
    if step is not None:
        step.cancel()
        await _ended(step)
    await chunks.aclose()


def _write(root: int, path: str, name: str, sink: IO[bytes], emptied: Collection[str]) -> None:
    with sink:
        tarwrite.write(root, path, sink, lambda: None, name=name, emptied=emptied)


async def extract(
    target: int, chunks: AsyncIterator[bytes], title: str, place: Placing = list
) -> None:
    """Extract a tar stream in the directory ``target``, a descriptor that stays open.

    Args:
        title: of the archive, for messages.
        place: as for :func:`kleene.host.archive.extract`, which tells what is raised.
    """

    # Without all of the archive it is found truncated.
    def work(source: IO[bytes]) -> None:
        archive.extract(source, target, title, lambda _: None, place)

    await read_in_thread(chunks, work)


async def _ended(work: asyncio.Future[Any]) -> None:
    """Wait for the end of a thread or a step, whatever it comes to."""
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
