"""Which leftovers go when there are too many, or they hold too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from kleene.engine.core import iso_time
from kleene.engine.holdings import Going, Holdings, State
from kleene.engine.retention import Retention
from kleene.engine.retention_limits import Limits
from kleene.engine.space import Space
from kleene.storage.driver import Part, Usage

DAY = 86400.0


class FakeSpace:
    """Ten leftovers of 10 bytes each, the first one nine days old, the last one new."""

    def __init__(self, now: float) -> None:
        states = [State(f"s{n}", "gone", iso_time(now - (9 - n) * DAY)) for n in range(10)]
        self.states = {state.id: state for state in states}
        self.gone: set[str] = set()

    def holdings(self) -> Holdings:
        return Holdings({}, dict(self.states), [], frozenset())

    async def measure(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        return [Usage(10 * len(group), 0) for group in groups]

    async def discard(self, going: Going) -> None:
        self.gone |= going.snapshots


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
