"""How far a long operation is: a bar in a terminal, a line now and then in a pipe.

A view is called with each event of a stream; it gives the last message back. rich is imported for bars
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.output import printable
from kleene.client.attach import write_all
from kleene.client.streams import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

View = Callable[[Any], dict[str, Any] | None]

_STEP = 10  # percent
_STEP_UNKNOWN = {"bytes": 50_000_000, "entries": 10_000}
_LAST = ("closing", "failed")


@contextmanager
def progress_view(fancy: bool) -> Iterator[View]:
    """The view that fits where output goes, until the operation is over."""
    if not fancy:
        yield PlainProgress()
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    amount = TextColumn("{task.fields[amount]}")
    with Progress(*columns, amount, TimeElapsedColumn(), transient=True) as bars:
        yield BarProgress(bars)


class PlainProgress:
    """Writes output as it comes, and a line for every tenth of an operation."""

    def __init__(self) -> None:
        self._operation = ""
        self._reached = 0

    def __call__(self, event: Any) -> dict[str, Any] | None:
        if isinstance(event, Output):
            write_all(1, event.data)
        elif event["type"] == "progress":
            self._tell(event)
        elif event["type"] in _LAST:
            return dict(event)
        return None

    def _tell(self, event: dict[str, Any]) -> None:
        if event["operation"] != self._operation:
            self._operation, self._reached = event["operation"], 0
        step = progress_step(event)
        if step > self._reached:
            self._reached = step
            click.echo(f"{printable(self._operation)}: {amount_of(event)}")


class BarProgress:
    """A bar for each operation, with output above the bars."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._line = b""

    def __call__(self, event: Any) -> dict[str, Any] | None:
        if isinstance(event, Output):
            self._print_lines(event.data)
        elif event["type"] == "progress":
            self._move(event)
        elif event["type"] in _LAST:
            self._print_lines(b"\n" if self._line else b"")
            return dict(event)
        return None

    def _print_lines(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            text = printable(line.decode(errors="replace").rstrip("\r").replace("\t", "    "))
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _move(self, event: dict[str, Any]) -> None:
        name = event["operation"]
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(printable(name), amount="")
        self._bars.update(
            self._tasks[name],
            completed=event["done"],
            total=event.get("total"),
            amount=amount_of(event),
        )


def progress_step(event: dict[str, Any]) -> int:
    """A number that grows when a new line of progress is due."""
    if event.get("total"):
        return int(100 * event["done"] // event["total"] // _STEP)
    return int(event["done"] // _STEP_UNKNOWN[event.get("unit", "bytes")])


def amount_of(event: dict[str, Any]) -> str:
    """``40% (12.0 MB of 30.0 MB)``; without a total, ``12.0 MB``."""
    unit = event.get("unit", "bytes")
    done, total = event["done"], event.get("total")
    if not total:
        return quantity(done, unit)
    return f"{100 * done // total}% ({quantity(done, unit)} of {quantity(total, unit)})"


def quantity(number: int, unit: str = "bytes") -> str:
    """A number of bytes, or of something else, for people."""
    if unit != "bytes":
        return f"{number} {unit}"
    for size, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number} bytes"
