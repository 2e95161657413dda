"""Heredocs: ``RUN <<EOF``, ``COPY <<-"a.txt" /b``. Finding them in an instruction.

Pure. As in BuildKit, a heredoc is a word of its own (``cat <<EOF``, not ``cat<<EOF``), may have a number
before it and blanks after the ``<<``, and quotes anywhere in its name turn expansion of the body off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kleene.dockerfile.words import WHITESPACE, Word, end_of_word, skip_space

# In here the escape character is always the backslash: these words are the shell's.
_ESCAPE = "\\"
_START = re.compile(r"([0-9]*)<<(-?)")
_BLANKS = re.compile(r"[\t\r ]*")
_PIECE = re.compile(r"""\\(.)|\\\Z|'([^']*)'|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\\'"]+)""", re.DOTALL)
_QUOTED_ESCAPE = re.compile(r'\\([\\"$])')
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True)
class HeredocStart:
    """``<<NAME`` in an instruction.

    Attributes:
        word: all of it.
        name: what the line that ends the body says.
        expand: whether variables in the body are expanded.
        strip_tabs: ``<<-``: tabs that begin a line are not part of the body.
    """

    word: Word
    name: str
    expand: bool
    strip_tabs: bool


@dataclass(frozen=True)
class Heredoc:
    """A heredoc with its body: whole lines, as they stand in the file."""

    start: HeredocStart
    body: Word

    @property
    def content(self) -> str:
        """The body as its reader gets it, before expansion."""
        text = self.body.text
        return _LEADING_TABS.sub("", text) if self.start.strip_tabs else text


def find_heredocs(word: Word) -> tuple[HeredocStart, ...]:
    """The heredocs that an instruction's arguments begin; none if a quote is not closed."""
    found, text, position = [], word.text, skip_space(word.text, 0)
    if "<<" not in text:
        return ()
    while position < len(text):
        end = _end(text, position)
        if end is None:
            return ()
        start = _read_start(word.part(position, end))
        if start is not None:
            found.append(start)
        position = skip_space(text, end)
    return tuple(found)


def _end(text: str, position: int) -> int | None:
    """Where a word ends; blanks after its ``<<`` belong to it. ``None``: in an open quote."""
    start = _START.match(text, position)
    if start is not None:
        blanks = _BLANKS.match(text, start.end())
        position = blanks.end() if blanks else start.end()
        if position < len(text) and text[position] in WHITESPACE:
            return position
    end = end_of_word(text, position, _ESCAPE)
    return end if _unquote(text[position:end]) is not None else None


def _read_start(word: Word) -> HeredocStart | None:
    start = _START.match(word.text)
    if start is None:
        return None
    raw = word.text[start.end() :].strip(WHITESPACE)
    unquoted = _unquote(raw)
    if not unquoted or "<" in raw:
        return None
    name, was_quoted = unquoted
    if not name:
        return None
    return HeredocStart(word, name, expand=not was_quoted, strip_tabs=start.group(2) == "-")


def _unquote(raw: str) -> tuple[str, bool] | None:
    """``raw`` without quotes and escapes, and whether it had quotes; ``None`` if one is open."""
    parts, was_quoted, position = [], False, 0
    while position < len(raw):
        piece = _PIECE.match(raw, position)
        if piece is None:
            return None
        escaped, single, double, plain = piece.groups()
        was_quoted |= single is not None or double is not None
        if double is not None:
            double = _QUOTED_ESCAPE.sub(r"\1", double)
        parts.append(escaped or single or double or plain or "")
        position = piece.end()
    return "".join(parts), was_quoted
