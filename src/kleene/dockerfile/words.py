"""Instructions as single lines, and the words in them, each of which knows its place in the file.

Pure. What counts as white space, and how words are split, follows the Dockerfile reference ("Format",
"ENV", "COPY") and BuildKit where that says nothing: blanks between arguments are ASCII, white space around
an instruction is what Unicode calls so.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from kleene.dockerfile.excerpt import visible
from kleene.dockerfile.source import DockerfileError, DockerfileWarning, Range, Source

WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
"""The characters with Unicode's property White_Space."""

_SPACE = re.compile(f"[{WHITESPACE}]*")
_BLANK_SEPARATED = re.compile(r"[^\t\v\f\r ]+")


@dataclass(frozen=True, eq=False)
class LogicalLine:
    """An instruction with its continuations joined, made of pieces of the source.

    Attributes:
        starts: offset of each piece in ``text``, ascending, the first 0.
        origins: offset of each piece in the source.
    """

    source: Source
    text: str
    starts: tuple[int, ...]
    origins: tuple[int, ...]

    def pieces(self) -> Iterator[str]:
        """The text of each line of the file that this was joined from."""
        for start, end in pairwise((*self.starts, len(self.text))):
            yield self.text[start:end]

    def origin(self, offset: int) -> int:
        """Where in the source a character of ``text`` came from."""
        piece = bisect_right(self.starts, offset) - 1
        return self.origins[piece] + offset - self.starts[piece]

    def range(self, start: int, end: int) -> Range:
        """Where in the source the characters from ``start`` to ``end`` came from."""
        first = self.origin(start)
        # The end belongs to the last character, not to the piece that happens to begin there.
        last = self.origin(end - 1) + 1 if end > start else first
        return self.source.range(first, last)


@dataclass(frozen=True)
class Word:
    """A part of an instruction.

    Attributes:
        text: what it says; not what stands in the file if quotes or JSON escapes were taken off.
        start, end: the part of the line that it was read from.
    """

    text: str
    line: LogicalLine = field(repr=False, compare=False)
    start: int = field(compare=False)
    end: int = field(compare=False)

    @classmethod
    def of_line(cls, line: LogicalLine) -> Word:
        """The whole line as one word."""
        return cls(line.text, line, 0, len(line.text))

    @property
    def range(self) -> Range:
        return self.line.range(self.start, self.end)

    def part(self, start: int, end: int) -> Word:
        """The characters ``start`` to ``end`` of ``text`` as a word of their own.

        Its place is exact if this word stands in the file as it is in ``text``, else this word's.
        """
        text = self.text[start:end]
        if self.end - self.start != len(self.text):
            return Word(text, self.line, self.start, self.end)
        return Word(text, self.line, self.start + start, self.start + end)

    def stripped(self) -> Word:
        """Without white space around it."""
        text = self.text.strip(WHITESPACE)
        start = self.text.find(text) if text else 0
        return self.part(start, start + len(text))

    def error(self, reason: str, hint: str | None = None) -> DockerfileError:
        """An error that points here."""
        return DockerfileError(self.line.source, self.range, reason, hint)

    def warning(self, rule: str, reason: str, hint: str | None = None) -> DockerfileWarning:
        """A warning of a rule that points here."""
        return DockerfileWarning(self.line.source, self.range, visible(reason), hint, rule)


def split_blank(word: Word) -> tuple[Word, ...]:
    """Split at blanks; quotes mean nothing (arguments of FROM and COPY)."""
    return tuple(word.part(m.start(), m.end()) for m in _BLANK_SEPARATED.finditer(word.text))


def first_blank(word: Word) -> Word:
    """What comes before the first blank."""
    found = _BLANK_SEPARATED.match(word.text)
    return word.part(0, found.end() if found else 0)


def split_comma(word: Word) -> Iterator[Word]:
    """Split at commas; fields that say nothing are left out (values of flags)."""
    start = 0
    for part in word.text.split(","):
        field = word.part(start, start + len(part))
        start += len(part) + 1
        if part.strip():
            yield field.stripped()


def split_quoted(word: Word, escape: str) -> tuple[Word, ...]:
    """Split at white space outside quotes (arguments of ENV and ARG).

    Quotes and escape characters stay in the words: expansion takes them off. An unclosed quote
    reaches to the end.
    """
    text, words, position = word.text, [], skip_space(word.text, 0)
    while position < len(text):
        end = end_of_word(text, position, escape)
        words.append(word.part(position, end))
        position = skip_space(text, end)
    return tuple(words)


def skip_space(text: str, position: int) -> int:
    """The first place from ``position`` on that is not white space."""
    found = _SPACE.match(text, position)
    return found.end() if found else position


def end_of_word(text: str, position: int, escape: str) -> int:
    """Where the word that begins at ``position`` ends."""
    stop = _STOPS[escape]
    while found := stop.search(text, position):
        character = found.group()
        if character == escape:
            position = min(found.end() + 1, len(text))
        elif character in "'\"":
            position = end_of_quote(text, found.start(), escape)
        else:
            return found.start()
    return len(text)


def end_of_quote(text: str, position: int, escape: str) -> int:
    """Where the quotation that begins at ``position`` ends, its closing quote included."""
    quote = text[position]
    if quote == "'":
        closing = text.find("'", position + 1)
        return closing + 1 if closing >= 0 else len(text)
    position += 1
    while found := _QUOTED_STOPS[escape].search(text, position):
        if found.group() == quote:
            return found.end()
        position = min(found.end() + 1, len(text))
    return len(text)


_STOPS = {escape: re.compile(f"[{WHITESPACE}'\"{re.escape(escape)}]") for escape in "\\`"}
_QUOTED_STOPS = {escape: re.compile(f'["{re.escape(escape)}]') for escape in "\\`"}
