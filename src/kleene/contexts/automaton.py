"""Matching of patterns that have ``**`` beside other characters of a component, as in ``a**/*.txt``. Pure.

A regular expression for them would have to try where each ``*`` ends before it tries where the next one
does. This goes through a path once, with the set of places of the pattern that it may be at; which set
follows which, by which character, is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Test = Callable[[str], bool]

_MOST = 10_000
"""Sets and steps between them that are remembered of one pattern."""


@dataclass(frozen=True)
class Exactly:
    """One character that passes a test."""

    test: Test


@dataclass(frozen=True)
class Star:
    """``*``: any characters but ``/``."""


@dataclass(frozen=True)
class Gap:
    """``**`` with something after it: nothing, or any characters and then a ``/``."""


@dataclass(frozen=True)
class Rest:
    """``**`` at the end: any characters."""


Token = Exactly | Star | Gap | Rest

_Place = tuple[int, bool]
"""Number of the token to match next, and whether this is in the middle of it, which a :class:`Gap` has."""
_Set = frozenset[_Place]


@dataclass
class Automaton:
    """A pattern, ready to match. What it remembers grows with the paths that it sees, within bounds."""

    tokens: tuple[Token, ...]
    _steps: dict[tuple[_Set, str], _Set] = field(default_factory=dict, repr=False)

    def match(self, path: str) -> bool:
        """Whether a clean relative path, or a directory that it lies in, matches."""
        now, end = self._closed([(0, False)]), (len(self.tokens), False)
        for character in path:
            if character == "/" and end in now:
                return True
            now = self._step(now, character)
            if not now:
                return False
        return end in now

    def _step(self, now: _Set, character: str) -> _Set:
        key = now, character
        if key not in self._steps:
            if len(self._steps) >= _MOST:
                self._steps.clear()
            after = (place for before in now for place in self._after(before, character))
            self._steps[key] = self._closed(after)
        return self._steps[key]

    def _after(self, place: _Place, character: str) -> Iterable[_Place]:
        number = place[0]
        if number == len(self.tokens):
            return
        match self.tokens[number]:
            case Exactly(test):
                if test(character):
                    yield number + 1, False
            case Star():
                if character != "/":
                    yield number, False
            case Gap():
                yield number, True
                if character == "/":
                    yield number + 1, False
            case Rest():
                yield number, False

    def _closed(self, places: Iterable[_Place]) -> _Set:
        """With the places that are reached from these without a character."""
        found: set[_Place] = set()
        for number, inside in places:
            found.add((number, inside))
            while not inside and number < len(self.tokens):
                if isinstance(self.tokens[number], Exactly):
                    break
                number += 1
                found.add((number, False))
        return frozenset(found)
