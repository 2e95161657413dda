"""Expansion of variables, quotes and escapes in a word.

Pure, and this project's own: no text of a Dockerfile reaches a shell of the host. What is understood is
in the Dockerfile reference, "Environment replacement"; the corner cases (which characters a name has,
what is escaped inside quotes) are those of BuildKit's lexer. A variable that is not set is empty. Time
is proportional to the word and the values put in; for patterns see ``patterns``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.patterns import (
    BadPattern,
    Pattern,
    parse_pattern,
    replaced,
    without_prefix,
    without_suffix,
)
from kleene.dockerfile.source import DockerfileError
from kleene.dockerfile.words import Word

MAX_GROWTH = 1 << 20
"""Characters by which a word may grow: a few lines of ``ENV a=$a$a`` would fill the memory."""

MAX_DEPTH = 50
"""How deep ``${a:-${b:-…}}`` may be nested."""

_SPECIAL_PARAMETERS = "@*#?-$!"
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\w+")


def expand(
    word: Word, variables: Mapping[str, str], *, escape: str = "\\", quotes: bool = True
) -> str:
    """The value of a word: one string, whatever blanks the variables hold.

    Args:
        word: as it stands in the Dockerfile, with quotes and escapes.
        variables: those in scope.
        escape: the file's escape character.
        quotes: whether quotes are taken off; not so in the body of a heredoc.

    Raises:
        DockerfileError: an open quote or brace, a substitution that is not known, a variable that
            had to be set (``${name:?}``), or a result that is too long.
    """
    plain = _plain(escape, quotes).match(word.text, 0)
    if plain is not None and plain.end() == len(word.text):
        return word.text
    return _Expansion(word, variables, escape, quotes).text()


class _Expansion:
    """One walk over a word."""

    def __init__(self, word: Word, variables: Mapping[str, str], escape: str, quotes: bool) -> None:
        self._word = word
        self._text = word.text
        self._variables = variables
        self._escape = escape
        self._quotes = quotes
        self._position = 0
        self._growth = 0
        self._depth = 0

    def text(self) -> str:
        return self._until("", raw=False)

    def _until(self, stop: str, *, raw: bool) -> str:
        """What the text up to ``stop`` (``""``: the end) says; ``raw`` keeps escapes, for patterns."""
        start, parts, plain = self._position, [], _plain(self._escape + stop, self._quotes)
        while self._position < len(self._text):
            found = plain.match(self._text, self._position)
            if found is not None:
                parts.append(found.group())
                self._position = found.end()
                continue
            character = self._next()
            if character == stop:
                return "".join(parts)
            parts.append(self._special(character, raw))
        if stop:
            raise self._error(start - 1, f"the '{stop}' that ends the substitution is missing")
        return "".join(parts)

    def _next(self) -> str:
        """The next character, taken; empty at the end."""
        character = self._text[self._position : self._position + 1]
        self._position += len(character)
        return character

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _special(self, character: str, raw: bool) -> str:
        if character == "$":
            return self._dollar()
        if character == self._escape:
            following = self._next()
            return character + following if raw and following else following
        return self._single_quoted() if character == "'" else self._double_quoted(raw)

    def _single_quoted(self) -> str:
        start = self._position
        end = self._text.find("'", start)
        if end < 0:
            raise self._error(start - 1, "a ' that opens a quotation has no partner")
        self._position = end + 1
        return self._text[start:end]

    def _double_quoted(self, raw: bool) -> str:
        start, parts, plain = self._position, [], _plain(self._escape + '"', quotes=False)
        while self._position < len(self._text):
            found = plain.match(self._text, self._position)
            if found is not None:
                parts.append(found.group())
                self._position = found.end()
                continue
            character = self._next()
            if character == '"':
                return "".join(parts)
            parts.append(self._dollar() if character == "$" else self._escaped_in_quotes(raw))
        raise self._error(start - 1, 'a " that opens a quotation has no partner')

    def _escaped_in_quotes(self, raw: bool) -> str:
        # Inside double quotes only these can be escaped; before others the character stays.
        if self._peek() and self._peek() in f'"${self._escape}':
            return (self._escape if raw else "") + self._next()
        return self._escape

    def _dollar(self) -> str:
        """A substitution, its ``$`` already taken."""
        start = self._position - 1
        if self._peek() != "{":
            name = self._name()
            return self._grown(start, self._variables.get(name, "")) if name else "$"
        self._next()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(start, f"substitutions are nested more than {MAX_DEPTH} deep")
        value = self._braced(start)
        self._depth -= 1
        return self._grown(start, value)

    def _name(self) -> str:
        """A variable's name, a positional parameter's number or a special parameter; may be empty."""
        if self._peek() and self._peek() in _SPECIAL_PARAMETERS:
            return self._next()
        text, position = self._text, self._position
        found = _NUMBER.match(text, position) or _NAME.match(text, position)
        if found is None:
            return ""
        self._position = found.end()
        return found.group()

    def _braced(self, start: int) -> str:
        """The value of ``${…}``, the brace already taken."""
        name = self._name()
        operator = self._next()
        if not name or not operator:
            missing = "its '}' is missing" if not operator else "a name must follow the '{'"
            raise self._error(start, f"a bad substitution: {missing}", self._help(start))
        if operator == "}":
            return self._variables.get(name, "")
        if operator in "#%":
            return self._trimmed(start, name, operator)
        if operator == "/":
            return self._substituted(start, name)
        return self._conditional(start, name, operator)

    def _conditional(self, start: int, name: str, operator: str) -> str:
        value = self._variables.get(name)
        if operator == ":":
            operator = self._next()
            value = value or None
        if not operator or operator not in "-+?":
            raise self._error(
                start, "a bad substitution: the operator is not known", self._help(start)
            )
        word = self._until("}", raw=False)
        if operator == "+":
            return "" if value is None else word
        if value is None and operator == "?":
            raise self._required(start, name, word)
        return word if value is None else value

    def _required(self, start: int, name: str, message: str) -> DockerfileError:
        state = "empty" if name in self._variables else "not set"
        reason = f": {quoted(message)}" if message else ""
        return self._error(
            start,
            f"variable {quoted(name)} is {state}{reason}",
            f"give it a value: --build-arg {name}=VALUE with an ARG, or an ENV before this line",
        )

    def _trimmed(self, start: int, name: str, operator: str) -> str:
        longest = self._peek() == operator
        if longest:
            self._next()
        pattern = self._pattern(start, self._until("}", raw=True))
        trim = without_prefix if operator == "#" else without_suffix
        return trim(self._variables.get(name, ""), pattern, longest=longest)

    def _substituted(self, start: int, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = self._pattern(start, self._until("/", raw=True))
        replacement = self._until("}", raw=True)
        value = self._variables.get(name)
        if value is None:
            return ""
        try:
            return replaced(value, pattern, replacement, limit=MAX_GROWTH, every=every)
        except OverflowError:
            raise self._too_long(start) from None

    def _pattern(self, start: int, text: str) -> Pattern:
        try:
            return parse_pattern(text, self._escape)
        except BadPattern as bad:
            raise self._error(start, f"the pattern {quoted(text)} cannot be used: {bad}") from None

    def _grown(self, start: int, value: str) -> str:
        self._growth += len(value)
        if self._growth > MAX_GROWTH:
            raise self._too_long(start)
        return value

    def _too_long(self, start: int) -> DockerfileError:
        return self._error(start, f"variables add more than {MAX_GROWTH} characters")

    def _help(self, start: int) -> str:
        # What a shell user forgets: the builder knows fewer operators than a shell does.
        return (
            f"for a literal '$' write '{self._escape}$'; "
            "known are ${a}, ${a:-b}, ${a:+b}, ${a:?b}, ${a#b}, ${a%b}, ${a/b/c}"
        )

    def _error(self, start: int, reason: str, hint: str | None = None) -> DockerfileError:
        end = max(self._position, start + 1)
        return self._word.part(start, min(end, len(self._text))).error(reason, hint)


@cache
def _plain(stops: str, quotes: bool) -> re.Pattern[str]:
    """What stands for itself; ``stops`` and ``$`` do not, nor quotes if ``quotes``."""
    marks = "'\"" if quotes else ""
    return re.compile(f"[^{re.escape('$' + stops + marks)}]+")
