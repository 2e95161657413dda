"""``klee lsc lsi lsn lsv top``: lists of objects, as tables, ids or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from kleene.cli.command import command
from kleene.cli.output import Column, age, print_json, print_table
from kleene.cli.session import Session, pass_session

F = TypeVar("F", bound=Callable[..., Any])

_CONTAINERS = (
    Column("CONTAINER ID", "cyan"),
    Column("NAME", "bright_green", bold=True),
    Column("IMAGE", "bright_blue"),
    Column("COMMAND", width=40),
    Column("CREATED"),
    Column("AUTORUN"),
    Column("STATUS"),
    Column("JID"),
)
_IMAGES = (
    Column("ID", "cyan"),
    Column("NAME", "bright_green", bold=True),
    Column("TAG", "green"),
    Column("CREATED"),
)
_NETWORKS = (
    Column("ID", "cyan"),
    Column("NAME", "bright_green", bold=True),
    Column("TYPE"),
    Column("SUBNET", "green"),
)
_PROCESSES = (
    Column("PID", "cyan"),
    Column("PPID"),
    Column("HOST PID"),
    Column("USER", "bright_green", bold=True),
    Column("STARTED"),
    Column("CPU"),
    Column("COMMAND"),
)
_VOLUMES = (Column("VOLUME NAME", "bright_green", bold=True), Column("CREATED"))


def _options(function: F) -> F:
    """The options that all lists have."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Print only ids (of volumes: names)."),
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "json"]),
            default="table",
            show_default=True,
            help="A table for people, or what the daemon tells for programs.",
        ),
    ):
        function = option(function)
    return function


def _show(
    session: Session,
    objects: list[dict[str, Any]],
    columns: Sequence[Column],
    row: Callable[[dict[str, Any]], list[str]],
    *,
    quiet: bool,
    form: str,
    key: str = "id",
) -> None:
    if quiet:
        for each in objects:
            click.echo(each[key])
    elif form == "json":
        print_json(objects)
    else:
        print_table(columns, [row(o) for o in objects], fancy=session.fancy)


@command(examples=("klee lsc", "klee container ls -a", "klee rmc $(klee lsc -aq)"))
@click.option("--all", "-a", "every", is_flag=True, help="Show stopped containers too.")
@_options
@pass_session
def containers(session: Session, every: bool, quiet: bool, form: str) -> None:
    """List the running containers, or all."""
    objects = session.client.containers.list(all=every)
    _show(session, objects, _CONTAINERS, _container_row, quiet=quiet, form=form)


def _container_row(container: dict[str, Any]) -> list[str]:
    jid = container.get("jid")
    return [
        container["id"],
        container["name"],
        _image_name(container),
        " ".join(container.get("cmd") or []),
        age(container["created"]),
        "yes" if container.get("restart_policy") == "on-startup" else "no",
        _status(container),
        "" if jid is None else str(jid),
    ]


def _image_name(container: dict[str, Any]) -> str:
    if not container.get("image_name"):
        return str(container["image_id"])
    return f"{container['image_name']}:{container['image_tag']}"


def _status(container: dict[str, Any]) -> str:
    if container["running"]:
        return "running"
    code = container.get("exit_code")
    return f"stopped ({code})" if code else "stopped"


@command(examples=("klee top web", "klee top -q web"))
@_options
@click.argument("container")
@pass_session
def processes(session: Session, container: str, quiet: bool, form: str) -> None:
    """List the processes of CONTAINER.

    PID and PPID are what the container sees; HOST PID is for programs on the host.
    """
    objects = session.client.containers.top(container)
    _show(session, objects, _PROCESSES, _process_row, quiet=quiet, form=form, key="pid")


def _process_row(process: dict[str, Any]) -> list[str]:
    return [
        str(process["pid"]),
        str(process["ppid"]),
        str(process["host_pid"]),
        process["user"],
        age(process["started"]),
        f"{process['cpu_seconds']:.2f} s",
        " ".join(process["command"]),
    ]


@command(examples=("klee lsi", "klee image ls --format json"))
@_options
@pass_session
def images(session: Session, quiet: bool, form: str) -> None:
    """List the images."""
    objects = session.client.images.list()
    _show(session, objects, _IMAGES, _image_row, quiet=quiet, form=form)


def _image_row(image: dict[str, Any]) -> list[str]:
    return [image["id"], image["name"], image["tag"], age(image["created"])]


@command(examples=("klee lsn", "klee network ls -q"))
@_options
@pass_session
def networks(session: Session, quiet: bool, form: str) -> None:
    """List the networks."""
    objects = session.client.networks.list()
    _show(session, objects, _NETWORKS, _network_row, quiet=quiet, form=form)


def _network_row(network: dict[str, Any]) -> list[str]:
    subnets = [network["subnet"], network.get("subnet6") or ""]
    return [network["id"], network["name"], network["type"], " ".join(s for s in subnets if s)]


@command(examples=("klee lsv", "klee volume ls -q"))
@_options
@pass_session
def volumes(session: Session, quiet: bool, form: str) -> None:
    """List the volumes."""
    objects = session.client.volumes.list()
    _show(session, objects, _VOLUMES, _volume_row, quiet=quiet, form=form, key="name")


def _volume_row(volume: dict[str, Any]) -> list[str]:
    return [volume["name"], age(volume["created"])]
