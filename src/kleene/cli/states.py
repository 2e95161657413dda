"""``klee diff`` and ``klee commit``: what changed in a container, and an image of it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kleene.cli.command import command, format_option
from kleene.cli.output import print_form, print_json, printable, style
from kleene.cli.session import Session, pass_session

_LETTERS = {"added": ("A", "green"), "modified": ("C", "yellow"), "removed": ("D", "red")}


@command(examples=("klee diff web", "klee container diff --format '{{.Path}}' web"))
@format_option("Lines for people, or for programs JSON, or a line for each file by a template.")
@click.argument("container")
@pass_session
def diff(session: Session, container: str, form: str) -> None:
    """List the files that are not in CONTAINER as they are in its image.

    A is added, C changed, D deleted. What lies in volumes and other mounts does not count.
    """
    found = session.client.containers.diff(container)
    if form == "json":
        print_json(found)
        return
    if form != "table":
        print_form(form, found)
        return
    for change in found:
        letter, colour = _LETTERS[change["kind"]]
        mark = style(letter, fg=colour) if session.fancy else letter
        click.echo(f"{mark} {printable(change['path'])}")


@command(
    examples=(
        "klee commit web web:patched",
        "klee commit -c 'CMD [\"/bin/serve\"]' -c 'ENV DEBUG=1' -m 'with debug symbols' web debug",
    )
)
@click.option(
    "--change",
    "-c",
    multiple=True,
    metavar="INSTRUCTION",
    help="Apply CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR and the like. Repeatable.",
)
@click.option("--message", "-m", default="", metavar="TEXT", help="Why, for the image's history.")
@click.argument("container")
@click.argument("tag", metavar="[NAME[:TAG]]", required=False, default="")
@pass_session
def commit(session: Session, container: str, tag: str, change: Sequence[str], message: str) -> None:
    """Make an image of the present files of CONTAINER, which may run; print its id.

    It is a snapshot and a clone: nothing is copied. What lies in volumes and other mounts is not part of it.
    """
    config = {"tag": tag, "changes": list(change), "message": message}
    click.echo(session.client.containers.commit(container, config))
