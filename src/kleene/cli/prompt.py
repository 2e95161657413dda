"""Questions before something is removed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from kleene.errors import InvalidInput


def may_prune(what: str, force: bool, filters: Sequence[str]) -> bool:
    """Whether the user wants ``what`` of it fits to be removed; ``force`` says so already.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    fitting = f" that fit {' '.join(filters)}" if filters else ""
    return force or may_go_on(f"This removes {what}{fitting}.")


def may_go_on(fact: str) -> bool:
    """Whether the user wants that; ``fact`` says what it is.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    click.echo(fact, err=True)
    click.echo("Go on? [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        raise InvalidInput("nobody answered", hint="use --force to remove without a question")
    return answer.strip().lower() in ("y", "yes")
