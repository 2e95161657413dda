"""``klee stats``: what containers use, measured twice."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from kleene.cli.command import command, format_option
from kleene.cli.output import Column, Table, show_list
from kleene.cli.progress import quantity
from kleene.cli.session import Session, pass_session

_INTERVAL = 1.0
_FIRST_INTERVAL = 0.25
_HOME_AND_CLEAR = "\x1b[H\x1b[J"

Sample = dict[str, Any]


@command(
    examples=(
        "klee stats",
        "klee stats --no-stream web db",
        "klee stats --format '{{.Name}} {{.Memory}}'",
    )
)
@click.option("--no-stream", is_flag=True, help="Show it once.")
@format_option(
    "A table for people, or for programs each time a line of JSON, or one for each container by a template."
)
@click.argument("containers", metavar="[CONTAINER]...", nargs=-1)
@pass_session
def stats(session: Session, containers: Sequence[str], no_stream: bool, form: str) -> None:
    """Show what the running containers use, every second; or only those that are named.

    CPU % is the share of one processor, MEMORY leaves out what the page cache could give back. What goes
    over the network and the disk is counted since the container started.
    """
    before = _samples(session, containers)
    time.sleep(_FIRST_INTERVAL)
    while True:
        after = _samples(session, containers)
        found = [
            sample | {"cpu_percent": _cpu(before.get(id_), sample)} for id_, sample in after.items()
        ]
        _show(session, found, form, once=no_stream)
        if no_stream:
            return
        before = after
        time.sleep(_INTERVAL)


def _samples(session: Session, containers: Sequence[str]) -> dict[str, Sample]:
    client = session.client.containers
    found = [client.stats(name) for name in containers] if containers else client.all_stats()
    return {sample["id"]: sample for sample in found}


def _cpu(before: Sample | None, after: Sample) -> float:
    """Percent of one processor between two samples."""
    if before is None:
        return 0.0
    times = (datetime.fromisoformat(sample["time"]) for sample in (after, before))
    seconds = (next(times) - next(times)).total_seconds()
    used = after["cpu_seconds"] - before["cpu_seconds"]
    return round(100 * used / seconds, 2) if seconds > 0 else 0.0


def _show(session: Session, samples: list[Sample], form: str, *, once: bool) -> None:
    if form == "json":
        click.echo(json.dumps(samples))
        return
    if session.fancy and not once and form == "table":
        click.echo(_HOME_AND_CLEAR, nl=False)
    show_list(_TABLE, samples, fancy=session.fancy, form=form)


def _row(sample: Sample) -> list[str]:
    limit = sample["memory_limit"]
    network = (sample.get("received_bytes"), sample.get("sent_bytes"))
    return [
        sample["id"],
        sample["name"],
        f"{sample['cpu_percent']:.2f}%",
        f"{quantity(sample['memory'])} / {quantity(limit) if limit else 'none'}",
        f"{100 * sample['memory'] / limit:.2f}%" if limit else "",
        "host" if None in network else " / ".join(quantity(n or 0) for n in network),
        f"{quantity(sample['read_bytes'])} / {quantity(sample['written_bytes'])}",
        str(sample["pids"]),
    ]


_DOCKERS = ("Container", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
"""What Docker calls the columns after the first."""

_TABLE = Table(
    (
        Column("CONTAINER ID", "cyan"),
        Column("NAME", "bright_green", bold=True),
        Column("CPU %"),
        Column("MEMORY / LIMIT"),
        Column("MEMORY %"),
        Column("NETWORK IN / OUT"),
        Column("DISK READ / WRITTEN"),
        Column("PIDS"),
    ),
    _row,
    more=lambda sample: dict(zip(_DOCKERS, _row(sample)[1:], strict=True)),
)
