"""Blocking work in a thread that can be stopped, and that never outlives who asked for it.

Such work waits for clients and servers, as long as they like. So it never takes a thread of the event loop's
pool, which has a few: what is short (``asyncio.to_thread``) would wait behind it, all over the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

WATCH_INTERVAL = 0.2
"""Seconds between two calls of a watcher."""


class Stopped(Exception):
    """The caller of the work has gone away. Never reaches it: it gets its ``CancelledError``."""


class Stop:
    """Tells a thread that it is to end; the thread asks by :meth:`check` every few milliseconds."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to end."""
        self._event.set()

    def check(self) -> None:
        """Raise :class:`Stopped` if the thread is to end."""
        if self._event.is_set():
            raise Stopped

    def watched(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items, with a :meth:`check` before each."""
        for item in items:
            self.check()
            yield item


def own_thread(work: Callable[[], _T]) -> asyncio.Future[_T]:
    """``work`` begun in a thread of its own, which ends with it; cancelling the future does not stop it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="kleene-work")
    try:
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(pool, context.run, work)
    finally:
        pool.shutdown(wait=False)


async def in_thread(
    work: Callable[[Stop], _T], *, watch: Callable[[], Awaitable[None]] | None = None
) -> _T:
    """Do ``work`` in a thread. If this call is cancelled, it waits until the thread has stopped.

    So what the thread works on can be taken away when this returns or raises.

    Args:
        watch: awaited now and then while the work goes on, and once at its end, to report progress.
    """
    stop = Stop()
    task = own_thread(lambda: work(stop))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=WATCH_INTERVAL if watch else None)
            if watch is not None:
                await watch()
    except BaseException:
        stop.set()
        await _wait_for(task)
        raise
    return task.result()


async def _wait_for(task: asyncio.Future[_T]) -> None:
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
