"""``klee logs``: what the processes of a container wrote."""

from __future__ import annotations

from typing import Any

import click

from kleene.cli.command import command
from kleene.cli.session import Session, pass_session
from kleene.client.failures import OperationFailed


def _lines(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A number of lines; ``None`` for ``all``."""
    if value == "all":
        return None
    if not (value.isascii() and value.isdecimal()):
        raise click.BadParameter(f"'{value}' is neither a number of lines nor 'all'", ctx, param)
    return int(value)


@command(
    examples=(
        "klee logs web",
        "klee logs -f --tail 20 web",
        "klee logs --since 1h30m --until 1h --timestamps web",
        "klee logs --tail all web > web.log 2> web.errors",
    )
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the container stops.")
@click.option(
    "--tail",
    "-n",
    callback=_lines,
    default="1000",
    show_default=True,
    metavar="N|all",
    help="Show the last N lines of what there is.",
)
@click.option(
    "--since",
    default="",
    metavar="TIME",
    help="Show nothing older: a time (2026-11-24T08:00:00Z) or how long ago (1h30m).",
)
@click.option("--until", default="", metavar="TIME", help="End before that time; 0s is now.")
@click.option(
    "--timestamps", "-t", is_flag=True, help="Put the time in UTC before each line, in nanoseconds."
)
@click.argument("container")
@pass_session
def logs(session: Session, /, container: str, **options: Any) -> None:
    """Show what the processes of CONTAINER wrote, those that have ended too.

    It comes byte for byte, in the order of time. What was written to standard error goes to that of klee.
    """
    from kleene.client.attach import write_output
    from kleene.client.streams import Output

    with session.client.containers.logs(container, options) as stream:
        for event in stream:
            if isinstance(event, Output):
                write_output(event)
            elif event["type"] == "failed":
                raise OperationFailed(event)
