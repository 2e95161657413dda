"""Patterns of file names: those of COPY sources, and those of ``.dockerignore``. Pure.

In a component, ``*`` stands for any characters, ``?`` for one, ``[a-z]`` and ``[^a-z]`` for one of a class,
``\\`` takes the meaning from the next character (the rules of Go's ``path/filepath.Match``, which Docker
names as its own). In ``.dockerignore`` a component ``**`` stands for any number of components; beside other
characters, ``**`` stands for nothing, or for anything that ends with a ``/``.

The expressions never backtrack over more than one ``*``: a pattern made to hang the daemon cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from kleene.contexts.automaton import Automaton, Exactly, Gap, Rest, Star, Test, Token
from kleene.errors import InvalidInput

_COMPONENTS = r"(?:[^/]*/)*?"


def is_pattern(text: str) -> bool:
    """Whether a character in ``text`` has a special meaning."""
    return any(character in text for character in "*?[\\")


def component(pattern: str) -> re.Pattern[str]:
    """What one component of a path must match.

    Raises:
        InvalidInput: a class is not closed or empty, or nothing follows a ``\\``.
    """
    return re.compile(_component(pattern), re.DOTALL)


class Matcher(Protocol):
    """A pattern, ready to match."""

    def match(self, path: str, /) -> object:
        """Something true if the path, or a directory that it lies in, is meant."""
        ...


def ignore(pattern: str) -> Matcher:
    """What a clean relative path must match to be meant by a line of ``.dockerignore``.

    A pattern that matches a directory means all that is in it. As in moby's ``patternmatcher``, ``**.log``
    is any path that ends so, and ``**a*`` is ``**/a*``.

    Raises:
        InvalidInput: see :func:`component`.
    """
    rest = pattern[2:] if pattern.startswith("**") else ""
    if rest and not rest.startswith("/"):
        if not is_pattern(rest):
            return re.compile(rf".*?{re.escape(rest)}(?=/|\Z)", re.DOTALL)
        pattern = f"**/{rest}"
    if any("**" in name and name != "**" for name in pattern.split("/")):
        return Automaton(tuple(_tokens(pattern)))
    first, *others = _segments(pattern)
    expression = first
    if others:
        expression += "/" if first else ""
        *middle, last = others
        expression += "".join(f"(?>{_COMPONENTS}{segment}/)" for segment in middle if segment)
        expression += f"{_COMPONENTS}{last}" if last else ".+"
    return re.compile(rf"{expression}(?:/.*)?\Z", re.DOTALL)


def _tokens(pattern: str) -> Iterator[Token]:
    at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("**/", at) else 2
            yield Gap() if at < len(pattern) else Rest()
        elif pattern[at] == "*":
            at += 1
            yield Star()
        else:
            expression, at = _one(pattern, at)
            yield Exactly(_passes(re.compile(expression, re.DOTALL)))


def _passes(expression: re.Pattern[str]) -> Test:
    return lambda character: expression.match(character) is not None


def _segments(pattern: str) -> list[str]:
    """Expressions for what stands between the ``**`` of a pattern."""
    segments: list[list[str]] = [[]]
    for name in pattern.split("/"):
        if name == "**":
            segments.append([])
        else:
            segments[-1].append(_component(name))
    return ["/".join(segment) for segment in segments]


def _component(pattern: str) -> str:
    first, *others = _between_stars(pattern)
    if not others:
        return rf"{first}(?=/|\Z)"
    # The first place where a fixed part fits leaves the most to those after it, so it need not be left again.
    middle = "".join(f"(?>[^/]*?{part})" for part in others[:-1] if part)
    return rf"{first}{middle}[^/]*{others[-1]}(?=/|\Z)"


def _between_stars(pattern: str) -> list[str]:
    parts = [""]
    at = 0
    while at < len(pattern):
        if pattern[at] == "*":
            parts.append("")
            at += 1
        else:
            expression, at = _one(pattern, at)
            parts[-1] += expression
    return parts


def _one(pattern: str, at: int) -> tuple[str, int]:
    """The expression for one character, and where what says so ends."""
    if pattern[at] == "?":
        return "[^/]", at + 1
    if pattern[at] == "[":
        return _class(pattern, at + 1)
    literal, at = _literal(pattern, at)
    return re.escape(literal), at


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The character class that begins after a ``[``, and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges = ""
    while not pattern.startswith("]", at):
        low, at = _literal(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _literal(pattern, at + 1)
        if low > high:
            raise _malformed(pattern)
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    if not ranges:
        raise _malformed(pattern)
    return f"(?!/)[{'^' if negated else ''}{ranges}]", at + 1


def _literal(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    if at >= len(pattern):
        raise _malformed(pattern)
    return pattern[at], at + 1


def _malformed(pattern: str) -> InvalidInput:
    return InvalidInput(
        f"pattern '{pattern}' is malformed",
        hint="close each '[' by a ']' with characters in between; write '\\[' for the character itself",
    )
