"""Entry point of ``klee``: the root command, exit statuses, and how errors are told.

Exit status 0 is success, 1 a failure, 2 a command line that cannot be understood, 130 an interruption;
``run``, ``exec`` and ``start`` pass on that of the process, or 126 or 127 if there is none.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from kleene import __version__
from kleene.cli.command import LazyGroup, OneOf, UsageError, nearest_of
from kleene.cli.output import print_error, print_failure
from kleene.cli.session import Session
from kleene.cli.settings import THEMES
from kleene.errors import KleeneError

INTERRUPTED = 130
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

SHORTCUTS = {
    "build": "build:build",
    "create": "container:create",
    "exec": "execution:exec_",
    "run": "execution:run",
    "start": "execution:start",
    "stop": "container:stop",
    "restart": "execution:restart",
    "cp": "copy:cp",
    "logs": "logs:logs",
    "attach": "attaching:attach",
    "stats": "stats:stats",
    "diff": "states:diff",
    "commit": "states:commit",
    "top": "listing:processes",
    "wait": "container:wait",
    "kill": "container:kill",
    "update": "container:update",
    "rename": "container:rename",
    "ps": "listing:containers",
    "images": "listing:images",
    "inspect": "inspection:anything",
    "rm": "container:rm",
    "tag": "image:tag",
    "history": "history:history",
    "lsc": "listing:containers",
    "lsi": "listing:images",
    "lsn": "listing:networks",
    "lsv": "listing:volumes",
    "isc": "inspection:container",
    "isi": "inspection:image",
    "isn": "inspection:network",
    "isv": "inspection:volume",
    "rmc": "container:rm",
    "rmi": "image:rm",
    "rmn": "network:rm",
    "rmv": "volume:rm",
}


@click.group(
    cls=LazyGroup,
    targets={
        "container": "groups:container",
        "image": "groups:image",
        "network": "groups:network",
        "volume": "groups:volume",
        "secret": "groups:secret",
        "config": "groups:config",
        "version": "system:version",
        "events": "events:events",
        "info": "system:info",
        "completion": "completion:completion",
        "df": "df:df",
    },
    shortcuts=SHORTCUTS,
    examples=(
        "klee image create -t Debian fetch-auto",
        "klee build -t web .",
        "klee run -it web /bin/sh",
        "klee --host https://10.0.0.5:8085 lsc -a",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    __version__, "--version", "-v", prog_name="klee", message="%(prog)s %(version)s"
)
@click.option("--config", metavar="FILE", help="Configuration file to use.")
@click.option(
    "--theme",
    type=OneOf(THEMES),
    help="How output looks in a terminal; in a pipe it is always simple.  [default: fancy]",
)
@click.option(
    "--host",
    "-H",
    metavar="ADDRESS",
    help="Where kleened listens: http[s]:///PATH for a unix socket, http[s]://HOST[:PORT] for TCP."
    "  [default: http:///var/run/kleened.sock]",
)
@click.option(
    "--tlsverify/--no-tlsverify",
    default=None,
    help="Check the daemon's certificate (https only).  [default: check it]",
)
@click.option("--tlscacert", metavar="FILE", help="Trust only certificates signed by this one.")
@click.option("--tlscert", metavar="FILE", help="Certificate to show to the daemon (PEM).")
@click.option("--tlskey", metavar="FILE", help="Key of --tlscert, if it is not in the same file.")
@click.pass_context
def root(ctx: click.Context, /, **flags: Any) -> None:
    """Build container images and run them, every state a snapshot."""
    ctx.obj = Session(flags)


def run(arguments: Sequence[str]) -> int:
    """Run a command line without its first word; the exit status.

    Raises:
        SystemExit: nobody reads standard output any more (click's doing; the status is 1).
    """
    try:
        status = root.main(list(arguments), prog_name="klee", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        _print_usage_error(error)
        return error.exit_code
    except click.ClickException as error:
        print_error(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        reason = (error.strerror or str(error)).lower()
        print_error(f"the output cannot be written: {reason}", hint="see where it is redirected to")
        return 1
    except KleeneError as error:  # some of its kinds say with what status to end
        print_failure(error)
        return int(getattr(error, "exit_status", 1))
    return status if isinstance(status, int) else 0


def _print_usage_error(error: click.UsageError) -> None:
    message = error.format_message().rstrip(".")
    hint = error.hint if isinstance(error, UsageError) else None
    if isinstance(error, click.NoSuchOption):
        message, hint = f"unknown option '{error.option_name}'", _option_meant(error)
    if hint is None and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help"
    print_error(message[:1].lower() + message[1:], hint=hint)


def _option_meant(error: click.NoSuchOption) -> str | None:
    from kleene.cli.docker_words import of_option

    if known := of_option(error.option_name, error.ctx.command if error.ctx else None):
        return known
    options = [name for p in error.ctx.command.params for name in p.opts] if error.ctx else []
    nearest = nearest_of(error.option_name, options)
    return f"did you mean '{nearest}'?" if nearest else None


def _open_what_is_closed() -> None:
    """Have standard streams that are closed lead nowhere, before a connection becomes one of them."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def main() -> NoReturn:
    """Run ``klee`` as a program."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_what_is_closed()
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        if error.errno in _CANNOT_WRITE and not status:
            print_error(f"the output cannot be written: {os.strerror(error.errno).lower()}")
        status = status or 1
    # Taking the interpreter down in good order lasts a tenth of a short command, and frees only memory.
    os._exit(status)
