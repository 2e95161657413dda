"""What the daemon answered, where more than its form is expected of it."""

from __future__ import annotations

from typing import Any

from kleene.errors import KleeneError

Ids = list[str]
_HINT = "do klee and kleened fit? klee version"


def id_of(answer: Any) -> str:
    """The id that the daemon answered."""
    if isinstance(answer, dict) and isinstance(answer.get("id"), str):
        return str(answer["id"])
    raise KleeneError("the daemon's answer has no id", hint=_HINT)


def ids_of(answer: Any) -> Ids:
    """The ids that the daemon answered."""
    if isinstance(answer, list):
        return [str(i) for i in answer]
    raise KleeneError("the daemon's answer is no list", hint=_HINT)
