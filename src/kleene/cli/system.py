"""``klee version`` and ``klee info``."""

from __future__ import annotations

from typing import Any

import click

from kleene import __version__
from kleene.cli.command import command
from kleene.cli.output import print_json
from kleene.cli.session import Session, pass_session

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or JSON for programs.",
)


@command(examples=("klee version", "klee version --format json"))
@_FORMAT
@pass_session
def version(session: Session, form: str) -> None:
    """Show the versions of klee, kleened and its API."""
    if form == "text":
        click.echo(f"klee      {__version__}")
    daemon = session.client.version()
    if form == "json":
        print_json(
            {"klee": __version__, "kleened": daemon["version"], "api": daemon["api_version"]}
        )
    else:
        click.echo(f"kleened   {daemon['version']}\nAPI       {daemon['api_version']}")


@command(examples=("klee info", "klee info --format json"))
@_FORMAT
@pass_session
def info(session: Session, form: str) -> None:
    """Show what kleened works with: storage, runtime, directories, counts."""
    values: dict[str, Any] = session.client.info()
    if form == "json":
        print_json(values)
        return
    for name, value in values.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, inner in value.items():
                click.echo(f"  {key}: {inner}")
        else:
            click.echo(f"{name}: {value}")
