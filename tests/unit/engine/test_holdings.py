"""What may be pruned, and what goes with it."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from kleene.engine.holdings import Going, Holdings, Reference, State
from kleene.metadata.images import ImageRecord
from kleene.storage.driver import Part, Snapshot


def image(
    name: str,
    snapshot: str | None,
    *,
    tag: str | None = "latest",
    state: Literal["making", "ready", "removed"] = "ready",
) -> ImageRecord:
    return ImageRecord(
        id=name,
        name="n" if tag else None,
        tag=tag,
        state=state,
        created="2026-01-01",
        cmd=[],
        env=[],
        user="",
        workdir="/",
        snapshot=snapshot,
        parent="",
    )


def holdings(
    images: list[ImageRecord], states: str, steps: str, *, used: str = "", entered: str = ""
) -> Holdings:
    """``states``: ``SNAPSHOT@IMAGE``; ``steps``: ``IMAGE:BEFORE>AFTER``; ``entered``: by containers."""
    references = []
    for number, step in enumerate(steps.split(), 1):
        owner, _, change = step.partition(":")
        before, _, after = change.partition(">")
        references.append(Reference(owner, number, f"RUN {after}", after or None, before or None))
    found = [State(s.partition("@")[0], s.partition("@")[2], "2026") for s in states.split()]
    return Holdings(
        {record.id: record for record in images},
        {state.id: state for state in found},
        references,
        frozenset(used.split()),
        frozenset(entered.split()),
    )


def names(states: list[State]) -> list[str]:
    return [state.id for state in states]


BASE = image("base", "b")
BUILT = holdings(
    [BASE, image("web", "w2"), image("old", "o2", tag=None), image("stage", None, state="removed")],
    "b@base w1@web w2@web o1@old o2@old s1@stage",
    "web:b>w1 web:w1>w2 web:b>s1 old:b>o1 old:o1>o2",
)


def test_the_states_that_images_are_stay() -> None:
    assert names(BUILT.cache(every=True)) == ["w1", "o1", "s1"]


def test_steps_of_named_images_stay_unless_everything_may_go() -> None:
    assert names(BUILT.cache(every=False)) == ["o1"]


def test_what_a_build_works_with_stays() -> None:
    making = image("new", "b", tag=None, state="making")
    held = holdings(
        [BASE, image("web", "w2"), making], "b@base w1@web w2@web n1@new", "web:b>w1 new:w1>n1"
    )
    assert held.cache(every=True) == []


def test_a_stage_goes_with_the_image_that_it_was_made_for() -> None:
    expected: list[Part] = [
        "image/stage",
        "image/web",
        Snapshot("image/stage", "s1"),
        *(Snapshot("image/web", s) for s in ("w1", "w2")),
    ]
    assert BUILT.parts(Going(images=frozenset(["web"]))) == expected


def test_a_stage_goes_with_its_last_snapshot() -> None:
    assert BUILT.parts(Going(snapshots=frozenset(["s1"]))) == [
        "image/stage",
        Snapshot("image/stage", "s1"),
    ]
    assert BUILT.parts(Going(snapshots=frozenset(["w1"]))) == [Snapshot("image/web", "w1")]


def test_a_base_stays_on_disk_while_something_was_built_from_it() -> None:
    assert "image/base" not in BUILT.parts(Going(images=frozenset(["base"])))
    assert "image/base" in BUILT.parts(Going(images=frozenset(["base", "web", "old"])))


def test_leftovers_are_images_without_a_name_and_failed_builds_that_nobody_uses() -> None:
    held = holdings(
        [BASE, image("a", "x", tag=None), image("f", "y", tag="failed"), image("u", "z", tag=None)],
        "b@base x@a y@f z@u",
        "",
        used="u",
    )
    assert [record.id for record in held.leftovers] == ["a", "f"]


def test_what_a_container_was_made_from_stays_even_if_it_is_a_step() -> None:
    held = holdings([BASE, image("web", "w2")], "w1@web w2@web", "web:b>w1 web:w1>w2", entered="w1")
    assert held.cache(every=True) == []


def _simply(held: Holdings, going: Going) -> set[Part]:
    """:meth:`Holdings.parts` by its definition."""
    hidden = {r.id for r in held.images.values() if r.state == "removed"} | going.images
    used = {r.snapshot for r in held.images.values() if r.id not in hidden}
    for step in held.references:
        if step.image not in going.images:
            used |= {step.snapshot, step.before}
    kept = {s.image for s in held.states.values() if s.id in used - going.snapshots}
    gone = {s for s in held.states.values() if s.image in hidden - kept or s.id in going.snapshots}
    return {
        *(f"image/{i}" for i in hidden - kept),
        *(Snapshot(f"image/{s.image}", s.id) for s in gone),
    }


@given(st.data())
def test_what_goes_is_found_without_looking_at_everything(data: st.DataObject) -> None:
    ids, some = [f"i{n}" for n in range(4)], st.sampled_from
    states = [f"s{n}@{data.draw(some(ids))}" for n in range(6)]
    snapshots = [state.partition("@")[0] for state in states]
    images = [
        image(i, data.draw(some([*snapshots, None])), state=data.draw(some(["ready", "removed"])))
        for i in ids
    ]
    steps = data.draw(st.lists(st.tuples(some(ids), some(snapshots), some(snapshots)), max_size=8))
    held = holdings(images, " ".join(states), " ".join(f"{i}:{a}>{b}" for i, a, b in steps))
    for _ in range(3):
        going = Going(
            frozenset(data.draw(st.sets(some(ids)))), frozenset(data.draw(st.sets(some(snapshots))))
        )
        assert set(held.parts(going)) == _simply(held, going)
