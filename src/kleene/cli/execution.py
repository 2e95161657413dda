"""``klee run``, ``exec``, ``start`` and ``restart``: processes in containers, and being connected to them.

What the process writes goes to standard output and error byte for byte; what ``klee`` says of it goes to
standard output too, before and after, unless ``--quiet``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.arguments import creation_config, network_of, variables
from kleene.cli.command import Misused, command
from kleene.cli.container import create_container, grace
from kleene.cli.options import COMMAND_LAST, creation_options, env, process_options, quiet
from kleene.cli.output import each, print_error
from kleene.cli.session import Session, pass_session
from kleene.cli.settings_options import env_file, file_variables
from kleene.cli.stopping import stopped
from kleene.client.failures import OperationFailed, ProcessNotStarted
from kleene.errors import Conflict, InvalidInput, KleeneError

if TYPE_CHECKING:
    from kleene.client.operations import JsonClient
    from kleene.client.streams import Stream

_INTERRUPTED, _HUNG_UP = 130, 129


@command(
    examples=(
        "klee run -it --rm Debian /bin/bash",
        "klee run -d -n testnet -p 8080:80 --name web web:latest",
        "klee run -q Debian cat /etc/os-release > os-release",
    ),
    context_settings=COMMAND_LAST,
)
@creation_options
@process_options
@quiet
@click.argument("image")
@click.argument("command", nargs=-1)
@pass_session
def run(session: Session, /, **options: Any) -> int:
    """Create a container from IMAGE (ID|NAME[:TAG][@SNAPSHOT]) and start COMMAND in it.

    Without COMMAND, the image's command is started. The exit status is that of the process.
    """
    return run_container(session, creation_config(options, os.environ), options)


def run_container(session: Session, config: dict[str, Any], options: dict[str, Any]) -> int:
    """Create a container of a ``ContainerConfig`` and run its command; the exit status for ``klee``.

    Args:
        options: how it is connected to: network and its addresses, quiet, detach, interactive, tty, rm.
    """
    process = _Process(session.client, options)
    # On a network the container is connected first, so that it goes up with its address.
    config["start_soon"] = network_of(options) is None
    container = create_container(session.client, config, options, _import_streams)
    if not process.quiet or process.detach:
        click.echo(container)
    try:
        return process.start(container)
    except OperationFailed:
        if options["rm"]:  # it never ran, so it will not stop either
            with suppress(KleeneError):
                session.client.containers.remove(container)
        raise


@command(
    name="exec",
    examples=(
        "klee exec -it web /bin/sh",
        "klee exec -q web ps aux",
        "klee exec -w /srv --env-file dev.env -u www web ./migrate",
        "tar -c site | klee exec -qi web tar -x -C /srv",
    ),
    context_settings=COMMAND_LAST,
)
@process_options
@quiet
@env
@env_file
@click.option("--user", "-u", default="", metavar="USER[:GROUP]", help="Run the process as USER.")
@click.option(
    "--workdir", "-w", default="", metavar="PATH", help="Start it in PATH; it is made if missing."
)
@click.option(
    "--privileged", is_flag=True, help="Give it all capabilities, whatever the container may."
)
@click.argument("container")
@click.argument("command", nargs=-1)
@pass_session
def exec_(session: Session, /, container: str, **options: Any) -> int:
    """Start COMMAND in CONTAINER; the container is started if it does not run.

    Without COMMAND, the container's command is started. The exit status is that of the process.
    """
    process = _Process(session.client, options)
    return process.start(
        container,
        cmd=list(options["command"]),
        env=variables([*file_variables(options), *options["env"]], os.environ),
        user=options["user"],
        workdir=options["workdir"],
        privileged=options["privileged"],
    )


@command(examples=("klee start web", "klee start -d web db cache"))
@process_options
@click.option(
    "--attach",
    "-a",
    is_flag=True,
    expose_value=False,
    help="For those who come from Docker: output is always shown, unless --detach is given.",
)
@quiet
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True)
@pass_session
def start(session: Session, /, containers: Sequence[str], **options: Any) -> int:
    """Start containers: the command of each, once more in one that runs already.

    Only one can be connected to the terminal: several need --detach. The exit status is that of the process.
    """
    process = _Process(session.client, options)
    if process.detach:
        return each(containers, process.start_detached)
    if len(containers) > 1:
        raise Misused("only one container can be attached to", hint="use klee start --detach")
    return process.start(containers[0])


@command(examples=("klee restart web", "klee restart -t 1m web db"))
@grace
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True)
@pass_session
def restart(session: Session, containers: Sequence[str], grace: float | None) -> int:
    """Stop containers and start them again, detached."""
    process = _Process(session.client, {"detach": True})
    once = tuple(dict.fromkeys(containers))  # one that is started twice has two processes
    stop = stopped(session, once, grace)

    def restart_one(name: str) -> None:
        with suppress(Conflict):  # it does not run
            click.echo(stop(name))
        process.start_detached(name)

    return each(once, restart_one)


def _import_streams() -> None:
    """Import what the attachment needs: done while the daemon creates the container."""
    import_module("kleene.client.attach")


class _Process:
    """How the processes of one command line are started and connected to."""

    def __init__(self, client: JsonClient, options: dict[str, Any]) -> None:
        self._client = client
        self.quiet = options.get("quiet", False)
        self.interactive = options.get("interactive", False)
        self.detach = options.get("detach", False) and not self.interactive
        self.tty = options.get("tty", False)
        if self.tty and self.interactive and not sys.stdin.isatty():
            raise InvalidInput("standard input is not a terminal", hint="leave out --tty")

    def start(
        self,
        container: str,
        **process: Any,
    ) -> int:
        """Start a process, and the container if it does not run; the exit status for ``klee``.

        Args:
            process: fields of its ``ExecConfig``; else the container's command is started.
        """
        config = {"cmd": [], "env": [], "user": ""} | process
        config |= {
            "container_id": container,
            "tty": self.tty,
            "stdin": self.interactive,
        }
        exec_id = self._client.execs.create(config, meanwhile=_import_streams)
        if not self.quiet:
            click.echo(f"created execution instance {exec_id}")
        with self._client.execs.start(self._start_config(exec_id)) as stream:
            last = self._connect(stream, exec_id)
        if isinstance(last, int):
            return last
        if last["type"] == "failed":
            raise ProcessNotStarted(last)
        if self.detach:
            return 0
        return self._tell_end(exec_id, last)

    def start_detached(self, container: str) -> None:
        """Start a container's command and leave it."""
        self.start(container)

    def _start_config(self, exec_id: str) -> dict[str, Any]:
        from kleene.client.terminal import size_of

        size = (size_of(1) or size_of(0)) if self.tty else None
        return {
            "exec_id": exec_id,
            "attach": not self.detach,
            "start_container": True,
            "rows": size.rows if size else None,
            "columns": size.columns if size else None,
        }

    def _connect(self, stream: Stream, exec_id: str) -> dict[str, Any] | int:
        """The last message; or, if the user left, the exit status."""
        from kleene.client.attach import Hangup, attach
        from kleene.client.detach import Detached

        try:
            if self.detach:
                return _last_of(stream)
            return attach(stream, interactive=self.interactive, tty=self.tty)
        except Detached:
            click.echo(f"\ndetached from {exec_id}")
            return 0
        except KeyboardInterrupt:
            print_error(f"interrupted; the process of '{exec_id}' may still run", hint="klee lsc")
            return _INTERRUPTED
        except Hangup:
            return _HUNG_UP

    def _tell_end(self, exec_id: str, last: dict[str, Any]) -> int:
        code = int(last.get("exit_code") or 0)
        if not self.quiet:
            stopped = last.get("container_stopped")
            what = (
                f"executable {exec_id} and its container exited"
                if stopped
                else f"{exec_id} has exited"
            )
            click.echo(f"\n{what} with exit-code {code}")
        return code


def _last_of(stream: Stream) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for message in stream:
        last = message
    return last
