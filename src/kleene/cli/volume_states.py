"""``klee volume``: snapshot, snapshots, restore, clone, export, import."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import click

from kleene.cli.command import command, filter_option, list_options
from kleene.cli.output import Column, Table, age, show_list
from kleene.cli.session import Session, pass_session

_SNAPSHOTS = Table(
    (Column("SNAPSHOT", "bright_green", bold=True), Column("CREATED")),
    lambda snapshot: [snapshot["name"], age(snapshot["created"])],
    "name",
)
_CHUNK = 65536
_INTERVAL = 0.5  # seconds between two lines of progress


@command(examples=("klee volume snapshot data", "klee volume snapshot data before-upgrade"))
@click.argument("volume")
@click.argument("name", required=False, default="")
@pass_session
def snapshot(session: Session, volume: str, name: str) -> None:
    """Keep the present state of VOLUME as the snapshot NAME.

    Containers may go on using it. Without NAME, the snapshot is named by the time.
    """
    click.echo(session.client.volumes.snapshot(volume, name))


@command(
    examples=(
        "klee volume snapshots data",
        "klee volume snapshots -q --filter since=before-upgrade data",
    )
)
@filter_option("snapshot", "name, before, since")
@list_options("Print only names.")
@click.argument("volume")
@pass_session
def snapshots(session: Session, /, volume: str, filters: Sequence[str], **options: Any) -> None:
    """List the snapshots of VOLUME, oldest first."""
    found = session.client.volumes.snapshots(volume, filters=filters)
    show_list(_SNAPSHOTS, found, fancy=session.fancy, **options)


@command(examples=("klee volume restore data before-upgrade",))
@click.argument("volume")
@click.argument("snapshot")
@pass_session
def restore(session: Session, volume: str, snapshot: str) -> None:
    """Make VOLUME what it was when SNAPSHOT was taken.

    What it is now is lost; all of its snapshots stay. Containers that mount it must be stopped.
    """
    click.echo(session.client.volumes.restore(volume, snapshot))


@command(examples=("klee volume clone data test", "klee volume clone data@before-upgrade old"))
@click.argument("volume", metavar="VOLUME[@SNAPSHOT]")
@click.argument("new")
@pass_session
def clone(session: Session, volume: str, new: str) -> None:
    """Make the volume NEW, which begins as another one is, or as one of its snapshots.

    Both share their blocks until one of them is written to. NEW has the same quota.
    """
    name, snapshot = _split(volume)
    click.echo(session.client.volumes.clone(name, new, snapshot=snapshot))


def _split(text: str) -> tuple[str, str]:
    volume, at, snapshot = text.partition("@")
    if at and not snapshot:
        raise click.UsageError(f"'{text}' names no snapshot: write VOLUME@SNAPSHOT")
    return volume, snapshot


@command(
    examples=(
        "klee volume export data > data.tar",
        "klee volume export data@before-upgrade | zstd > data.tar.zst",
    )
)
@click.argument("volume", metavar="VOLUME[@SNAPSHOT]")
@pass_session
def export(session: Session, volume: str) -> None:
    """Write what is in VOLUME to standard output, as a tar stream.

    It is the state of one moment, also while containers write. Owners are kept by number, with modes, times,
    hard links and extended attributes; device nodes and sockets are left out.
    """
    from kleene.client.attach import write_all

    if sys.stdout.isatty():
        raise click.UsageError("a tar stream is not for a terminal: redirect the output")
    name, snapshot = _split(volume)
    with closing(session.client.volumes.read_archive(name, snapshot=snapshot)) as chunks:
        for chunk in _counted(chunks, "exported"):
            write_all(1, chunk)


@command(
    "import",
    examples=(
        "klee volume import data < data.tar",
        "zstd -dc data.tar.zst | klee volume import data",
    ),
)
@click.argument("volume")
@pass_session
def import_(session: Session, volume: str) -> None:
    """Fill VOLUME from a tar stream on standard input, compressed or not.

    It is made if there is none of the name, else it must be empty. If that fails, nothing of it is left.
    """
    if sys.stdin.isatty():
        raise click.UsageError("there is no tar stream: redirect the input")
    session.client.volumes.write_archive(volume, _counted(_standard_input(), "imported"))
    click.echo(volume)


def _standard_input() -> Iterator[bytes]:
    while data := os.read(0, _CHUNK):
        yield data


def _counted(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The chunks; in a terminal, standard error tells how many bytes they were by now."""
    from kleene.cli.progress import quantity

    shown, done, told = sys.stderr.isatty(), 0, time.monotonic()
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if shown and time.monotonic() - told > _INTERVAL:
            told = time.monotonic()
            click.echo(f"\r{what} {quantity(done)}\x1b[K", nl=False, err=True)
    if shown:
        click.echo(f"\r{what} {quantity(done)}\x1b[K", err=True)
