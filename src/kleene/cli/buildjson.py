"""A build as JSON: one object a line, for programs. docs/klee.md describes it."""

from __future__ import annotations

import json
import time
from codecs import getincrementaldecoder
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from kleene.client.streams import Output
from kleene.schemas.constants import STDERR

if TYPE_CHECKING:
    from typing import Self


class JsonView:
    """Writes every event as it comes. What a step writes goes as text, by step and stream."""

    tells_failures, in_order = True, False

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._step = 0
        self._running: list[int] = []
        self._decoders: dict[tuple[int, int], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def started(self, image_id: str) -> None:
        """The build of the image began."""
        self._tell("started", image=image_id)

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""
        self._running.append(step["number"])
        self._tell(**step)

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""
        if step["number"] in self._running:
            self._running.remove(step["number"])
        self._tell(**step)

    def output_of(self, number: int) -> None:
        """The output that comes is that of a step."""
        self._step = number

    def output(self, output: Output) -> None:
        """A step wrote something."""
        step = self._step or (self._running[-1] if self._running else 0)
        key = (step, output.stream)
        if key not in self._decoders:
            self._decoders[key] = getincrementaldecoder("utf-8")("replace")
        if text := self._decoders[key].decode(output.data):
            stream = "stderr" if output.stream == STDERR else "stdout"
            self._tell("output", step=step, stream=stream, text=text)

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""
        self._tell(**warning)

    def progress(self, operation: str, done: int, total: int | None, unit: str) -> None:
        """Something before the build goes on."""
        self._tell("progress", operation=operation, done=done, total=total, unit=unit)

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        self._tell("built", image=closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""
        fields = {name: value for name, value in failed.items() if name not in ("type", "data")}
        self._tell("failed", snapshot=failed.get("data") or "", **fields)

    def tick(self) -> None:
        """Time passes."""

    def _tell(self, type: str, **fields: Any) -> None:  # noqa: A002 - the field's name
        elapsed = round(time.monotonic() - self._begun, 3)
        click.echo(json.dumps({"type": type, "elapsed": elapsed, **fields}, ensure_ascii=False))
