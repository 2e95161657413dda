"""What happens in a build or while a base image is made, as it happens.

The solver and the engine emit these; they know neither HTTP nor WebSocket nor colours. ``emit`` is
awaited, so a slow reader slows the build down instead of filling the daemon's memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from kleene.errors import KleeneError


@dataclass(frozen=True)
class Started:
    """The request was understood; ``image_id`` is the image being made."""

    image_id: str


@dataclass(frozen=True)
class StepStarted:
    """Step ``number`` of ``total`` (from 1) begins; ``instruction`` is its source text on one line.

    Attributes:
        stage, stage_name: index of its stage, from 0, and its name in lower case, if it has one.
    """

    number: int
    total: int
    instruction: str
    stage: int = 0
    stage_name: str = ""


@dataclass(frozen=True)
class StepFinished:
    """A step is done. ``snapshot``: of the state after it, if it has one of its own; ``reason``: why it was
    or was not in the cache, if it could have been."""

    number: int
    snapshot: str | None
    cached: bool
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class OutputWritten:
    """Bytes that a command of step number ``step`` wrote; 0: they belong to no step."""

    data: bytes
    stream: Literal["stdout", "stderr"] = "stdout"
    step: int = 0


@dataclass(frozen=True)
class ProgressMade:
    """How far a long operation is; ``total`` is ``None`` when unknown."""

    operation: str
    done: int
    total: int | None = None
    unit: Literal["bytes", "entries"] = "bytes"


@dataclass(frozen=True)
class Warned:
    """Something is accepted, and should not be so.

    Attributes:
        message: begins with its place, if it has one.
        rule, kind, page: of a check of the Dockerfile: its name, whose it is, and where it is described.
        details: the line with carets under the place.
    """

    message: str
    rule: str = ""
    kind: str = "kleene"
    hint: str | None = None
    details: str | None = None
    page: str = ""
    line: int = 0
    column: int = 0


Event = Started | StepStarted | StepFinished | OutputWritten | ProgressMade | Warned
Emit = Callable[[Event], Awaitable[None]]


class BuildFailed(KleeneError):
    """A build stopped at a step.

    Args:
        image_id: the image kept as ``NAME:failed``; ``None`` if nothing was kept.
        snapshot: the last good snapshot; ``None`` if there is none.
        exit_code: exit status of the command that failed, if one did.

    Attributes:
        step: its number.
        failed_snapshot: of the file system as the step left it, if it changed any and the image was kept.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: str | None = None,
        image_id: str | None = None,
        snapshot: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.image_id = image_id
        self.snapshot = snapshot
        self.exit_code = exit_code
        self.step: int | None = None
        self.failed_snapshot: str | None = None
