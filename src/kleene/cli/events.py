"""``klee events``: what happens to containers, images, networks and volumes, as it happens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.command import command, filter_option, format_option
from kleene.cli.output import printable
from kleene.cli.session import Session, pass_session
from kleene.client.failures import OperationFailed

if TYPE_CHECKING:
    from kleene.client.streams import Stream


@command(
    examples=(
        "klee events",
        "klee events --since 1h --until 0s --filter type=container",
        "klee events --filter event=die --format '{{.Time}} {{.Name}}: {{.Attributes.exit_code}}'",
    )
)
@click.option(
    "--since", default="", metavar="TIME", help="Begin with what happened since: 1h30m, or a time."
)
@click.option(
    "--until", default="", metavar="TIME", help="End with what happened before: 0s is now."
)
@filter_option("event", "type, event, container, image, network, volume, secret, config, daemon")
@format_option(
    "Lines for people, or for programs a JSON object in each line, or what a template makes of it."
)
@pass_session
def events(session: Session, /, form: str, **options: Any) -> None:
    """Show what happens to containers, images, networks, volumes, secrets and configs.

    The daemon remembers the last two thousand events since it started; without --since only news are shown.
    Filters of one key are alternatives, and all keys must fit.
    """
    config = {**options, "filters": list(options["filters"])}
    told = _teller(form)
    with session.client.events(config) as stream:
        for line in _lines(stream):
            click.echo(line if form == "json" else told(json.loads(line)))
            sys.stdout.flush()


def _teller(form: str) -> Callable[[dict[str, Any]], str]:
    """What makes a line of an event."""
    if form in ("table", "json"):
        return _told
    from kleene.cli.docker_fields import of_event
    from kleene.cli.templates import Template

    template = Template(form)
    return lambda event: template.render(of_event(event))


def _lines(stream: Stream) -> Iterator[str]:
    """The lines of the output."""
    from kleene.client.streams import Output

    rest = b""
    for event in stream:
        if isinstance(event, Output):
            *lines, rest = (rest + event.data).split(b"\n")
            yield from (line.decode() for line in lines)
        elif event["type"] == "failed":
            raise OperationFailed(event)


def _told(event: dict[str, Any]) -> str:
    """``TIME KIND ACTION NAME (KEY=VALUE, ...)``."""
    details = [f"{name}={value}" for name, value in event["attributes"].items()]
    if event["id"] not in ("", event["name"]):
        details.insert(0, f"id={event['id']}")
    subject = event["name"] or event["id"]
    tail = f" ({', '.join(details)})" if details else ""
    return printable(f"{event['time']} {event['kind']} {event['action']} {subject}{tail}")
