"""Choosing a state of a build, and drawing what was cloned from what."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.cli.buildshell import choose
from kleene.cli.tree import _ASCII, build, draw
from kleene.errors import InvalidInput, KleeneError, NotFound


def step(number: int, before: str, snapshot: str, *, failed: bool = False) -> dict[str, Any]:
    return {"number": number, "before": before, "snapshot": snapshot, "failed": failed}


GOOD = [step(1, "b", ""), step(2, "b", "s2"), step(3, "s2", ""), step(4, "s2", "s4")]
BAD = [*GOOD, step(5, "s4", "s5", failed=True)]


@pytest.mark.parametrize(
    ("steps", "number", "when", "expected"),
    [
        (GOOD, None, None, "s4"),
        (GOOD, 2, "before", "b"),
        (GOOD, 2, "after", "s2"),
        (GOOD, 3, None, "s2"),
        (BAD, None, None, "s5"),
        (BAD, None, "failed", "s5"),
        (BAD, None, "before", "s4"),
        ([step(1, "b", "", failed=True)], None, None, "b"),
    ],
)
def test_the_state_that_is_meant(
    steps: list[dict[str, Any]], number: int | None, when: str | None, expected: str
) -> None:
    assert choose(steps, number, when)[1] == expected


@pytest.mark.parametrize(
    ("steps", "number", "when", "error"),
    [
        ([], None, None, NotFound),
        (GOOD, 9, None, NotFound),
        (GOOD, None, "failed", NotFound),
        (BAD, 5, "after", InvalidInput),
        ([step(1, "", "")], 1, None, InvalidInput),
    ],
)
def test_states_that_are_not_there(
    steps: list[dict[str, Any]], number: int | None, when: str | None, error: type[KleeneError]
) -> None:
    with pytest.raises(error):
        choose(steps, number, when)


def image(key: str, parent: str, states: list[str], **values: Any) -> dict[str, Any]:
    steps = [[f"RUN {state}", state] for state in states]
    known = {"id": key, "name": key, "tag": "1", "parent": parent, "instructions": steps}
    return known | {"snapshot": states[-1]} | values


def test_a_tree_has_images_on_the_snapshots_that_they_were_cloned_from() -> None:
    images = [
        image("base", "", ["b"], instructions=[]),
        image("web", "base@b", ["w1", "w2"]),
        image("api", "web@w1", ["a1"]),
        image("lost", "gone@x", ["l1"], name=""),
    ]
    container = {"id": "c", "name": "box", "image_id": "web", "snapshot": "w2", "running": True}
    lines = [
        line for node in build(images, [container], every=False) for line in draw(node, _ASCII)
    ]
    assert lines == [
        "base:1 base",
        "`-- @b (the image)",
        "    `-- web:1 web",
        "        |-- @w1 RUN w1",
        "        |   `-- api:1 api",
        "        |       `-- @a1 RUN a1 (the image)",
        "        `-- @w2 RUN w2 (the image)",
        "            `-- container box c (running)",
        "(no name) lost, made from gone@x",
        "`-- @l1 RUN l1 (the image)",
    ]
    assert [node.text for node in build(images, [], every=False, only="web")] == [
        "web:1 web, made from base@b"
    ]
