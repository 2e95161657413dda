"""``klee image history``, ``diff`` and ``blame``: what happened in builds."""

from __future__ import annotations

from typing import Any

import click

from kleene.cli.command import command, format_option, list_options
from kleene.cli.output import (
    Column,
    Table,
    bytes_of,
    print_form,
    print_json,
    printable,
    show_list,
    style,
)
from kleene.cli.session import Session, pass_session

_MARKS = {"added": ("+", "green"), "modified": ("~", "yellow"), "removed": ("-", "red")}
_KEY = 12

_FORMAT = format_option(
    "Lines for people, or for programs JSON, or what a template makes of each line."
)


@command(
    examples=(
        "klee image history web",
        "klee image history --no-trunc web:failed",
        "klee image history --format '{{.Snapshot}} {{.Seconds}}' web",
    )
)
@list_options("Print only the snapshots that are kept.")
@click.argument("image")
@pass_session
def history(session: Session, /, image: str, **options: Any) -> None:
    """Show the steps of the build that made IMAGE: time, size, snapshot and cache key of each.

    SIZE is that of the files that a step wrote. 'cached' means that its state was taken from the build cache,
    'pruned' that its snapshot was removed.
    """
    steps = session.client.images.history(image)
    if options["quiet"]:
        steps = [step for step in steps if step["snapshot"] and step["kept"]]
    show_list(
        _STEPS_WHOLE if options["no_trunc"] else _STEPS, steps, fancy=session.fancy, **options
    )


def _step(step: dict[str, Any]) -> list[str]:
    number = str(step["number"]) + ("!" if step["failed"] else "")
    snapshot = step["snapshot"] if step["kept"] else "pruned" if step["snapshot"] else ""
    return [
        number,
        step["instruction"],
        "cached" if step["cached"] else f"{step['seconds']:.2f} s",
        "" if step["size"] is None else bytes_of(step["size"]),
        snapshot,
        step["key"][:_KEY],
    ]


_STEPS = Table(
    (
        Column("STEP"),
        Column("INSTRUCTION", "bright_green", width=60),
        Column("TIME"),
        Column("SIZE"),
        Column("SNAPSHOT", "cyan"),
        Column("CACHE KEY"),
    ),
    _step,
    "snapshot",
)
_STEPS_WHOLE = _STEPS._replace(row=lambda step: [*_step(step)[:-1], step["key"]])


@command(
    examples=(
        "klee image diff web:1.3 web:1.4",
        "klee image diff web@3f2a91c04d7e web",
        "klee image diff --summary Debian web",
    )
)
@click.option("--summary", is_flag=True, help="Show only how much there is of each.")
@_FORMAT
@click.argument("older", metavar="A[@S]")
@click.argument("newer", metavar="B[@S]")
@pass_session
def diff(session: Session, older: str, newer: str, summary: bool, form: str) -> None:
    """Show the files that differ between two states: added (+), changed (~), removed (-), with sizes."""
    changes = session.client.images.diff(older, newer)
    if form == "json":
        print_json(changes)
        return
    if form != "table":
        print_form(form, changes)
        return
    if not summary:
        for change in changes:
            click.echo(_change(change, session.fancy))
    click.echo(_summary(changes))


def _change(change: dict[str, Any], fancy: bool) -> str:
    mark, colour = _MARKS[change["kind"]]
    before, after = change.get("before"), change.get("after")
    if change["kind"] == "modified" and before is not None and after is not None:
        sizes = f"{bytes_of(before)} -> {bytes_of(after)}" if before != after else bytes_of(after)
    else:
        size = after if change["kind"] == "added" else before
        sizes = "" if size is None else bytes_of(size)
    line = f"{mark} /{printable(change['path'])}{f'  ({sizes})' if sizes else ''}"
    return style(line, fg=colour) if fancy else line


def _summary(changes: list[dict[str, Any]]) -> str:
    parts = []
    for kind in _MARKS:
        of_kind = [change for change in changes if change["kind"] == kind]
        side = "before" if kind == "removed" else "after"
        total = sum(change.get(side) or 0 for change in of_kind)
        parts.append(f"{len(of_kind)} {kind} ({bytes_of(total)})")
    return ", ".join(parts)


@command(examples=("klee image blame web /etc/passwd", "klee image blame web:failed /app/main.py"))
@_FORMAT
@click.argument("image")
@click.argument("path")
@pass_session
def blame(session: Session, image: str, path: str, form: str) -> None:
    """Show which instruction wrote the file PATH of IMAGE, or removed it."""
    found = session.client.images.blame(image, path)
    if form == "json":
        print_json(found)
    elif form != "table":
        print_form(form, [found])
    else:
        click.echo(blame_text(found))


def blame_text(found: dict[str, Any]) -> str:
    """What ``klee image blame`` says."""
    path, image = printable(found["path"]), found["image_name"] or found["image"]
    verb = "was written by" if found["found"] else "was removed by"
    if not found["step"]:
        return f"{path} came with the base image {image} (@{found['snapshot']})"
    step = f"step {found['step']} of {image}"
    if found["since"] < found["step"]:
        step = f"one of the steps {found['since']} to {found['step']} of {image}"
    return f"{path} {verb} {step} (@{found['snapshot']}):\n{printable(found['instruction'])}"
