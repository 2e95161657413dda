"""The live view of a build in a terminal: finished steps stay, below them what runs, with its last lines."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.buildsteps import Step, Steps, seconds
from kleene.cli.output import printable
from kleene.cli.progress import amount_of
from kleene.cli.screen import Line, Piece, Screen
from kleene.client.streams import Output

if TYPE_CHECKING:
    from typing import Self

_TAIL = 6
"""Lines that are shown of a step that runs, while there is room."""

_FRAME = 0.08
"""Seconds between two pictures; elapsed time is shown to a tenth of one."""


class LiveView:
    """Shows a build in a terminal. Is told of the events, and by ``tick`` that time passes."""

    tells_failures = in_order = False

    def __init__(self) -> None:
        self._steps = Steps()
        self._screen = Screen()
        self._operation: dict[str, Any] | None = None
        self._stay: list[Line] = []
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._screen.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw([])
        self._screen.close()

    def started(self, image_id: str) -> None:
        """The build of the image began."""
        self._operation = None
        self._keep(Line(Piece(f"Building image {image_id}")))

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""
        self._steps.start(step)
        self.tick()

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""
        begun = self._steps.finish(step)
        if begun is None:
            return
        how = Piece("cached", "cyan") if step["cached"] else Piece(seconds(step["seconds"]))
        snapshot = (Piece(f"  @{step['snapshot']}", dim=True),) if step["snapshot"] else ()
        after = (Piece("  "), how, *snapshot)
        self._keep(Line(Piece(begun.title), (Piece("✓ ", "green"),), after))

    def output_of(self, number: int) -> None:
        """The output that comes is that of a step."""
        self._steps.output_of(number)

    def output(self, output: Output) -> None:
        """A step wrote something; or the daemon has something to say."""
        speaker = self._steps.speaker()
        if speaker is not None:
            speaker.add(output.data)
            self.tick()
            return
        for line in output.data.decode(errors="replace").splitlines():
            self._keep(Line(Piece(printable(line), "yellow")))

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""
        self._keep(Line(Piece(printable(warning["message"])), (Piece("warning: ", "yellow"),)))
        for text in (warning.get("details") or "").rstrip("\n").splitlines():
            self._keep(Line(Piece(printable(text))))
        if hint := warning.get("hint"):
            self._keep(Line(Piece(printable(hint)), (Piece("hint: ", "yellow"),)))

    def progress(self, operation: str, done: int, total: int | None, unit: str) -> None:
        """Something before the first step goes on."""
        self._operation = {"operation": operation, "done": done, "total": total, "unit": unit}
        self.tick()

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        click.echo(f"\n{closing.get('message') or 'image created'}  ({self._steps.summary()})")
        click.echo(closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""
        lines: list[Line] = []
        culprit = failed.get("step") or next(reversed(self._steps.running), 0)
        for step in self._steps.running.values():
            if step.number != culprit:
                lines.append(_titled(step, "○ ", None, "cancelled"))
        broken = self._steps.running.get(culprit)
        if broken is not None:
            lines.append(_titled(broken, "✗ ", "red", seconds(broken.seconds)))
            lines += [Line(Piece(text), (Piece("  "),)) for text in broken.tail(50)]
        columns = max(self._screen.size().columns - 1, 20)
        for line in lines:
            # What a command said when it failed is wanted whole: the terminal may wrap it.
            click.echo(line.render(columns if line.after else max(columns, line.columns())))

    def tick(self) -> None:
        """Draw what is now, if the last picture is old enough."""
        if time.monotonic() - self._drawn >= _FRAME:
            self._draw(self._picture())

    def _keep(self, line: Line) -> None:
        self._stay.append(line)
        self.tick()

    def _draw(self, lines: list[Line]) -> None:
        stay, self._stay = self._stay, []
        self._screen.draw(lines, stay)
        self._drawn = time.monotonic()

    def _picture(self) -> list[Line]:
        if self._operation is not None:
            name = printable(self._operation["operation"])
            after = (Piece(f"  {amount_of(self._operation)}", dim=True),)
            return [Line(Piece(name, bold=True), (Piece("▸ ", "yellow"),), after)]
        everything = list(self._steps.running.values())
        rows = self._screen.size().rows - 2
        running = everything[: max(rows - 1, 1)]
        tail = min(_TAIL, max(rows - 1 - len(running), 0) // max(len(running), 1))
        lines = []
        for step in running:
            lines.append(_titled(step, "▸ ", "yellow", seconds(step.seconds), bold=True))
            lines += [Line(Piece(text, dim=True), (Piece("    "),)) for text in step.tail(tail)]
        if len(everything) > 1:
            lines.append(self._status(len(everything)))
        return lines

    def _status(self, running: int) -> Line:
        steps = self._steps
        text = f"{steps.done} of {steps.total} steps, {steps.cached} cached, {running} running"
        took = seconds(time.monotonic() - steps.begun)
        return Line(Piece(f"{text}  {took}", dim=True))


def _titled(step: Step, mark: str, colour: str | None, how: str, *, bold: bool = False) -> Line:
    return Line(Piece(step.title, bold=bold), (Piece(mark, colour),), (Piece(f"  {how}"),))
