"""``klee image prune``, ``klee build prune``: show what goes and what it frees, ask, remove just that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from kleene.cli.command import command, prune_filter
from kleene.cli.options import force_prompt
from kleene.cli.output import Column, age, bytes_of, print_table
from kleene.cli.prompt import may_go_on
from kleene.cli.session import Session, pass_session

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = (
    Column("KIND"),
    Column("ID", "cyan"),
    Column("NAME OR STEP", "bright_green", width=50),
    Column("USED"),
    Column("FREES ALONE"),
)


def _options(every: str, filters: Callable[[F], F]) -> Callable[[F], F]:
    """The options of a prune; ``every`` describes ``--all``, ``filters`` is ``--filter``."""

    def decorate(function: F) -> F:
        for option in (
            force_prompt,
            filters,
            click.option("--all", "-a", "every", is_flag=True, help=every),
        ):
            function = option(function)
        return function

    return decorate


@command(
    examples=(
        "klee image prune",
        "klee image prune -af",
        "klee image prune --filter until=7d --filter label!=keep",
    )
)
@_options("Remove images with a name too.", prune_filter())
@pass_session
def images(session: Session, every: bool, filters: Sequence[str], force: bool) -> int:
    """Remove the images without a name that no container uses.

    What goes is shown first, with the space that comes free by all of it together.
    """
    return _prune(session, session.client.images, every=every, filters=filters, force=force)


@command(
    examples=(
        "klee build prune",
        "klee build prune --all --filter until=48h",
        "klee build prune -af",
    )
)
@_options(
    "Remove the steps of images with a name too; the images themselves stay.",
    prune_filter("build", "until (not used since: 36h, 7d, or ISO 8601)"),
)
@pass_session
def builds(session: Session, every: bool, filters: Sequence[str], force: bool) -> int:
    """Remove what builds left: failed builds, cache mounts, uploaded contexts, and snapshots of steps.

    Of snapshots those go that no image with a name needs. Every image can be used as before. Steps whose
    snapshots went are run again by the next build, and cannot be entered any more. Caches of
    'RUN --mount=type=cache' begin anew.
    """
    return _prune(session, session.client.builds, every=every, filters=filters, force=force)


def _prune(session: Session, api: Any, *, every: bool, filters: Sequence[str], force: bool) -> int:
    plan = api.prune_plan(all=every, filters=filters)
    objects = plan["objects"]
    if not objects:
        click.echo("nothing to remove", err=True)
        return 0
    freed = bytes_of(plan["bytes"])
    if not force:
        print_table(_COLUMNS, [_row(each) for each in objects], fancy=session.fancy)
        if not may_go_on(f"This frees {freed}."):
            return 1
    for gone in api.prune(all=every, filters=filters, only=[each["id"] for each in objects]):
        click.echo(gone)
    click.echo(f"freed {freed}", err=True)
    return 0


def _row(held: dict[str, Any]) -> list[str]:
    return [held["kind"], held["id"], held["name"], age(held["used"]), bytes_of(held["own"])]
