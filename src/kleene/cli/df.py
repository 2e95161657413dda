"""``klee df``: what there is on disk, and what pruning would free."""

from __future__ import annotations

from typing import Any

import click

from kleene.cli.command import command, format_option
from kleene.cli.output import Column, age, bytes_of, print_form, print_json, print_table
from kleene.cli.session import Session, pass_session

_KINDS = (
    Column("TYPE", "bright_green", bold=True),
    Column("TOTAL"),
    Column("ACTIVE"),
    Column("HOLD ALONE"),
    Column("PRUNABLE", "cyan"),
    Column("BY"),
)
_OBJECTS = (
    Column("TYPE"),
    Column("ID", "cyan"),
    Column("NAME OR STEP", "bright_green", width=50),
    Column("USED"),
    Column("HOLDS ALONE"),
    Column("SIZE"),
    Column("IN USE"),
)
_COMMANDS = {
    "images": "klee image prune --all",
    "containers": "klee container prune",
    "volumes": "klee volume prune",
    "build cache": "klee build prune --all",
    "build contexts": "klee build prune",
}


@command(examples=("klee df", "klee df -v", "klee df --format '{{.Kind}}: {{.Prunable}}'"))
@click.option("--verbose", "-v", is_flag=True, help="Show every object.")
@format_option(
    "A table for people, or for programs JSON, or a line for each kind, with -v each object, by a template."
)
@pass_session
def df(session: Session, verbose: bool, form: str) -> None:
    """Show what objects hold on disk, and what pruning would free.

    HOLD ALONE is what only these objects have: it comes free if all of them go. What several kinds share is
    in none of the rows, but in the sums below them.
    """
    usage = session.client.df()
    if form == "json":
        print_json(usage)
        return
    objects = [each for kind in usage["kinds"] for each in kind["objects"]]
    if form != "table":
        print_form(form, objects if verbose else usage["kinds"])
        return
    if verbose:
        rows = [_object(each) for each in objects]
        print_table(_OBJECTS, rows, fancy=session.fancy)
    else:
        print_table(_KINDS, [_kind(kind) for kind in usage["kinds"]], fancy=session.fancy)
    click.echo(
        f"\n{bytes_of(usage['own'])} in all, of which all prunes together free"
        f" {bytes_of(usage['prunable'])}; {bytes_of(usage['free'])} can still be written"
    )


def _kind(kind: dict[str, Any]) -> list[str]:
    numbers = [str(kind["count"]), str(kind["active"])]
    sizes = [bytes_of(kind["own"]), bytes_of(kind["prunable"])]
    return [kind["kind"], *numbers, *sizes, _COMMANDS.get(kind["kind"], "")]


def _object(held: dict[str, Any]) -> list[str]:
    return [
        held["kind"],
        held["id"],
        held["name"],
        age(held["used"]),
        bytes_of(held["own"]),
        bytes_of(held["size"]),
        "" if held["prunable"] else "yes",
    ]
