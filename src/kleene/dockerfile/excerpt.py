"""Showing text of users to users: made harmless, shortened, underlined. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

LINE_WIDTH = 120
"""Characters of a line that are shown around a place."""

_LEAD = 40
_QUOTED = 60
_LONGEST_NAME = 40
_LONGEST_TEXT = 1000
_TAB = "    "
# Control and format characters, surrogates, line and paragraph separators: escape sequences and
# right-to-left overrides must not reach a terminal.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """``text`` with every character that could steer a terminal replaced."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_cell(character) for character in text)


def quoted(text: str) -> str:
    """``text`` in quotes, harmless, and not too long for a message."""
    short = text if len(text) <= _QUOTED else text[:_QUOTED] + "…"
    return f"'{visible(short)}'"


def shortened(text: str) -> str:
    """``text`` as a message can have it: of what is very long, the beginning and the end."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[:400]} … {text[-200:]}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that was probably meant; ``None`` if none is near."""
    if len(word) > _LONGEST_NAME:
        return None
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def excerpt(line: str, start: int, end: int) -> tuple[str, str]:
    """Cut what is worth showing out of a line.

    Args:
        line: without its end.
        start, end: the characters to point at; at least one caret is drawn.

    Returns:
        The text, and the carets to print below it.
    """
    first = start - _LEAD if len(line) > LINE_WIDTH and start > _LEAD else 0
    last = min(len(line), first + LINE_WIDTH)
    prefix, suffix = ("…" if first else ""), ("…" if last < len(line) else "")
    shown = prefix + visible(line[first:last]) + suffix
    indent = len(prefix) + _width(line[first:start])
    return shown, " " * indent + "^" * max(1, _width(line[start : min(end, last)]))


def _cell(character: str) -> str:
    if character == "\t":
        return _TAB
    return "\ufffd" if unicodedata.category(character) in _HIDDEN else character


def _width(text: str) -> int:
    """Columns that ``text`` takes in a terminal once it is made visible."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(_cell_width(character) for character in text)


def _cell_width(character: str) -> int:
    if character == "\t":
        return len(_TAB)
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
