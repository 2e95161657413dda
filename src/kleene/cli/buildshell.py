"""``klee build shell``: walk into a step of a build."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.arguments import container_config
from kleene.cli.command import command
from kleene.cli.execution import run_container
from kleene.cli.grants import grant_options, grants
from kleene.cli.options import container_options
from kleene.cli.output import printable
from kleene.cli.session import Session, pass_session
from kleene.errors import InvalidInput, NotFound

_SHELL = "/bin/sh"


@command(
    name="shell",
    examples=(
        "klee build shell web:failed",
        "klee build shell web --step 4 --before",
        "klee build shell web --step 4 -- ls -l /app",
        "klee build shell --keep fix web:failed",
        "klee build shell --secret id=token,src=token.txt --ssh default web:failed",
    ),
)
@click.option(
    "--step",
    "-s",
    type=int,
    metavar="N",
    help="Number of the step; else the failed or the last one.",
)
@click.option("--before", "when", flag_value="before", help="The state that the step found.")
@click.option("--after", "when", flag_value="after", help="The state that the step left.")
@click.option(
    "--failed", "when", flag_value="failed", help="What the failed step left, half-changed."
)
@click.option("--keep", metavar="NAME", help="Keep the container, as NAME.")
@grant_options
@container_options
@click.argument("image")
@click.argument("command", nargs=-1)
@pass_session
def shell(session: Session, /, **options: Any) -> int:
    """Start a shell, or COMMAND, in a clone of a state of IMAGE's build.

    It has the environment, the user, the working directory, the mounts and the network of that step. Secrets
    and SSH agents have to be given again; what else is not there any more is told. Without options the state
    is what the failed step left or, of a build that succeeded, the last one. The clone is removed when the
    shell ends.
    """
    image = session.client.images.inspect(options["image"])["id"]
    steps = session.client.images.history(image)
    step, snapshot = choose(steps, options["step"], options["when"])
    config = container_config(options, os.environ) | {
        "name": options["keep"],
        "image": f"{image}@{snapshot}",
        "cmd": list(options["command"]) or [next(iter(step["shell"]), _SHELL)],
        "entrypoint": [],
        "auto_remove": not options["keep"],
        "step": step["number"],
    }
    config |= _confinement(step, options)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not options["command"]:
        click.echo(f"step {step['number']}: {printable(step['instruction'])}", err=True)
    how = {"quiet": True, "interactive": True, "tty": terminal, "rm": not options["keep"]}
    with contextlib.ExitStack() as undo:
        granted = grants(options, os.environ, undo, local=session.is_local)
        config |= {f"step_{kind}": granted[kind] for kind in ("secrets", "ssh") if kind in granted}
        return run_container(session, config, options | how)


def _confinement(step: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The network and the privileges of a step, where the user has not named others."""
    found: dict[str, Any] = {}
    if step["network"] != "default" and not options["driver"] and options["network"] is None:
        found["network_driver"] = "disabled" if step["network"] == "none" else "host"
    if step["insecure"] and "security.insecure" in options["allow"]:
        found["cap_add"] = ["ALL"]
    elif step["insecure"]:
        click.echo(
            "note: the step asks for all privileges: klee build shell --allow security.insecure",
            err=True,
        )
    return found


def choose(
    steps: Sequence[dict[str, Any]], number: int | None, when: str | None
) -> tuple[dict[str, Any], str]:
    """The step and the snapshot that are meant.

    Args:
        when: ``before``, ``after``, ``failed`` or ``None``.

    Raises:
        NotFound: there is no such step, or none failed.
        InvalidInput: the state has no snapshot.
    """
    step = _step(steps, number)
    if when == "failed" and not step["failed"]:
        raise NotFound(
            f"step {step['number']} did not fail", hint="use --after for the state that it left"
        )
    if when == "after" and step["failed"]:
        raise InvalidInput(
            f"step {step['number']} failed: there is no state after it",
            hint="use --failed for what it left, or --before for what it found",
        )
    snapshot = "" if when == "before" else step["snapshot"]
    snapshot = snapshot or step["before"]
    if not snapshot:
        raise InvalidInput(
            f"step {step['number']} begins with an empty file system: nothing can run there",
            hint="choose a later one: klee image history",
        )
    return step, snapshot


def _step(steps: Sequence[dict[str, Any]], number: int | None) -> dict[str, Any]:
    if not steps:
        raise NotFound("the image was not built: it has no steps", hint="klee run -it IMAGE")
    if number is None:
        return next((step for step in steps if step["failed"]), steps[-1])
    for step in steps:
        if step["number"] == number:
            return step
    raise NotFound(
        f"there is no step {number}", hint=f"the steps are {steps[0]['number']} to {len(steps)}"
    )
