"""Labels of whatever has some, and files of lines such as those with labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from kleene.cli import values
from kleene.cli.command import together
from kleene.errors import InvalidInput

F = TypeVar("F", bound=Callable[..., Any])


def label_options(*short: str) -> Callable[[F], F]:
    """``--label``, with a ``short`` form where that is free, and ``--label-file``."""
    return together(
        click.option(
            "--label",
            *short,
            multiple=True,
            metavar="NAME[=VALUE]",
            help="Set a label. Repeatable.",
        ),
        click.option(
            "--label-file",
            multiple=True,
            metavar="FILE",
            help="Set the labels in FILE, one a line. Repeatable.",
        ),
    )


def labels_of(words: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """The labels of :func:`label_options`, by their names; ``''`` is none.

    Raises:
        InvalidInput: a label or a file cannot be understood.
    """
    return dict(values.label(line) for line in [*lines_of(files), *filter(None, words)])


def lines_of(files: Sequence[str]) -> list[str]:
    """Lines of files, without empty ones and comments.

    Raises:
        InvalidInput: a file cannot be read.
    """
    found: list[str] = []
    for file in files:
        from pathlib import Path  # 4 ms that most commands need not wait for

        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"file '{file}' cannot be read: {_reason(error)}",
                hint="name a file of this host with NAME=VALUE in each line",
            ) from error
        lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
        found += [line for line in lines if line and not line.startswith("#")]
    return found


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (
        "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error.strerror}".lower()
    )
