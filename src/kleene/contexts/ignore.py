"""``.dockerignore``: which files of a build context do not belong to it. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Self

from kleene.contexts import patterns
from kleene.errors import InvalidInput


@dataclass(frozen=True)
class Ignore:
    """The rules of one file; the last one that matches a path decides.

    Attributes:
        source: name of the file; empty if there is none.
        rules: each with what it matches and whether that is left out (``False`` after a ``!``).
    """

    source: str = ""
    rules: tuple[tuple[patterns.Matcher, bool], ...] = ()

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read the file ``source``: a pattern a line; ``#`` begins a comment, ``!`` an exception.

        Raises:
            InvalidInput: a pattern is malformed.
        """
        rules = []
        for number, line in enumerate(text.split("\n"), start=1):
            pattern = line.strip()
            if line.startswith("#") or not pattern:
                continue
            try:
                rules.extend(_rule(pattern))
            except InvalidInput as error:
                where = f"{source}, line {number}: {error.message}"
                raise InvalidInput(where, hint=error.hint) from error
        return cls(source, tuple(rules))

    @property
    def has_exceptions(self) -> bool:
        """Whether something in a directory that is left out may belong to the context all the same."""
        return any(not excluded for _, excluded in self.rules)

    def excludes(self, path: str) -> bool:
        """Whether the clean relative ``path`` is left out."""
        for pattern, excluded in reversed(self.rules):
            if pattern.match(path):
                return excluded
        return False


def _rule(pattern: str) -> list[tuple[patterns.Matcher, bool]]:
    excluded = not pattern.startswith("!")
    written = pattern.removeprefix("!").strip()
    if not written:
        raise InvalidInput("'!' excepts nothing", hint="write a pattern after it, or remove it")
    path = posixpath.normpath(written).lstrip("/")
    return [(patterns.ignore(path), excluded)] if path not in ("", ".") else []
