"""Whom the kernel kills when memory is short."""

from __future__ import annotations

import pytest

from kleene.runtime import oom

WITH = frozenset({"CAP_SYS_RESOURCE"})


@pytest.mark.parametrize(
    ("own", "capabilities", "expected"),
    [
        (0, WITH, 0),
        (-500, WITH, 0),
        (200, WITH, 200),
        (0, frozenset(), 25),
        (-1000, frozenset(), 25),
        (990, frozenset(), 1000),
    ],
)
def test_adjustment(own: int, capabilities: frozenset[str], expected: int) -> None:
    assert oom.adjustment(own, capabilities) == expected


def test_a_process_that_has_ended_needs_no_sparing() -> None:
    none = 2**22 + 1  # more than any process id (proc(5), pid_max)
    oom.spare(none)
    oom.adjust(none, 25)
