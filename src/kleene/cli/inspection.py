"""``klee isc isi isn isv``: all that is known of objects, as JSON or by a template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from kleene.cli.command import OneOf, command, format_option
from kleene.cli.output import each, print_json
from kleene.cli.session import Session, pass_session
from kleene.errors import InvalidInput, NotFound

FORMAT = format_option(
    "All of it, or a line for each object by a template, as '{{.Name}}'.", plain="json", short="-f"
)


def show(inspect: Callable[[str], Any], names: Sequence[str], form: str) -> int:
    """Print the one object that was asked for, or an array of those that were found."""
    if form != "json":
        from kleene.cli.docker_fields import of_inspected
        from kleene.cli.templates import Template

        template = Template(form)
        return each(names, lambda name: template.render(of_inspected(inspect(name))))
    if len(names) == 1:
        print_json(inspect(names[0]))
        return 0
    found: list[Any] = []
    status = each(names, lambda name: found.append(inspect(name)))
    print_json(found)
    return status


@command(
    examples=("klee isc web", "klee container inspect --format '{{.Container.ExitCode}}' web db")
)
@FORMAT
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True)
@pass_session
def container(session: Session, containers: Sequence[str], form: str) -> int:
    """Show all about containers: their configuration, addresses and mounts."""
    return show(session.client.containers.inspect, containers, form)


@command(examples=("klee isi web:latest", "klee image inspect Debian"))
@FORMAT
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@pass_session
def image(session: Session, images: Sequence[str], form: str) -> int:
    """Show all about images: their instructions, the snapshot after each, and what they hold on disk."""
    return show(lambda name: session.client.images.inspect(name, size=True), images, form)


@command(examples=("klee isn testnet",))
@FORMAT
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@pass_session
def network(session: Session, networks: Sequence[str], form: str) -> int:
    """Show all about networks, and the containers on them."""
    return show(session.client.networks.inspect, networks, form)


@command(examples=("klee isv data",))
@FORMAT
@click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)
@pass_session
def volume(session: Session, volumes: Sequence[str], form: str) -> int:
    """Show all about volumes, and where they are mounted."""
    return show(session.client.volumes.inspect, volumes, form)


@command(
    "inspect", examples=("klee inspect web", "klee inspect --type image -f '{{.Config.Cmd}}' web")
)
@click.option(
    "--type",
    "kind",
    type=OneOf(["container", "image", "network", "volume"]),
    help="Only look among these.",
)
@FORMAT
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@pass_session
def anything(session: Session, names: Sequence[str], form: str, kind: str | None) -> int:
    """Show all about containers, images, networks or volumes: the first of these that there is of a NAME."""
    client = session.client
    kinds: dict[str, Callable[[str], Any]] = {
        "container": client.containers.inspect,
        "image": lambda name: client.images.inspect(name, size=True),
        "network": client.networks.inspect,
        "volume": client.volumes.inspect,
    }
    if kind is not None:
        return show(kinds[kind], names, form)

    def inspect(name: str) -> Any:
        for found in kinds.values():
            with suppress(NotFound, InvalidInput):  # an image cannot have every name
                return found(name)
        raise NotFound(
            f"no such container, image, network or volume: '{name}'",
            hint="list what there is: klee lsc -a; klee lsi; klee lsn; klee lsv",
        )

    return show(inspect, names, form)
