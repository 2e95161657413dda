"""``klee attach``: being connected to a process that runs already."""

from __future__ import annotations

import click

from kleene.cli.command import command
from kleene.cli.output import print_error
from kleene.cli.session import Session, pass_session
from kleene.client.failures import OperationFailed
from kleene.errors import Conflict

_INTERRUPTED, _HUNG_UP = 130, 129


@command(examples=("klee attach web", "klee attach --no-stdin web"))
@click.option(
    "--no-stdin", is_flag=True, help="Only show the output; ctrl-c ends klee, not the process."
)
@click.argument("container")
@pass_session
def attach(session: Session, container: str, no_stdin: bool) -> int:
    """Connect to the main process of CONTAINER: the one that was started first.

    Its output is shown from now on, to any number of users at the same time. Input is passed on if it was
    started with -i. In a terminal, ctrl-p ctrl-q leaves it running; without one, a second ctrl-c does.
    The exit status is that of the process.
    """
    from kleene.client.attach import Hangup
    from kleene.client.attach import attach as connect
    from kleene.client.detach import Detached
    from kleene.client.terminal import size_of

    running = session.client.containers.execs(container)
    if not running:
        raise Conflict(
            f"container '{container}' is not running", hint=f"start it: klee start {container}"
        )
    process = running[0]
    interactive = process["stdin"] and not no_stdin
    size = (size_of(1) or size_of(0)) if process["tty"] else None
    config = {
        "exec_id": process["id"],
        "rows": size.rows if size else None,
        "columns": size.columns if size else None,
    }
    with session.client.containers.attach(container, config) as stream:
        try:
            last = connect(
                stream, interactive=interactive, tty=process["tty"], pass_signals=not no_stdin
            )
        except Detached:
            click.echo(f"\ndetached from {process['id']}")
            return 0
        except KeyboardInterrupt:
            if not no_stdin:
                print_error(f"interrupted; the process of '{process['id']}' may still run")
            return _INTERRUPTED
        except Hangup:
            return _HUNG_UP
    if last["type"] == "failed":
        raise OperationFailed(last)
    return int(last.get("exit_code") or 0)
