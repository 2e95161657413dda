"""``klee lsc lsi lsn lsv top``: lists of objects, as tables, ids, JSON or by a template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.command import WholeNumber, command, filter_option, list_options
from kleene.cli.output import Column, Table, age, show_list, state_of
from kleene.cli.session import Session, pass_session


@command(
    examples=(
        "klee lsc",
        "klee rmc $(klee lsc -aq)",
        "klee ps -a --filter status=exited --filter label=team=web",
        "klee container ls --format '{{.Name}}: {{.Status}}'",
    )
)
@click.option("--all", "-a", "every", is_flag=True, help="Show stopped containers too.")
@filter_option(
    "container",
    "status, name, id, label, image, ancestor, network, volume, health, exited, before, since, restart,"
    " driver, publish",
)
@click.option("--last", "-n", type=WholeNumber(min=0), metavar="N", help="Show the N newest.")
@click.option("--latest", "-l", is_flag=True, help="Show the newest.")
@list_options()
@pass_session
def containers(
    session: Session,
    /,
    filters: Sequence[str],
    every: bool,
    last: int | None,
    latest: bool,
    **options: Any,
) -> None:
    """List the running containers, or all.

    A filter by status shows those that do not run without --all, too.
    """
    last = 1 if latest else last
    objects = session.client.containers.list(all=every or last is not None, filters=filters)
    if last is not None:
        objects = objects[max(0, len(objects) - last) :]
    show_list(_CONTAINERS, objects, fancy=session.fancy, **options)


def _container_row(container: dict[str, Any]) -> list[str]:
    jid = container.get("jid")
    return [
        container["id"],
        container["name"],
        _image_name(container),
        " ".join(container.get("cmd") or []),
        age(container["created"]),
        "yes" if container.get("restart_policy") in _AUTORUN else "no",
        _status(container),
        "" if jid is None else str(jid),
    ]


def _image_name(container: dict[str, Any]) -> str:
    if not container.get("image_name"):
        return str(container["image_id"])
    return f"{container['image_name']}:{container['image_tag']}"


_AUTORUN = ("on-startup", "always", "unless-stopped")


def _status(container: dict[str, Any]) -> str:
    code = container.get("exit_code")
    if container["running"]:
        health = container.get("health")
        return f"running ({health['status']})" if health else "running"
    if container.get("restarting"):
        return f"restarting ({code})"
    return f"stopped ({code})" if code else "stopped"


def _more_of_container(container: dict[str, Any]) -> dict[str, Any]:
    """As Docker has them: what it does in a word, and its ports in a line."""
    ports = [
        f"{each['host_port']}->{each['container_port']}/{each['protocol']}"
        for each in container.get("public_ports") or ()
    ]
    return {
        "State": state_of(container),
        "Ports": ", ".join(ports),
    }


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


def _image_row(image: dict[str, Any]) -> list[str]:
    return [image["id"], image["name"], image["tag"], age(image["created"])]


def _network_row(network: dict[str, Any]) -> list[str]:
    subnets = [network["subnet"], network.get("subnet6") or ""]
    return [network["id"], network["name"], network["type"], " ".join(s for s in subnets if s)]


def _volume_row(volume: dict[str, Any]) -> list[str]:
    return [volume["name"], age(volume["created"])]


_CONTAINERS = Table(
    (
        Column("CONTAINER ID", "cyan"),
        Column("NAME", "bright_green", bold=True),
        Column("IMAGE", "bright_blue"),
        Column("COMMAND", width=40),
        Column("CREATED"),
        Column("AUTORUN"),
        Column("STATUS"),
        Column("JID"),
    ),
    _container_row,
    more=_more_of_container,
)
_IMAGES = Table(
    (
        Column("ID", "cyan"),
        Column("NAME", "bright_green", bold=True),
        Column("TAG", "green"),
        Column("CREATED"),
    ),
    _image_row,
)
_NETWORKS = Table(
    (
        Column("ID", "cyan"),
        Column("NAME", "bright_green", bold=True),
        Column("TYPE"),
        Column("SUBNET", "green"),
    ),
    _network_row,
)
_PROCESSES = Table(
    (
        Column("PID", "cyan"),
        Column("PPID"),
        Column("HOST PID"),
        Column("USER", "bright_green", bold=True),
        Column("STARTED"),
        Column("CPU"),
        Column("COMMAND"),
    ),
    _process_row,
    "pid",
)
_VOLUMES = Table(
    (Column("VOLUME NAME", "bright_green", bold=True), Column("CREATED")), _volume_row, "name"
)


@command(examples=("klee top web", "klee top --format '{{.User}} {{.Command}}' web"))
@list_options("Print only process ids, as in the container.")
@click.argument("container")
@pass_session
def processes(session: Session, /, container: str, **options: Any) -> None:
    """List the processes of CONTAINER.

    PID and PPID are what the container sees; HOST PID is for programs on the host.
    """
    objects = session.client.containers.top(container)
    show_list(_PROCESSES, objects, fancy=session.fancy, **options)


@command(
    examples=(
        "klee lsi",
        "klee lsi web",
        "klee lsi --filter reference='web:*' --filter label=team",
        "klee image ls --format '{{.Name}}:{{.Tag}} {{.ID}}'",
    )
)
@filter_option("image", "name, id, label, reference (a pattern), dangling, before, since")
@click.option(
    "--all",
    "-a",
    is_flag=True,
    expose_value=False,
    help="For those who come from Docker: all images are always shown.",
)
@list_options()
@click.argument("reference", metavar="[NAME[:TAG]]", required=False)
@pass_session
def images(
    session: Session, /, filters: Sequence[str], reference: str | None, **options: Any
) -> None:
    """List the images, or those of a name: a pattern such as 'web*'."""
    words = [*filters, *([f"reference={reference}"] if reference else [])]
    objects = session.client.images.list(filters=words)
    show_list(_IMAGES, objects, fancy=session.fancy, **options)


@command(examples=("klee lsn", "klee network ls -q --filter dangling=true --filter label=team"))
@filter_option("network", "name, id, label, type, driver, dangling, before, since")
@list_options()
@pass_session
def networks(session: Session, /, filters: Sequence[str], **options: Any) -> None:
    """List the networks."""
    objects = session.client.networks.list(filters=filters)
    show_list(_NETWORKS, objects, fancy=session.fancy, **options)


@command(examples=("klee lsv", "klee volume ls -q --filter dangling=true --filter label=team"))
@filter_option("volume", "name, label, dangling, before, since")
@list_options("Print only names.")
@pass_session
def volumes(session: Session, /, filters: Sequence[str], **options: Any) -> None:
    """List the volumes."""
    objects = session.client.volumes.list(filters=filters)
    show_list(_VOLUMES, objects, fancy=session.fancy, **options)
