"""Which leftovers go when there are too many, or they hold too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from kleene.engine.core import iso_time
from kleene.engine.holdings import Holdings, State
from kleene.engine.retention import Retention
from kleene.engine.retention_limits import Limits
from kleene.engine.space import Entry, Space
from kleene.schemas.space import HeldObject
from kleene.storage.driver import Part, Usage

DAY = 86400.0


class FakeSpace:
    """Ten leftovers of 10 bytes each, the first one nine days old, the last one new."""

    def __init__(self, now: float) -> None:
        states = [State(f"s{n}", "gone", iso_time(now - (9 - n) * DAY)) for n in range(10)]
        self.states = {state.id: state for state in states}
        self.gone: set[str] = set()
        self.caches: list[Entry] = []

    def holdings(self) -> Holdings:
        return Holdings({}, dict(self.states), [], frozenset(), frozenset())

    async def measure(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        return [Usage(10 * len(group), 0) for group in groups]

    def mounts(self) -> list[Entry]:
        return self.caches

    async def discard(self, entries: Sequence[Entry]) -> list[str]:
        self.gone |= {entry.shown.id for entry in entries}
        return [entry.shown.id for entry in entries]


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (Limits(None, None, None), 10),
        (Limits(), 10),
        (Limits(age=4.5 * DAY, size=None, count=None), 5),
        (Limits(age=None, size=None, count=3), 3),
        (Limits(age=None, size=35, count=None), 3),
        (Limits(age=None, size=0, count=None), 0),
        (Limits(age=8.5 * DAY, size=70, count=8), 7),
    ],
)
async def test_the_least_used_go_first(
    limits: Limits, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("kleene.engine.retention.time.time", lambda: now)
    space = FakeSpace(now)
    gone = await Retention(cast(Space, cast(Any, space)), limits).enforce()
    assert gone == [f"s{n}" for n in range(10 - left)]
    assert space.gone == set(gone)


def mount(name: str, used: float, *, prunable: bool) -> Entry:
    shown = HeldObject(
        kind="mount", id=name, name=name, used=iso_time(used), own=0, size=0, prunable=prunable
    )
    return Entry(shown, [f"cache/{name}"])


async def test_unused_cache_mounts_count_and_go_by_their_last_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("kleene.engine.retention.time.time", lambda: now)
    space = FakeSpace(now)
    space.caches = [
        mount("old", now - 20 * DAY, prunable=True),
        mount("taken", now - 30 * DAY, prunable=False),
        mount("new", now, prunable=True),
    ]
    limits = Limits(age=None, size=95, count=None)
    gone = await Retention(cast(Space, cast(Any, space)), limits).enforce()
    assert gone == ["old", "s0", "s1"]


async def test_what_a_build_took_while_leftovers_were_measured_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Busy(FakeSpace):
        async def measure(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
            self.states.pop("s1", None)
            return await super().measure(groups)

    now = 1_800_000_000.0
    monkeypatch.setattr("kleene.engine.retention.time.time", lambda: now)
    space = cast(Space, cast(Any, Busy(now)))
    assert await Retention(space, Limits(age=None, size=70, count=None)).enforce() == ["s0", "s2"]
