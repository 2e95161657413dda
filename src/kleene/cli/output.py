"""What ``klee`` writes for people: tables, times, errors; and JSON for programs.

A table is drawn here, not by rich: importing rich takes longer than a whole listing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from kleene.client.failures import DaemonUnreachable
from kleene.errors import KleeneError, NotFound

_GAP = "   "
_UNITS = ((365 * 86400, "year"), (30 * 86400, "month"), (7 * 86400, "week"), (86400, "day"))


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        width: the most characters that a cell shows; ``None`` for all.
    """

    title: str
    colour: str | None = None
    bold: bool = False
    width: int | None = None


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, fancy: bool) -> None:
    """Print rows under their columns' titles: with colours and a line if ``fancy``, else bare."""
    cells = [[_fit(c, cell) for c, cell in zip(columns, row, strict=True)] for row in rows]
    widths = [
        max(len(t) for t in (c.title, *(row[i] for row in cells))) for i, c in enumerate(columns)
    ]
    for line in (_fancy if fancy else _simple)(columns, cells, widths):
        click.echo(line)


def _simple(columns: Sequence[Column], cells: list[list[str]], widths: list[int]) -> Iterable[str]:
    for row in ([c.title for c in columns], *cells):
        yield _GAP.join(f"{t:{w}}" for t, w in zip(row, widths, strict=True)).rstrip()


def _fancy(columns: Sequence[Column], cells: list[list[str]], widths: list[int]) -> Iterable[str]:
    titles = [style(f"{c.title:{w}}", bold=True) for c, w in zip(columns, widths, strict=True)]
    yield " " + _GAP.join(titles)
    yield "─" * (sum(widths) + len(_GAP) * (len(widths) - 1) + 2)
    for row in cells:
        parts = zip(columns, row, widths, strict=True)
        yield " " + _GAP.join(style(f"{t:{w}}", fg=c.colour, bold=c.bold) for c, t, w in parts)


def _fit(column: Column, text: str) -> str:
    text = printable(text)
    if column.width is None or len(text) <= column.width:
        return text
    return text[: column.width - 3] + "..."


def printable(text: str) -> str:
    """``text`` without what could move a terminal's cursor: such characters are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def style(text: str, **styles: Any) -> str:
    """``text`` in colours, unless the user wants none (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **styles)


def print_json(value: Any) -> None:
    """Print a JSON value for people and programs alike."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_form(form: str, objects: Iterable[Any]) -> None:
    """Print a line for each object by a template."""
    from kleene.cli.templates import Template

    template = Template(form)
    for value in objects:
        click.echo(template.render(value))


Object = dict[str, Any]


class Table(NamedTuple):
    """How objects of a kind are shown in a list.

    Attributes:
        row: the cells of an object.
        key: the field that ``--quiet`` prints.
        more: fields for templates, beside the object's own and those of the table.
    """

    columns: Sequence[Column]
    row: Callable[[Object], list[str]]
    key: str = "id"
    more: Callable[[Object], Object] = lambda _: {}


def show_list(
    table: Table,
    objects: Sequence[Object],
    *,
    fancy: bool,
    quiet: bool = False,
    form: str = "table",
    no_trunc: bool = False,
) -> None:
    """Print objects as the user wants them: keys, JSON, a table, or a line for each by a template."""
    if quiet:
        for each in objects:
            click.echo(each[table.key])
    elif form == "json":
        print_json(objects)
    elif form == "table":
        columns = table.columns
        if no_trunc:
            columns = [column._replace(width=None) for column in columns]
        print_table(columns, [table.row(o) for o in objects], fancy=fancy)
    else:
        from kleene.cli.templates import print_list

        print_list(table, objects, form, fancy=fancy)


def state_of(container: Object) -> str:
    """What a container does, in a word."""
    if container["running"]:
        return "running"
    if container.get("restarting"):
        return "restarting"
    return "exited" if container.get("started") else "created"


def is_terminal() -> bool:
    """Whether standard output is a terminal that can draw."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and encoding == "utf8"


def age(created: str, now: datetime | None = None) -> str:
    """How long ago ``created`` (ISO 8601, UTC if it names no zone) was, as people say it."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return created
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return f"{duration(((now or datetime.now(UTC)) - then).total_seconds())} ago"


def duration(seconds: float) -> str:
    """A length of time as people say it: ``2 minutes``."""
    if seconds < 1:
        return "less than a second"
    for length, unit in _UNITS:
        # "47 hours" and "13 days" tell more than "1 day" and "1 week".
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s"
    for length, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError(seconds)


def bytes_of(number: int) -> str:
    """A size as people say it: ``12.3 MB``."""
    for size, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number} B"


def print_error(message: str, *, hint: str | None = None, details: str | None = None) -> None:
    """Tell on standard error what went wrong and what to do about it."""
    click.echo(f"{_head('klee:', 'red')} {message}", err=True)
    if details:
        click.echo(details.rstrip("\n"), err=True)
    if hint:
        click.echo(f"{_head('hint:', 'yellow')} {hint}", err=True)


def print_failure(error: KleeneError) -> None:
    """Tell of an error on standard error."""
    print_error(error.message, hint=error.hint, details=error.details)


def _head(word: str, colour: str) -> str:
    return style(word, fg=colour, bold=True)


def each(
    names: Sequence[str], action: Callable[[str], str | None], *, missing_ok: bool = False
) -> int:
    """Do ``action`` to each name and print what it gives; a failing one does not stop the others.

    Args:
        missing_ok: an object that is not there is passed over.

    Returns:
        The exit status: 1 if any failed, or what their errors say.

    Raises:
        DaemonUnreachable: the others would fail too.
    """
    status = 0
    for name in names:
        try:
            done = action(name)
        except DaemonUnreachable:
            raise
        except KleeneError as error:
            if missing_ok and isinstance(error, NotFound):
                continue
            print_failure(error)
            status = max(status, int(getattr(error, "exit_status", 1)))
        else:
            if done is not None:
                click.echo(done)
    return status
