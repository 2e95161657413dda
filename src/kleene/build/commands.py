"""Commands of RUN, CMD, ENTRYPOINT and HEALTHCHECK as argument vectors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kleene.build.script import script_argv
from kleene.dockerfile.instructions import Command, ExecForm, ScriptForm, ShellForm
from kleene.dockerfile.words import Word

SHELL = ("/bin/sh", "-c")
"""What the shell form of a command is given to, unless SHELL says otherwise."""

MAX_STRING = 131071
"""Bytes of one argument or ``NAME=VALUE`` that the kernel passes on (execve(2): 32 pages, NUL included)."""


def argv(command: Command | ScriptForm, shell: Sequence[str] = ()) -> tuple[str, ...]:
    """The argument vector.

    Raises:
        DockerfileError: no process could be given an argument of this size.
    """
    shell = tuple(shell) or SHELL
    match command:
        case ExecForm(words):
            found = tuple(word.text for word in words)
        case ShellForm(word):
            words, found = (word,), (*shell, word.text)
        case ScriptForm(heredoc):
            words = (replace(heredoc.start.word, text=heredoc.content),)
            found = script_argv(heredoc.content) or (*shell, heredoc.content)
    for word in words:
        check_size(word, "an argument of the command", word.text)
    return found


def check_size(word: Word, what: str, text: str) -> None:
    """Refuse what no process could be given."""
    size = len(text.encode())
    if size > MAX_STRING:
        raise word.error(
            f"{what} has {size} bytes; the kernel passes on {MAX_STRING}",
            "put the text into a file and COPY it",
        )
