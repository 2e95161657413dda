"""Tar streams between the event loop and threads: out of a directory, and into one.

Each lasts as long as its iteration or call; the thread ends with it, whatever ended it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from typing import IO

from kleene.engine.chunks import read_in_thread
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


async def _ended(work: asyncio.Future[None]) -> None:
    """Wait for a thread's end, whatever it comes to."""
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
