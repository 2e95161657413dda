"""A page of the documentation as a script: its files, its commands, and what they must print.

A block ```` ```LANGUAGE file=NAME ```` is a file, one ```` ```console ```` is a session: lines that begin
with ``$`` are commands, what follows is their output. In it, ``…`` stands for any text, alone on its line
for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FENCE = re.compile(r"```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass
class Command:
    """A command that the reader types, and the lines that it prints."""

    line: str
    output: list[str] = field(default_factory=list)

    def is_output(self, text: str) -> bool:
        """Whether the command may print ``text``."""
        pattern = "".join(map(_line_pattern, self.output))
        return (
            re.fullmatch(pattern, text if not text or text.endswith("\n") else f"{text}\n")
            is not None
        )


def _line_pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*"
    # Columns are as wide as what is in them.
    parts = (r"\s+".join(map(re.escape, re.split(r"\s{2,}", part))) for part in line.split("…"))
    return ".*".join(parts) + r"\s*\n"


def steps(text: str) -> Iterator[File | Command]:
    """The files and commands of a page, in its order."""
    for block in _FENCE.finditer(text):
        language, _, name = block["info"].partition(" file=")
        if name:
            yield File(name, block["body"])
        elif language == "console":
            yield from _commands(block["body"])


def _commands(body: str) -> Iterator[Command]:
    current: Command | None = None
    for line in body.splitlines():
        if line.startswith("$ "):
            if current is not None:
                yield current
            current = Command(line[2:])
        else:
            assert current is not None, f"output before any command: {line}"
            current.output.append(line)
    if current is not None:
        yield current
