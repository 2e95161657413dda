"""``klee volume``: create, update, rm, prune."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kleene.cli.command import Misused, command, prune_filter
from kleene.cli.labels import label_options, labels_of
from kleene.cli.options import force_prompt, missing_ok
from kleene.cli.output import each
from kleene.cli.prompt import may_prune
from kleene.cli.session import Session, pass_session
from kleene.cli.values import size

_LEAST = 1024 * 1024  # bytes
_QUOTA = "The most that it may hold: bytes, or a number with K, M, G or T"


@command(
    examples=(
        "klee volume create data",
        "klee volume create --quota 1G --label team=web data",
    )
)
@click.option("--quota", metavar="SIZE", help=f"{_QUOTA}.  [default: no limit]")
@label_options()
@click.argument("volume_name")
@pass_session
def create(
    session: Session,
    volume_name: str,
    quota: str | None,
    label: Sequence[str],
    label_file: Sequence[str],
) -> None:
    """Create a volume; nothing happens if it exists."""
    config = {
        "name": volume_name,
        "quota": None if quota is None else _limit(quota),
        "labels": labels_of(label, label_file),
    }
    click.echo(session.client.volumes.create(config))


@command(examples=("klee volume update --quota 5G data", "klee volume update --quota none data"))
@click.option(
    "--quota", metavar="SIZE|none", required=True, help=f"{_QUOTA}; none lifts the limit."
)
@click.argument("volume")
@pass_session
def update(session: Session, volume: str, quota: str) -> None:
    """Change how much VOLUME may hold, at once, also while containers use it."""
    limit = None if quota == "none" else _limit(quota)
    click.echo(session.client.volumes.update(volume, {"quota": limit}))


def _limit(text: str) -> int:
    """Bytes; a file system's own records would not fit into less than the least."""
    limit = size(text)
    if limit < _LEAST:
        raise Misused(f"a quota of '{text}' is too small", hint="a volume holds 1M or more")
    return limit


@command(examples=("klee rmv data", "klee volume rm data@before-upgrade"))
@missing_ok
@click.argument("volumes", metavar="VOLUME[@SNAPSHOT]...", nargs=-1, required=True)
@pass_session
def rm(session: Session, volumes: Sequence[str], force: bool) -> int:
    """Remove volumes that no container mounts, with their snapshots; or single snapshots."""
    found = session.client.volumes

    def remove(text: str) -> str:
        volume, at, snapshot = text.partition("@")
        return found.remove_snapshot(volume, snapshot) if at else found.remove(volume)

    return each(volumes, remove, missing_ok=force)


@command(examples=("klee volume prune -f", "klee volume prune --filter label!=keep"))
@prune_filter()
@force_prompt
@pass_session
def prune(session: Session, filters: Sequence[str], force: bool) -> int:
    """Remove the volumes that no container mounts."""
    if not may_prune("all volumes that no container mounts", force, filters):
        return 1
    for volume in session.client.volumes.prune(filters=filters):
        click.echo(volume)
    return 0
