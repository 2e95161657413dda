"""The patterns of ``${name#pattern}``, ``${name%pattern}`` and ``${name/pattern/text}``.

Pure. ``*`` is any text, ``?`` any character, the escape character takes the next one literally (POSIX shell
command language, 2.13; brackets mean nothing, as in BuildKit). Matching never backtracks: every stretch
between two stars is looked for once, so time is at most the product of value and stretch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_WILDCARD_STRETCH = 1000
"""Longest stretch of a pattern, in characters, that may have a ``?`` in it: these are not searched for
in linear time."""


class BadPattern(ValueError):
    """A pattern that cannot be used; the text says why."""


@dataclass(frozen=True)
class _Stretch:
    """Characters to be found one after the other; ``None`` stands for any."""

    characters: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if None in self.characters and len(self.characters) > MAX_WILDCARD_STRETCH:
            raise BadPattern(f"more than {MAX_WILDCARD_STRETCH} characters around a '?'")

    def find(self, value: str, start: int) -> int:
        """Where the first occurrence from ``start`` on begins; -1 if there is none."""
        if None not in self.characters:
            return value.find(self._literal(), start)
        found = self._expression().search(value, start)
        return found.start() if found else -1

    def begins(self, value: str, start: int) -> bool:
        """Whether it is found exactly at ``start``."""
        if None not in self.characters:
            return value.startswith(self._literal(), start)
        return self._expression().match(value, start) is not None

    def find_last(self, value: str, start: int) -> int:
        """Where the last occurrence that begins at ``start`` or later begins; -1 if there is none."""
        if None not in self.characters:
            return value.rfind(self._literal(), start)
        mirrored = _Stretch(self.characters[::-1]).find(value[start:][::-1], 0)
        return -1 if mirrored < 0 else len(value) - mirrored - len(self.characters)

    def _literal(self) -> str:
        return "".join(character or "" for character in self.characters)

    def _expression(self) -> re.Pattern[str]:
        parts = (
            "." if character is None else re.escape(character) for character in self.characters
        )
        return re.compile("".join(parts), re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """Stretches with a star between each two; an empty one at an end is a star there."""

    stretches: tuple[_Stretch, ...]

    def match(self, value: str, start: int, *, longest: bool) -> int:
        """Where the shortest or longest match that begins at ``start`` ends; -1 if there is none."""
        first, *rest = self.stretches
        if not first.begins(value, start):
            return -1
        position = start + len(first.characters)
        for number, stretch in enumerate(rest, 1):
            last = longest and number == len(rest)
            found = (stretch.find_last if last else stretch.find)(value, position)
            if found < 0:
                return -1
            position = found + len(stretch.characters)
        return position

    def search(self, value: str, start: int) -> tuple[int, int] | None:
        """The leftmost match from ``start`` on, as long as possible."""
        begin = self.stretches[0].find(value, start)
        # A later beginning leaves less for the rest: if the first one fails, so do all.
        end = self.match(value, begin, longest=True) if begin >= 0 else -1
        return (begin, end) if end >= 0 else None

    def mirrored(self) -> Pattern:
        """The pattern that matches the same texts read backwards."""
        return Pattern(tuple(_Stretch(s.characters[::-1]) for s in reversed(self.stretches)))


def parse_pattern(text: str, escape: str) -> Pattern:
    """Read a pattern.

    Raises:
        BadPattern: an escape that means nothing, or too long a stretch with a ``?``.
    """
    stretches: list[list[str | None]] = [[]]
    characters = iter(text)
    for character in characters:
        if character == "*":
            stretches.append([])
        elif character == "?":
            stretches[-1].append(None)
        elif character == escape:
            stretches[-1].append(_escaped(next(characters, ""), escape))
        else:
            stretches[-1].append(character)
    return Pattern(tuple(_Stretch(tuple(stretch)) for stretch in stretches))


def _escaped(character: str, escape: str) -> str:
    if not character or character not in f"*?}}/{escape}":
        raise BadPattern(f"'{escape}{character}' means nothing in it")
    return character


def without_prefix(value: str, pattern: Pattern, *, longest: bool) -> str:
    """``value`` without the part at its beginning that matches."""
    end = pattern.match(value, 0, longest=longest)
    return value[end:] if end >= 0 else value


def without_suffix(value: str, pattern: Pattern, *, longest: bool) -> str:
    """``value`` without the part at its end that matches."""
    return without_prefix(value[::-1], pattern.mirrored(), longest=longest)[::-1]


def replaced(value: str, pattern: Pattern, replacement: str, *, limit: int, every: bool) -> str:
    """``value`` with the first or every match replaced.

    Raises:
        OverflowError: the result would be longer than ``limit`` characters.
    """
    parts, position, size = [], 0, len(value)
    while (found := pattern.search(value, position)) is not None:
        begin, end = found
        size += len(replacement)
        if size > limit:
            raise OverflowError
        parts += [value[position:begin], replacement]
        if begin == end:
            parts.append(value[end : end + 1])
            end += 1
        position = end
        if not every or position >= len(value):
            break
    return "".join(parts) + value[position:]
