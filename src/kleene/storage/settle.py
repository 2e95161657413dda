"""Calls that finish whatever happens to their caller. Holds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def settled(
    work: Awaitable[_T], *, undo: Callable[[], Awaitable[object]] | None = None
) -> _T:
    """Await ``work`` to its end, even when the caller is cancelled meanwhile; then undo it, if it succeeded.

    A system call in a thread cannot be called back, and a tool that is killed may have done its work.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if undo is not None and not running.cancelled() and running.exception() is None:
            await undo()
        raise
