"""``klee isc isi isn isv``: all that is known of objects, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from kleene.cli.command import command
from kleene.cli.output import each, print_json
from kleene.cli.session import Session, pass_session


def _show(inspect: Callable[[str], Any], names: Sequence[str]) -> int:
    """Print the one object that was asked for, or an array of those that were found."""
    if len(names) == 1:
        print_json(inspect(names[0]))
        return 0
    found: list[Any] = []
    status = each(names, lambda name: found.append(inspect(name)))
    print_json(found)
    return status


@command(examples=("klee isc web", "klee container inspect 3f2a web"))
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True)
@pass_session
def container(session: Session, containers: Sequence[str]) -> int:
    """Show all about containers: their configuration, addresses and mounts."""
    return _show(session.client.containers.inspect, containers)


@command(examples=("klee isi web:latest", "klee image inspect Debian"))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@pass_session
def image(session: Session, images: Sequence[str]) -> int:
    """Show all about images: their instructions, and the snapshot after each."""
    return _show(session.client.images.inspect, images)


@command(examples=("klee isn testnet",))
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@pass_session
def network(session: Session, networks: Sequence[str]) -> int:
    """Show all about networks, and the containers on them."""
    return _show(session.client.networks.inspect, networks)


@command(examples=("klee isv data",))
@click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)
@pass_session
def volume(session: Session, volumes: Sequence[str]) -> int:
    """Show all about volumes, and where they are mounted."""
    return _show(session.client.volumes.inspect, volumes)
