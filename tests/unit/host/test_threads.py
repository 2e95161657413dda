"""Work in a thread ends with the one who asked for it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from kleene.host import threads


async def test_result_and_error() -> None:
    assert await threads.in_thread(lambda _: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await threads.in_thread(lambda _: 1 // 0)


async def test_cancelling_waits_for_the_thread_to_stop() -> None:
    running, ended = threading.Event(), threading.Event()

    def work(stop: threads.Stop) -> None:
        try:
            while True:
                stop.check()
                running.set()
                time.sleep(0.001)
        finally:
            ended.set()

    task = asyncio.create_task(threads.in_thread(work))
    await asyncio.to_thread(running.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_failing_watcher_stops_the_thread() -> None:
    ended = threading.Event()

    def work(stop: threads.Stop) -> None:
        try:
            for _ in stop.watched(iter(int, 1)):
                time.sleep(0.001)
        finally:
            ended.set()

    async def watch() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await threads.in_thread(work, watch=watch)
    assert ended.is_set()


async def test_watcher_sees_the_end() -> None:
    done: list[int] = []
    seen: list[int] = []

    async def watch() -> None:
        seen[:] = done

    await threads.in_thread(lambda _: done.append(1), watch=watch)
    assert seen == [1]


async def test_work_that_waits_keeps_nobody_from_a_thread() -> None:
    go_on = threading.Event()
    waiting = [asyncio.create_task(threads.in_thread(lambda _: go_on.wait())) for _ in range(70)]
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: 3) == 3
    finally:
        go_on.set()
        await asyncio.gather(*waiting)
