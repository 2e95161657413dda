"""``klee container``: create, stop, rm, update, rename, prune."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import click

from kleene.cli import values
from kleene.cli.arguments import creation_config, endpoint, network_of, variables
from kleene.cli.command import command, prune_filter
from kleene.cli.options import (
    COMMAND_LAST,
    creation_options,
    env,
    force_prompt,
    jailparam,
)
from kleene.cli.output import each, printable
from kleene.cli.prompt import may_prune
from kleene.cli.session import Session, pass_session
from kleene.cli.settings_options import (
    Parsed,
    file_variables,
    restart,
    settings_config,
    settings_options,
)
from kleene.cli.stopping import stopped
from kleene.errors import InvalidInput, KleeneError

if TYPE_CHECKING:
    from kleene.client.operations import JsonClient

_NAMES = click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True)


@command(
    examples=(
        "klee create --name web -n testnet -p 8080:80 web:latest",
        "klee container create -m data:/var/lib/data -e DEBUG=1 Debian /bin/sleep 60",
    ),
    context_settings=COMMAND_LAST,
)
@creation_options
@click.argument("image")
@click.argument("command", nargs=-1)
@pass_session
def create(session: Session, /, **options: Any) -> None:
    """Create a container from IMAGE: ID|NAME[:TAG][@SNAPSHOT].

    It runs COMMAND, else the image's command, when it is started.
    """
    config = creation_config(options, os.environ)
    click.echo(create_container(session.client, config, options))


def _note(text: str) -> None:
    click.echo(f"note: {printable(text)}", err=True)


def create_container(
    client: JsonClient,
    config: dict[str, Any],
    options: dict[str, Any],
    meanwhile: Callable[[], None] | None = None,
) -> str:
    """Create a container and put it on its network; its id. If either fails, nothing is left.

    Args:
        meanwhile: called while the daemon works.
    """
    cidfile = options.get("cidfile")
    if cidfile is not None and os.path.lexists(cidfile):
        raise InvalidInput(
            f"file '{cidfile}' exists",
            hint="--cidfile writes a new one: remove it, or name another",
        )
    container = client.containers.create(config, meanwhile=meanwhile, note=_note)
    if cidfile is not None:
        _write_id(cidfile, container)
    if (network := network_of(options)) is not None:
        wanted = endpoint(network, container, options["ip"], options["ip6"])
        try:
            client.networks.connect(wanted)
        except BaseException:
            with suppress(KleeneError):
                client.containers.remove(container)
            raise
    return container


def _write_id(file: str, container: str) -> None:
    try:
        with open(file, "x", encoding="utf-8") as target:  # noqa: PTH123 - pathlib is dear
            target.write(container)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(
            f"file '{file}' cannot be written: {reason}", hint=f"the container is {container}"
        ) from error


grace = click.option(
    "--time",
    "-t",
    "grace",
    type=Parsed("DURATION", values.duration),
    help="Time between the request to end and the kill.  [default: as the container says, else 10s]",
)


@command(examples=("klee stop web", "klee container stop -t 1m 3f2a web"))
@grace
@_NAMES
@pass_session
def stop(session: Session, containers: Sequence[str], grace: float | None) -> int:
    """Stop containers, at the same time: their processes are asked to end, and killed if they do not.

    No restart policy starts them again.
    """
    return each(containers, stopped(session, containers, grace))


@command(examples=("klee kill web", "klee kill -s HUP web db"))
@click.option(
    "--signal",
    "-s",
    default="SIGKILL",
    show_default=True,
    metavar="SIGNAL",
    help="Name or number of the signal.",
)
@_NAMES
@pass_session
def kill(session: Session, containers: Sequence[str], signal: str) -> int:
    """Send a signal to all processes of containers."""
    return each(containers, lambda name: session.client.containers.kill(name, signal))


@command(examples=("klee wait web", "klee wait $(klee lsc -q)"))
@_NAMES
@pass_session
def wait(session: Session, containers: Sequence[str]) -> int:
    """Wait until containers stop, and print their exit statuses.

    That is the exit status of the container's main process: its own command, or what klee exec
    started it for.
    """
    from kleene.client.failures import OperationFailed

    with ExitStack() as stack:
        # All are asked at once: one may be removed while another one is waited for.
        streams = {
            name: stack.enter_context(session.client.containers.wait(name)) for name in containers
        }

        def wait_for(name: str) -> str:
            *_, last = streams[name]
            if last["type"] == "failed":
                raise OperationFailed(last)
            return str(last["exit_code"])

        return each(containers, wait_for)


@command(examples=("klee rmc web", "klee container rm -f $(klee lsc -q)"))
@click.option("--force", "-f", is_flag=True, help="Stop the containers first.")
@click.option(
    "--volumes",
    "-v",
    is_flag=True,
    expose_value=False,
    help="For those who come from Docker: a container's anonymous volumes always go with it.",
)
@_NAMES
@pass_session
def rm(session: Session, containers: Sequence[str], force: bool) -> int:
    """Remove containers, with their file systems."""
    remove = session.client.containers.remove
    return each(containers, lambda name: remove(name, force=force))


@command(
    examples=(
        "klee update --memory 512m --cpus 1.5 web",
        "klee container update --restart on-failure:5 web",
        "klee container update -e DEBUG=0 -e PORT=80 web /usr/bin/serve",
    ),
    context_settings=COMMAND_LAST,
)
@click.option("--name", metavar="NAME", help="New name.")
@click.option("--user", "-u", metavar="USER[:GROUP]", help="Run processes as USER.")
@env
@jailparam
@click.option("--persist/--no-persist", "-P/ ", default=None, help="Spare it when pruning.")
@restart
@settings_options
@click.argument("container")
@click.argument("command", nargs=-1)
@pass_session
def update(session: Session, /, container: str, **options: Any) -> None:
    """Change a container.

    What is given replaces what was: all of the environment, all jail parameters, all labels; '' for nothing.
    Limits of a running container change at once; the rest takes effect at its next start.
    """
    words = [*file_variables(options), *options["env"]]
    config = {
        "name": options["name"],
        "user": options["user"],
        "cmd": list(options["command"]) or None,
        "env": variables(words, os.environ) or None,
        "jail_param": list(options["jailparam"]) or None,
        "persist": options["persist"],
    } | settings_config(options, os.environ)
    if all(value is None for value in config.values()):
        raise click.UsageError("nothing to change: no option and no command was given")
    changed = session.client.containers.change(container, config)
    click.echo(changed["id"])
    for note in changed.get("notes", ()):
        _note(note)


@command(examples=("klee rename brave_turing web",))
@click.argument("container")
@click.argument("new_name")
@pass_session
def rename(session: Session, container: str, new_name: str) -> None:
    """Give CONTAINER another name."""
    click.echo(session.client.containers.update(container, {"name": new_name}))


@command(examples=("klee container prune", "klee container prune -f --filter until=24h"))
@prune_filter()
@force_prompt
@pass_session
def prune(session: Session, filters: Sequence[str], force: bool) -> int:
    """Remove all stopped containers, but those created with --persist."""
    if not may_prune("all stopped containers", force, filters):
        return 1
    for container in session.client.containers.prune(filters=filters):
        click.echo(container)
    return 0
