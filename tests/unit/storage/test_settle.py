"""Calls that finish whatever happens to their caller."""

from __future__ import annotations

import asyncio

import pytest

from kleene.storage.settle import settled


async def cancelled(work: asyncio.Future[None], undone: list[str]) -> asyncio.Task[None]:
    """A task that waits for ``work`` and has been cancelled once it does."""

    async def undo() -> None:
        undone.append("undone")

    async def call() -> None:
        await settled(work, undo=undo)

    task = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    return task


async def test_the_result_is_handed_on() -> None:
    assert await settled(asyncio.sleep(0, "done")) == "done"


async def test_cancelling_waits_and_undoes_what_succeeded() -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    undone: list[str] = []
    task = await cancelled(work, undone)
    assert not task.done()
    work.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["undone"]


async def test_what_failed_is_not_undone() -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    undone: list[str] = []
    task = await cancelled(work, undone)
    work.set_exception(OSError("full"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == []
