"""Which stages are in work at the same time, and in which order they are told."""

from __future__ import annotations

import asyncio
import time

import pytest

from kleene.build.cachepolicy import CachePolicy, cache_policy
from kleene.build.events import Event, OutputWritten, StepStarted
from kleene.build.ordering import HELD, InOrder
from kleene.build.schedule import Schedule
from kleene.build.stages import needed_stages
from kleene.dockerfile.document import Dockerfile, read_dockerfile
from kleene.dockerfile.source import Source
from kleene.errors import InvalidInput

DIAMOND = (
    "FROM a AS base\nFROM base AS left\nFROM base AS right\nFROM b AS alone\n"
    "FROM left\nCOPY --from=right x x\nCOPY --from=alone y y\n"
)


def dockerfile(text: str) -> Dockerfile:
    return read_dockerfile(Source.from_text("Dockerfile", text))


def rounds(text: str, limit: int) -> list[list[int]]:
    """What is begun together, when every stage takes as long as the others."""
    nodes = needed_stages(dockerfile(text), {})
    schedule, found = Schedule(nodes, limit), []
    while begun := schedule.begin():
        found.append(begun)
        for index in begun:
            schedule.finish(index)
    return found


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("FROM a\n", 4, [[0]]),
        ("FROM a AS x\nFROM x\n", 4, [[0], [1]]),
        (DIAMOND, 4, [[0, 3], [1, 2], [4]]),
        (DIAMOND, 2, [[0, 3], [1, 2], [4]]),
        (DIAMOND, 1, [[0], [1], [2], [3], [4]]),
        ("FROM a AS x\nFROM a AS y\nFROM a\nCOPY --from=y f f\n", 4, [[1], [2]]),
    ],
)
def test_what_runs_together(text: str, limit: int, expected: list[list[int]]) -> None:
    assert rounds(text, limit) == expected


def test_many_stages_take_no_time_each() -> None:
    count = 3000
    nodes = needed_stages(
        dockerfile("FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(count))), {}
    )
    started, schedule = time.monotonic(), Schedule(nodes, 2)
    while begun := schedule.begin():
        schedule.finish(begun[0])
    assert time.monotonic() - started < 2


def test_a_stage_that_ends_early_lets_the_first_that_can_begin() -> None:
    schedule = Schedule(needed_stages(dockerfile(DIAMOND), {}), 2)
    assert schedule.begin() == [0, 3]
    schedule.finish(3)
    assert schedule.begin() == []
    schedule.finish(0)
    assert schedule.begin() == [1, 2]


def test_stages_are_told_in_order() -> None:
    told: list[Event] = []

    async def take(event: Event) -> None:
        told.append(event)

    async def scene() -> None:
        order = InOrder(take, [0, 1, 2])
        emits = [order.of(stage) for stage in range(3)]
        events = [StepStarted(number, 3, "") for number in range(3)]
        await emits[2](events[2])
        await emits[1](events[1])
        assert told == []
        await emits[0](events[0])
        await order.finish(1)
        assert told == events[:1]
        await order.finish(0)
        assert told == events

    asyncio.run(scene())


def test_who_has_said_much_waits_for_its_turn() -> None:
    async def scene() -> None:
        told: list[Event] = []

        async def take(event: Event) -> None:
            told.append(event)

        order = InOrder(take, [0, 1])
        much = OutputWritten(b"x" * HELD)
        await order.of(1)(much)
        waiting = asyncio.ensure_future(order.of(1)(much))
        await asyncio.sleep(0)
        await order.of(0)(OutputWritten(b"first"))
        assert not waiting.done()
        await order.finish(0)
        await waiting
        assert [len(e.data) for e in told if isinstance(e, OutputWritten)] == [5, HELD, HELD]

    asyncio.run(scene())


def test_the_stage_that_failed_is_told_last() -> None:
    told: list[Event] = []

    async def take(event: Event) -> None:
        told.append(event)

    async def scene() -> None:
        order = InOrder(take, [0, 1, 2])
        await order.of(1)(StepStarted(1, 3, "failed"))
        await order.of(2)(StepStarted(2, 3, "other"))
        await order.stop_at(1)

    asyncio.run(scene())
    assert [event.instruction for event in told if isinstance(event, StepStarted)] == [
        "other",
        "failed",
    ]


def test_what_the_cache_is_asked() -> None:
    policy = cache_policy(dockerfile(DIAMOND), use=True, filters=["Left,alone", "4"], last_step=7)
    assert policy.without == {1, 3, 4}
    assert policy.refusal(0, 7) == ""
    assert "step 7" in policy.refusal(0, 8)
    assert "this stage" in policy.refusal(1, 2)
    assert CachePolicy(use=False).refusal(0, 1)
    with pytest.raises(InvalidInput, match="no stage 'lefd'") as error:
        cache_policy(dockerfile(DIAMOND), use=True, filters=["lefd"], last_step=None)
    assert error.value.hint == "did you mean 'left'?"
