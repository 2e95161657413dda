"""``klee lsc lsi lsn lsv top``: lists of objects, as tables, ids, JSON or by a template."""

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
            default="table",
            show_default=True,
            metavar="table|json|TEMPLATE",
            help="A table for people, all that the daemon tells, or a line for each by a template:"
            " '{{.Name}} {{.Created}}'; 'table TEMPLATE' puts titles over it.",
        ),
        click.option("--no-trunc", is_flag=True, help="Show long cells whole."),
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
    no_trunc: bool,
    key: str = "id",
) -> None:
    if quiet:
        for each in objects:
            click.echo(each[key])
    elif form == "json":
        print_json(objects)
    elif form == "table":
        if no_trunc:
            columns = [column._replace(width=None) for column in columns]
        print_table(columns, [row(o) for o in objects], fancy=session.fancy)
    else:
        _show_by_template(session, form, objects, columns, row)


def _show_by_template(
    session: Session,
    form: str,
    objects: list[dict[str, Any]],
    columns: Sequence[Column],
    row: Callable[[dict[str, Any]], list[str]],
) -> None:
    """Lines by a template. Beside the API's fields it may name the columns of the table."""
    from kleene.cli.templates import Template

    with_titles = form.startswith("table ")
    template = Template(form.removeprefix("table "))
    titles = [column.title.title().replace(" ", "") for column in columns]
    lines = [template.render(dict(zip(titles, row(o), strict=True)) | o) for o in objects]
    if with_titles:
        rows = [line.split("\t") for line in lines]
        count = max((len(each) for each in rows), default=0)
        named = [*template.titles(), *[""] * count][: max(count, len(template.titles()))]
        shown = [[*each, *[""] * len(named)][: len(named)] for each in rows]
        print_table([Column(title) for title in named], shown, fancy=session.fancy)
    else:
        for line in lines:
            click.echo(line)


@command(
    examples=(
        "klee lsc",
        "klee rmc $(klee lsc -aq)",
        "klee ps -a --filter status=exited --filter label=team=web",
        "klee container ls --format '{{.Name}}: {{.Status}}'",
    )
)
@click.option("--all", "-a", "every", is_flag=True, help="Show stopped containers too.")
@click.option(
    "--filter",
    "-f",
    "words",
    multiple=True,
    metavar="KEY=VALUE",
    help="Show those that fit: status, name, id, label, image, ancestor, network, volume, health, exited,"
    " before, since, restart. Repeatable.",
)
@click.option("--last", "-n", type=click.IntRange(min=0), metavar="N", help="Show the N newest.")
@click.option("--latest", is_flag=True, help="Show the newest.")
@_options
@pass_session
def containers(
    session: Session,
    /,
    words: Sequence[str],
    every: bool,
    last: int | None,
    latest: bool,
    **options: Any,
) -> None:
    """List the running containers, or all."""
    last = 1 if latest else last
    objects = _found(session, words, every=every or last is not None)
    if last is not None:
        objects = objects[max(0, len(objects) - last) :]
    _show(session, objects, _CONTAINERS, _container_row, **options)


def _found(session: Session, words: Sequence[str], *, every: bool) -> list[dict[str, Any]]:
    """The containers that the filters fit."""
    if not words:
        found: list[dict[str, Any]] = session.client.containers.list(all=every)
        return found
    from kleene.cli import filters

    wanted = filters.parse(words)
    # Of `before` and `since`, the other container may be one that does not run.
    objects = session.client.containers.list(all=every or filters.every_state(wanted))
    images = session.client.images.list() if "ancestor" in wanted else ()
    selected: Any = filters.select(objects, wanted, images)
    only_running = not every and not wanted.keys() & {"status", "exited"}
    return [c for c in selected if c["running"] or not only_running]


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


@command(examples=("klee top web", "klee top -q web"))
@_options
@click.argument("container")
@pass_session
def processes(session: Session, /, container: str, **options: Any) -> None:
    """List the processes of CONTAINER.

    PID and PPID are what the container sees; HOST PID is for programs on the host.
    """
    objects = session.client.containers.top(container)
    _show(session, objects, _PROCESSES, _process_row, key="pid", **options)


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


@command(examples=("klee lsi", "klee image ls --format '{{.Name}}:{{.Tag}} {{.ID}}'"))
@_options
@pass_session
def images(session: Session, /, **options: Any) -> None:
    """List the images."""
    objects = session.client.images.list()
    _show(session, objects, _IMAGES, _image_row, **options)


def _image_row(image: dict[str, Any]) -> list[str]:
    return [image["id"], image["name"], image["tag"], age(image["created"])]


@command(examples=("klee lsn", "klee network ls -q"))
@_options
@pass_session
def networks(session: Session, /, **options: Any) -> None:
    """List the networks."""
    objects = session.client.networks.list()
    _show(session, objects, _NETWORKS, _network_row, **options)


def _network_row(network: dict[str, Any]) -> list[str]:
    subnets = [network["subnet"], network.get("subnet6") or ""]
    return [network["id"], network["name"], network["type"], " ".join(s for s in subnets if s)]


@command(examples=("klee lsv", "klee volume ls -q"))
@_options
@pass_session
def volumes(session: Session, /, **options: Any) -> None:
    """List the volumes."""
    objects = session.client.volumes.list()
    _show(session, objects, _VOLUMES, _volume_row, key="name", **options)


def _volume_row(volume: dict[str, Any]) -> list[str]:
    return [volume["name"], age(volume["created"])]
