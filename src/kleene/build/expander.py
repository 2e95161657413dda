"""From the words of an instruction to what they mean: variables replaced, and checked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kleene.build.modes import Mode, is_symbolic
from kleene.build.scope import Scope
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.expand import expand
from kleene.dockerfile.words import Word

_MODE = re.compile(r"0*[0-7]{1,4}")
_USER = re.compile(r"[^\s:\x00-\x1f\x7f]+(:[^\s:\x00-\x1f\x7f]+)?")


@dataclass(frozen=True)
class Expander:
    """Reads words with the variables of a scope, which may change meanwhile.

    Attributes:
        escape: the escape character of the text that the words stand in.
    """

    scope: Scope
    escape: str

    def expand(self, word: Word) -> str:
        """The word with its variables replaced, and without quotes."""
        return expand(word, self.scope.variables, escape=self.escape)

    def not_empty(self, word: Word, what: str) -> str:
        """The same, if something is left of it."""
        value = self.expand(word)
        if not value:
            raise word.error(
                f"{what} is empty",
                "give its variables a value: ${NAME:-VALUE} has one if NAME has none",
            )
        return value

    def user(self, word: Word) -> str | None:
        """A user, or a user and a group; ``None`` if nothing is left of the word."""
        user = self.expand(word)
        if not user:
            return None
        if _USER.fullmatch(user) is None:
            raise word.error(
                f"{quoted(user)} is not a user", "write USER, USER:GROUP, or their ids"
            )
        return user

    def mode(self, word: Word) -> Mode | None:
        """Permission bits, or what to change in them; ``None`` if nothing is left of the word."""
        mode = self.expand(word)
        if not mode:
            return None
        if is_symbolic(mode):
            return mode
        if _MODE.fullmatch(mode) is None:
            hint = "write it like --chmod=0755 or --chmod=u=rwX,go=rX"
            raise word.error(f"{quoted(mode)} is not a mode", hint)
        return int(mode, 8)
