"""How a build is shown: lines, a live view of the running step, or nothing but the image's id.

A view is a context manager; it is told of each event as it comes. rich is imported for the live view only.
"""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import click

from kleene.cli.output import print_error, printable, style
from kleene.client.attach import write_all
from kleene.client.failures import OperationFailed
from kleene.client.streams import Output, Stream

if TYPE_CHECKING:
    from typing import Self

    from rich.live import Live
    from rich.text import Text

# Lines shown of the running step, lines kept to be shown if it fails, characters kept of a line.
_TAIL, _KEPT, _LONGEST = 6, 50, 4096
_REST_OF_LINE = 28
"""Characters beside a step's title: its mark, time and snapshot."""


class View(Protocol):
    """Shows a build."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def started(self, image_id: str) -> None: ...
    def step_started(self, step: dict[str, Any]) -> None: ...
    def step_finished(self, step: dict[str, Any]) -> None: ...
    def output(self, output: Output) -> None: ...
    def warning(self, warning: dict[str, Any]) -> None: ...
    def succeeded(self, closing: dict[str, Any]) -> None: ...
    def failed(self, failed: dict[str, Any]) -> None: ...


def choose_view(*, live: bool, quiet: bool, explain: bool = False) -> View:
    """The view that was asked for and fits where output goes."""
    if quiet:
        return QuietView()
    return LiveView() if live and not explain else PlainView(explain=explain)


def show_build(stream: Stream, view: View, tag: str) -> int:
    """Show a build to its end; the exit status.

    Args:
        tag: what the image was to be named; to tell how a failed one is.
    """
    last: dict[str, Any] = {}
    image_id = ""
    with view:
        for event in stream:
            if isinstance(event, Output):
                view.output(event)
                continue
            kind = event["type"]
            if kind == "starting":
                image_id = event.get("data") or ""
                view.started(image_id)
            elif kind in ("step_started", "step_finished", "warning"):
                getattr(view, kind)(event)
            last = event
    if last["type"] == "closing":
        view.succeeded(last)
        return 0
    view.failed(last)
    _tell_failure(last, image_id, tag)
    return 1


def _tell_failure(failed: dict[str, Any], image_id: str, tag: str) -> None:
    error = OperationFailed(failed)
    snapshot = failed.get("data") or ""
    if snapshot:
        click.echo(f"Failed to build image {image_id}. Most recent snapshot is @{snapshot}")
    hint = error.hint
    kept = failed.get("image_id") or ""
    if snapshot and kept and "klee run" not in (hint or ""):
        entry = f"to look into it: klee run -it {_kept_name(kept, tag)}@{snapshot} /bin/sh"
        hint = f"{hint}\n      {entry}" if hint else entry
    print_error(error.message, hint=hint, details=error.details)


def _kept_name(image_id: str, tag: str) -> str:
    name = tag.partition(":")[0]
    return f"{name}:failed" if name else image_id


class _BareView:
    """What the views have in common: nothing to set up, nothing to show."""

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

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""

    def output(self, output: Output) -> None:
        """The running step wrote something."""

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""


class QuietView(_BareView):
    """Only the image's id."""

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        click.echo(closing.get("data") or "")


class PlainView(_BareView):
    """A line for each event, and output as it comes: all on standard output, so that the order is kept.

    Args:
        explain: say why a step was or was not in the cache.
    """

    def __init__(self, *, explain: bool = False) -> None:
        self._explain = explain
        self._at_line_start = True

    def started(self, image_id: str) -> None:
        """The build of the image began."""
        click.echo(f"Started to build image with ID {image_id}")

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""
        instruction = printable(step["instruction"])
        self._line(f"Step {step['number']}/{step['total']} : {instruction}")

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""
        if step["snapshot"]:
            how = "Using cached snapshot" if step["cached"] else "Snapshot created:"
            self._line(f"--> {how} @{step['snapshot']}")
        if self._explain and step.get("reason"):
            how = "cached" if step["cached"] else "not cached"
            click.echo(f"--> {how}: {printable(step['reason'])}")

    def output(self, output: Output) -> None:
        """The running step wrote something."""
        write_all(1, output.data)
        self._at_line_start = output.data.endswith(b"\n")

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""
        for line in warning_lines(warning):
            self._line(line)

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        self._line("")
        click.echo(closing.get("message") or "image created")
        click.echo(closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""
        if not self._at_line_start:
            click.echo()

    def _line(self, text: str) -> None:
        click.echo(text if self._at_line_start else f"\n{text}")
        self._at_line_start = True


class LiveView(_BareView):
    """The finished steps as lines, under them the running one with the end of its output."""

    def __init__(self) -> None:
        self._begun = self._step_begun = time.monotonic()
        self._step: dict[str, Any] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._open_line = ""
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._cached = self._done = 0
        self._live: Live | None = None
        self._width = 80

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(
            get_renderable=self._render, refresh_per_second=8, transient=True, redirect_stdout=False
        )
        self._width = self._live.console.width
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, image_id: str) -> None:
        """The build of the image began."""
        self._print(f"Building image {image_id}")

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""
        self._step, self._step_begun = step, time.monotonic()
        self._lines.clear()
        self._open_line = ""

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""
        begun, self._step = self._step, None
        if begun is None:
            return
        self._done += 1
        self._cached += bool(step["cached"])
        mark = style("✓", fg="green")
        took = style("cached", fg="cyan") if step["cached"] else _seconds(step["seconds"])
        snapshot = style(f"  @{step['snapshot']}", dim=True) if step["snapshot"] else ""
        title = _title(begun, self._width - _REST_OF_LINE)
        self._print(f"{mark} {title}  {took}{snapshot}")

    def output(self, output: Output) -> None:
        """The running step wrote something."""
        text = self._open_line + self._decoder.decode(output.data)
        *lines, rest = text.split("\n")
        self._open_line = rest[-_LONGEST:]
        self._lines.extend(_visible(line) for line in lines)

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""
        for line in warning_lines(warning):
            self._print(line)

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        took = _seconds(time.monotonic() - self._begun)
        steps = f"{self._done} steps, {self._cached} cached"
        click.echo(f"\n{closing.get('message') or 'image created'}  ({steps}, {took})")
        click.echo(closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""
        if self._step is None:
            return
        took = _seconds(time.monotonic() - self._step_begun)
        title = _title(self._step, self._width - _REST_OF_LINE)
        click.echo(f"{style('✗', fg='red')} {title}  {took}")
        for line in [*self._lines, _visible(self._open_line)]:
            if line:
                click.echo(f"  {line}")

    def _print(self, line: str) -> None:
        from rich.text import Text

        if self._live is not None:
            self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def _render(self) -> Text:
        from rich.text import Text

        # rich calls this from a thread of its own: take each value once.
        step = self._step
        if step is None:
            return Text("")
        took = _seconds(time.monotonic() - self._step_begun)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("▸ ", "yellow")
        text.append(f"{_title(step, self._width - _REST_OF_LINE)}  {took}", "bold")
        lines = [*tuple(self._lines), _visible(self._open_line)]
        for line in [ln for ln in lines if ln][-_TAIL:]:
            text.append(f"\n  {line}", "dim")
        return text


def warning_lines(warning: dict[str, Any]) -> list[str]:
    """A warning as lines: the fact, and its place."""
    head = f"{style('warning:', fg='yellow')} {printable(warning['message'])}"
    return [head, *map(printable, (warning.get("details") or "").rstrip("\n").splitlines())]


def _title(step: dict[str, Any], width: int) -> str:
    title = f"{step['number']}/{step['total']} {printable(step['instruction'])}"
    return title if len(title) <= width else title[: max(width - 1, 8)] + "…"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{int(rest):02} min" if minutes else f"{seconds:.1f} s"


def _visible(line: str) -> str:
    """What a line leaves on a screen: after its last carriage return, without control characters."""
    kept = line.rstrip("\r").rpartition("\r")[2].expandtabs(4)
    return "".join(c for c in click.unstyle(kept) if c.isprintable())
