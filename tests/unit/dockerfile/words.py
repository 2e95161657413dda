"""Words and files out of plain text, for the tests of this directory."""

from __future__ import annotations

from kleene.dockerfile.document import Dockerfile, read_dockerfile
from kleene.dockerfile.source import Source
from kleene.dockerfile.words import LogicalLine, Word


def word(text: str) -> Word:
    """``text`` as a word that begins its file."""
    return Word.of_line(LogicalLine(Source("Dockerfile", text), text, (0,), (0,)))


def read(text: str) -> Dockerfile:
    return read_dockerfile(Source.from_text("Dockerfile", text))
