"""``klee image bisect``: the first step of a build after which a command fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.command import command
from kleene.cli.output import print_error
from kleene.cli.session import Session, pass_session
from kleene.client.failures import OperationFailed

_INTERRUPTED = 130


@command(
    examples=(
        "klee image bisect web@3f2a91c04d7e web -- python3 -c 'import app'",
        "klee image bisect web:1.3 web:1.4 -- /app/selftest",
    ),
    context_settings={"allow_interspersed_args": True},
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Count a command that takes longer as failed; 0 waits for ever.",
)
@click.argument("good", metavar="GOOD[@S]")
@click.argument("bad", metavar="BAD[@S]")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True)
@pass_session
def bisect(session: Session, good: str, bad: str, words: Sequence[str], timeout: float) -> int:
    """Find the first step after which COMMAND fails, by halving the steps between GOOD and BAD.

    GOOD is a state of the build that made BAD, or another build; then each step is compared with that of the
    same number. COMMAND runs in a clone of each state, which goes afterwards. Its exit status 0 is success;
    125 says that the state cannot be judged.
    """
    from kleene.cli.progress import progress_view

    config = {"good": good, "bad": bad, "command": list(words), "timeout": timeout}
    last: dict[str, Any] = {}
    try:
        with session.client.images.bisect(config) as stream, progress_view(session.fancy) as view:
            for event in stream:
                last = view(event) or last
    except KeyboardInterrupt:
        print_error("the search was ended")
        return _INTERRUPTED
    if last["type"] == "failed":
        raise OperationFailed(last)
    click.echo(last["message"])
    return 0
