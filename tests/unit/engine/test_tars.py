"""Streams whose reader goes away: what makes them cleans up in peace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from kleene.engine import tars
from kleene.engine.core import Core


class Source:
    """A stream that never ends, and takes its time to clean up."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.cleaned = False
        self.core = cast(Core, SimpleNamespace(background=self._background))

    def _background(self, work: Coroutine[Any, Any, Any], _: str) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            while True:
                await asyncio.sleep(0.001)
                yield b"more"
        finally:
            for _ in range(5):
                await asyncio.sleep(0.001)
            self.cleaned = True

    async def settle(self) -> None:
        for _ in range(1000):
            await asyncio.sleep(0.001)
            if self.cleaned:
                return
        pytest.fail("nothing was cleaned up")


async def test_a_reader_that_is_cancelled_again_and_again() -> None:
    source = Source()
    stream = await tars.apart(source.core, source.chunks())
    with anyio.CancelScope() as scope:
        async for _ in stream:
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
    await source.settle()
    assert not any(task.cancelled() or task.exception() for task in source.tasks)


async def test_a_stream_that_nobody_reads() -> None:
    source = Source()
    stream = await tars.apart(source.core, source.chunks())
    del stream
    await source.settle()


async def test_a_stream_that_is_read_to_its_end() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for chunk in (b"a", b"", b"b"):
            yield chunk

    source = Source()
    assert [c async for c in await tars.apart(source.core, chunks())] == [b"a", b"", b"b"]
    assert [c async for c in await tars.apart(source.core, _nothing())] == []


async def _nothing() -> AsyncGenerator[bytes, None]:
    for chunk in list[bytes]():
        yield chunk


async def test_what_stops_a_stream_at_once_is_told_at_once() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        raise FileNotFoundError
        yield b""

    with pytest.raises(FileNotFoundError):
        await tars.apart(Source().core, chunks())
