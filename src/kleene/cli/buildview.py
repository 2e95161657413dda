"""How a build is shown: lines, a live view, JSON, or nothing but the image's id.

A view is a context manager; it is told of each event as it comes, and now and then that time passes.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import click

from kleene import names
from kleene.cli.buildsteps import Steps
from kleene.cli.output import print_error, printable, style
from kleene.cli.progress import amount_of, progress_step
from kleene.client.attach import write_all
from kleene.client.failures import OperationFailed
from kleene.client.streams import Output, Stream

if TYPE_CHECKING:
    from typing import Self

PROGRESS = ("auto", "tty", "plain", "json")
_TICK = 100  # milliseconds


class View(Protocol):
    """Shows a build.

    Attributes:
        tells_failures: whether it says why a build failed, too.
        in_order: whether it wants stages that are built at the same time one after the other.
    """

    tells_failures: bool
    in_order: bool

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
    def output_of(self, number: int) -> None: ...
    def output(self, output: Output) -> None: ...
    def warning(self, warning: dict[str, Any]) -> None: ...
    def progress(self, operation: str, done: int, total: int | None, unit: str) -> None: ...
    def succeeded(self, closing: dict[str, Any]) -> None: ...
    def failed(self, failed: dict[str, Any]) -> None: ...
    def tick(self) -> None: ...


def choose_view(progress: str, *, fancy: bool, quiet: bool, explain: bool = False) -> View:
    """The view that was asked for and fits where output goes.

    Args:
        progress: one of ``PROGRESS``.
        fancy: whether output goes to a terminal that can draw, and the user wants it so.
    """
    if quiet:
        return QuietView()
    if progress == "json":
        from kleene.cli.buildjson import JsonView

        return JsonView()
    if progress == "tty" or (progress == "auto" and fancy and not explain):
        from kleene.cli.buildlive import LiveView

        return LiveView()
    return PlainView(explain=explain)


def show_build(begin: Callable[[], Stream], view: View, tag: str) -> int:
    """Show a build to its end; the exit status.

    Args:
        begin: sends what there is to send, and begins the build.
        tag: what the image was to be named; to tell how a failed one is.
    """
    last: dict[str, Any] = {}
    image_id = ""
    with view, begin() as stream:
        for event in _events(stream, view.tick):
            if isinstance(event, Output):
                view.output(event)
                continue
            if event["type"] == "starting":
                image_id = event.get("data") or ""
            _tell(view, event)
            last = event
    if last["type"] == "closing":
        view.succeeded(last)
        return 0
    view.failed(last)
    if not view.tells_failures:
        _tell_failure(last, image_id, tag, quiet=type(view) is QuietView)
    return 1


def _events(stream: Stream, tick: Callable[[], None]) -> Iterator[Any]:
    """What comes, with a tick in between now and then."""
    poll = select.poll()
    while not stream.ended:
        poll.register(stream, select.POLLIN | (select.POLLOUT if stream.backlog else 0))
        poll.poll(_TICK)
        stream.flush()
        yield from stream.read()
        tick()


def _tell(view: View, event: dict[str, Any]) -> None:
    match event["type"]:
        case "starting":
            view.started(event.get("data") or "")
        case "step_started":
            view.step_started(event)
        case "step_finished":
            view.step_finished(event)
        case "warning":
            view.warning(event)
        case "output_of":
            view.output_of(event["number"])
        case "progress":
            unit = event.get("unit", "bytes")
            view.progress(event["operation"], event["done"], event.get("total"), unit)


def _tell_failure(failed: dict[str, Any], image_id: str, tag: str, *, quiet: bool) -> None:
    error = OperationFailed(failed)
    good = failed.get("data") or ""
    if good:
        # Whoever asks for the id alone takes all of standard output for it.
        text = f"Failed to build image {image_id}. Most recent snapshot is @{good}"
        click.echo(text, err=quiet)
    kept = failed.get("image_id") or ""
    hints = [error.hint] if error.hint else []
    if kept and "klee run" not in (error.hint or ""):
        hints += _ways_in(_kept_name(kept, tag), failed, tag)
    print_error(error.message, hint="\n      ".join(hints) or None, details=error.details)


def _ways_in(name: str, failed: dict[str, Any], tag: str) -> Iterator[str]:
    """What to type to see the place where a build failed, and to go on from there."""
    good, broken = failed.get("data") or "", failed.get("failed_snapshot") or ""
    if broken:
        yield f"to look into it: klee run -it {name}@{broken} /bin/sh"
        if step := failed.get("step"):
            yield f"with that step's environment: klee build shell {name} --step {step} --failed"
        before = "before that step: "
    else:
        before = "to look into it: "
    if good:
        yield f"{before}klee run -it {name}@{good} /bin/sh"
        again = f" -t {tag}" if tag else ""
        yield f"to go on when it is fixed: klee build --resume {name}{again} PATH"


def warning_lines(warning: dict[str, Any]) -> list[str]:
    """A warning as lines: the fact, its place, and the remedy."""
    head = f"{style('warning:', fg='yellow')} {printable(warning['message'])}"
    lines = [head, *map(printable, (warning.get("details") or "").rstrip("\n").splitlines())]
    if hint := warning.get("hint"):
        lines.append(f"{style('hint:', fg='yellow', bold=True)} {printable(hint)}")
    return lines


def _kept_name(image_id: str, tag: str) -> str:
    return f"{names.parse_nametag(tag)[0]}:failed" if tag else image_id


class QuietView:
    """Only the image's id."""

    tells_failures = in_order = False

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

    def output_of(self, number: int) -> None:
        """The output that comes is that of a step; 0: of none."""

    def output(self, output: Output) -> None:
        """A step wrote something."""

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""

    def progress(self, operation: str, done: int, total: int | None, unit: str) -> None:
        """Something before the first step goes on."""

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        click.echo(closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""

    def tick(self) -> None:
        """Time passes."""


class PlainView(QuietView):
    """A line for each event, and output as it comes: all on standard output, so that the order is kept.

    What a step writes that runs alone goes as the bytes that it is; the stages are told one after the
    other. A daemon that does not do so is understood: while several steps run, output goes in whole lines,
    each with the number of its step before it.

    Args:
        explain: say why a step was or was not in the cache.
    """

    in_order = True

    def __init__(self, *, explain: bool = False) -> None:
        self._explain = explain
        self._steps = Steps()
        self._lines: dict[int, bytes] = {}
        self._at_line_start = True
        self._told: tuple[str, int] = ("", 0)

    def started(self, image_id: str) -> None:
        """The build of the image began."""
        click.echo(f"Started to build image with ID {image_id}")

    def step_started(self, step: dict[str, Any]) -> None:
        """A step began."""
        begun = self._steps.start(step)
        self._line(f"Step {begun.number}/{begun.total} : {begun.instruction}")

    def step_finished(self, step: dict[str, Any]) -> None:
        """A step is done."""
        mark = self._mark(step["number"])
        self._end_line(step["number"])
        self._steps.finish(step)
        if step["snapshot"]:
            how = "Using cached snapshot" if step["cached"] else "Snapshot created:"
            self._line(f"{mark}--> {how} @{step['snapshot']}")
        if self._explain and step.get("reason"):
            how = "cached" if step["cached"] else "not cached"
            self._line(f"{mark}--> {how}: {printable(step['reason'])}")

    def output_of(self, number: int) -> None:
        """The output that comes is that of a step."""
        self._steps.output_of(number)

    def output(self, output: Output) -> None:
        """A step wrote something."""
        speaker = self._steps.speaker()
        if speaker is None or (len(self._steps.running) < 2 and speaker.number not in self._lines):
            write_all(1, output.data)
            self._at_line_start = output.data.endswith(b"\n")
            return
        number = speaker.number
        *lines, rest = (self._lines.get(number, b"") + output.data).split(b"\n")
        self._lines[number] = rest
        if lines:
            self._line("", end="")
            mark = f"#{number} ".encode()
            write_all(1, b"".join(mark + line + b"\n" for line in lines))

    def warning(self, warning: dict[str, Any]) -> None:
        """There is something that should be changed."""
        for line in warning_lines(warning):
            self._line(line)

    def progress(self, operation: str, done: int, total: int | None, unit: str) -> None:
        """Something before the first step goes on: a line for every tenth of it."""
        event = {"operation": operation, "done": done, "total": total, "unit": unit}
        step = progress_step(event)
        if self._told[0] != operation:
            self._told = (operation, 0)
        if step > self._told[1]:
            self._told = (operation, step)
            self._line(f"{printable(operation)}: {amount_of(event)}")

    def succeeded(self, closing: dict[str, Any]) -> None:
        """The image is built."""
        self._line("")
        click.echo(f"{closing.get('message') or 'image created'} ({self._steps.summary()})")
        click.echo(closing.get("data") or "")

    def failed(self, failed: dict[str, Any]) -> None:
        """The build failed."""
        for number in list(self._lines):
            self._end_line(number)
        self._line("", end="")

    def _mark(self, number: int) -> str:
        return f"#{number} " if len(self._steps.running) > 1 else ""

    def _end_line(self, number: int) -> None:
        """Write what a step left of a line."""
        rest = self._lines.pop(number, b"")
        if rest:
            self._line("", end="")
            write_all(1, b"#%d %b\n" % (number, rest))

    def _line(self, text: str, end: str = "\n") -> None:
        click.echo(f"{'' if self._at_line_start else chr(10)}{text}{end}", nl=False)
        self._at_line_start = True
