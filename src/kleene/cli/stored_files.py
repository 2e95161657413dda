"""``klee secret`` and ``klee config``: create, ls, inspect, rm."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.command import command, filter_option, list_options, together
from kleene.cli.inspection import FORMAT, show
from kleene.cli.labels import label_options, labels_of
from kleene.cli.output import Column, Table, age, each, show_list
from kleene.cli.session import Session, pass_session
from kleene.errors import InvalidInput


def _row(found: dict[str, Any]) -> list[str]:
    labels = (f"{name}={value}" for name, value in found["labels"].items())
    return [found["name"], age(found["created"]), ", ".join(found["containers"]), ", ".join(labels)]


_TABLE = Table(
    (
        Column("NAME", "bright_green", bold=True),
        Column("CREATED"),
        Column("CONTAINERS"),
        Column("LABELS"),
    ),
    _row,
    "name",
)
_STREAM = "-"

_creation = together(
    label_options("-l"),
    click.argument("name"),
    click.argument("file", default=_STREAM),
)
_listing = list_options("Print only names.")
_KEYS = "name, label, dangling, before, since"


@command(
    "create",
    examples=("klee secret create db-password < password.txt", "klee secret create tls tls.key"),
)
@_creation
@pass_session
def create_secret(session: Session, /, **options: Any) -> None:
    """Keep the content of FILE, or of standard input, as the secret NAME.

    It is encrypted on disk and in no output. Containers are given it by --secret, in memory. A line end at
    its end is part of it.
    """
    click.echo(session.client.secrets.create(_config(**options)))


@command("create", examples=("klee config create nginx.conf ./nginx.conf",))
@_creation
@pass_session
def create_config(session: Session, /, **options: Any) -> None:
    """Keep the content of FILE, or of standard input, as the config NAME.

    Containers are given it by --config, as a read-only file.
    """
    click.echo(session.client.configs.create(_config(**options)))


def _config(
    name: str, file: str, label: Sequence[str], label_file: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": name,
        "data": base64.b64encode(_content(file)).decode(),
        "labels": labels_of(label, label_file),
    }


def _content(file: str) -> bytes:
    if file != _STREAM:
        try:
            with open(file, "rb") as source:  # noqa: PTH123 - pathlib is slow to import
                return source.read()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidInput(
                f"file '{file}' cannot be read: {reason}",
                hint="name another; without FILE, standard input is read",
            ) from error
    if sys.stdin.isatty():
        click.echo("Type the content, then ctrl-d.", err=True)
    return sys.stdin.buffer.read()


@command("ls", examples=("klee secret ls", "klee secret ls --filter label=team=web -q"))
@filter_option("secret", _KEYS)
@_listing
@pass_session
def list_secrets(session: Session, /, filters: Sequence[str], **options: Any) -> None:
    """List the secrets, and who is given them; never their content."""
    show_list(_TABLE, session.client.secrets.list(filters=filters), fancy=session.fancy, **options)


@command("ls", examples=("klee config ls", "klee config ls --format '{{.Name}} {{.Size}}'"))
@filter_option("config", _KEYS)
@_listing
@pass_session
def list_configs(session: Session, /, filters: Sequence[str], **options: Any) -> None:
    """List the configs, and who is given them."""
    show_list(_TABLE, session.client.configs.list(filters=filters), fancy=session.fancy, **options)


@command("inspect", examples=("klee secret inspect db-password",))
@FORMAT
@click.argument("secrets", metavar="SECRET...", nargs=-1, required=True)
@pass_session
def inspect_secret(session: Session, secrets: Sequence[str], form: str) -> int:
    """Show all about secrets but their content."""
    return show(session.client.secrets.inspect, secrets, form)


@command(
    "inspect",
    examples=("klee config inspect nginx.conf", "klee config inspect --format '{{.Data}}' app"),
)
@FORMAT
@click.argument("configs", metavar="CONFIG...", nargs=-1, required=True)
@pass_session
def inspect_config(session: Session, configs: Sequence[str], form: str) -> int:
    """Show all about configs; their content in base64."""
    return show(session.client.configs.inspect, configs, form)


@command("rm", examples=("klee secret rm db-password",))
@click.argument("secrets", metavar="SECRET...", nargs=-1, required=True)
@pass_session
def rm_secret(session: Session, secrets: Sequence[str]) -> int:
    """Remove secrets that no container is given."""
    return each(secrets, session.client.secrets.remove)


@command("rm", examples=("klee config rm nginx.conf",))
@click.argument("configs", metavar="CONFIG...", nargs=-1, required=True)
@pass_session
def rm_config(session: Session, configs: Sequence[str]) -> int:
    """Remove configs that no container is given."""
    return each(configs, session.client.configs.remove)
