"""``klee volume``: create, rm, prune."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kleene.cli.command import command
from kleene.cli.options import force_prompt
from kleene.cli.output import each
from kleene.cli.prompt import may_prune
from kleene.cli.session import Session, pass_session


@command(examples=("klee volume create data",))
@click.argument("volume_name")
@pass_session
def create(session: Session, volume_name: str) -> None:
    """Create a volume; nothing happens if it exists."""
    click.echo(session.client.volumes.create({"name": volume_name}))


@command(examples=("klee rmv data",))
@click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)
@pass_session
def rm(session: Session, volumes: Sequence[str]) -> int:
    """Remove volumes that no container mounts."""
    return each(volumes, session.client.volumes.remove)


@command(examples=("klee volume prune -f",))
@force_prompt
@pass_session
def prune(session: Session, force: bool) -> int:
    """Remove the volumes that no container mounts."""
    if not may_prune("all volumes that no container mounts", force):
        return 1
    for volume in session.client.volumes.prune():
        click.echo(volume)
    return 0
