"""From the words of an instruction to what they mean: variables replaced, and checked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kleene.build.modes import Mode, is_symbolic
from kleene.build.scope import Scope
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.expand import expand
from kleene.dockerfile.words import Word

_MODE = re.compile(r"0*[0-7]{1,4}")
_USER = re.compile(r"[^\s:\x00-\x1f\x7f]+(:[^\s:\x00-\x1f\x7f]+)?")


MOST_ADDED = 16 << 20
"""Characters that variables may add to all words of a Dockerfile together."""


@dataclass
class Budget:
    """What variables may still add: a short file can name a long value many times."""

    left: int = MOST_ADDED

    def spend(self, word: Word, value: str) -> str:
        """Return ``value``, what a word came to.

        Raises:
            DockerfileError: it is too much.
        """
        self.left -= max(0, len(value) - len(word.text))
        if self.left < 0:
            raise word.error(
                f"variables add more than {MOST_ADDED} characters to the Dockerfile",
                "put long texts into files, and COPY them",
            )
        return value


@dataclass(frozen=True)
class Expander:
    """Reads words with the variables of a scope, which may change meanwhile.

    Attributes:
        escape: the escape character of the text that the words stand in.
        budget: of the whole Dockerfile.
    """

    scope: Scope
    escape: str
    budget: Budget = field(default_factory=Budget)

    def expand(self, word: Word, *, quotes: bool = True) -> str:
        """The word with its variables replaced, and without quotes; ``quotes``: whether they are any."""
        escape = self.escape if quotes else "\\"
        value = expand(word, self.scope.variables, escape=escape, quotes=quotes)
        return self.budget.spend(word, value)

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
