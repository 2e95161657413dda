"""``klee version`` and ``klee info``."""

from __future__ import annotations

from typing import Any

import click

from kleene import __version__
from kleene.cli.command import command, format_option
from kleene.cli.output import print_form, print_json
from kleene.cli.session import Session, pass_session
from kleene.schemas.versions import API_VERSION, fit

_FORMAT = format_option(
    "Lines for people, or for programs JSON, or what a template makes of it.", plain="text"
)


def _client() -> dict[str, str]:
    return {"version": __version__, "api_version": API_VERSION}


@command(examples=("klee version", "klee version --format '{{.Kleened.Version}}'"))
@_FORMAT
@pass_session
def version(session: Session, form: str) -> None:
    """Show the versions of klee, kleened and its API."""
    if form == "text":
        click.echo(f"klee      {__version__}   API {API_VERSION}")
    daemon = session.client.version()
    known = {"klee": _client(), "kleened": daemon}
    if form == "json":
        print_json(known)
        return
    if form != "text":
        print_form(form, [{"client": known["klee"], "server": daemon} | known])
        return
    click.echo(f"kleened   {daemon['version']}   API {daemon['api_version']}")
    for title, key in (("Python", "python"), ("host", "platform")):
        if daemon.get(key):
            click.echo(f"          {title} {daemon[key]}")
    if not fit(API_VERSION, daemon["api_version"]):
        click.echo("They do not fit: update the older one.")


@command(examples=("klee info", "klee info --format '{{.Storage}} {{.Containers}}'"))
@_FORMAT
@pass_session
def info(session: Session, form: str) -> None:
    """Show klee, and what kleened works with: storage, runtime, what was probed, counts."""
    values: dict[str, Any] = session.client.info()
    known = {"klee": _client() | {"host": session.settings.host}} | values
    if form == "json":
        print_json(known)
        return
    if form != "text":
        print_form(form, [known])
        return
    click.echo(f"klee: {__version__}, API {API_VERSION}\nhost: {session.settings.host}")
    for name, value in values.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, inner in value.items():
                click.echo(f"  {key}: {inner}")
        else:
            click.echo(f"{name}: {value}")
