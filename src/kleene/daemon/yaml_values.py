"""Values of a YAML document that know their line, for telling mistakes. Pure.

Nothing is constructed from the document but text, numbers and booleans.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import TypeVar

import yaml

from kleene.errors import InvalidInput, KleeneError

T = TypeVar("T")


class Mistakes:
    """What is wrong with one file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        """Keep a mistake on ``line``, counted from 1."""
        self._found.append((line, text))

    def check(self) -> None:
        """Raise what was found, in the order of the lines.

        Raises:
            InvalidInput: something was.
        """
        if not self._found:
            return
        first, *others = [f"{self._name}:{line}: {text}" for line, text in sorted(self._found)]
        raise InvalidInput(first, details="\n".join(others) or None)


class Value:
    """One node of the document."""

    def __init__(self, node: yaml.Node, mistakes: Mistakes, key: str) -> None:
        self._node = node
        self._mistakes = mistakes
        self._key = key

    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    def mapping(self) -> Mapping:
        return Mapping(self._node, self._mistakes)

    def scalar(self) -> str | int:
        """A text or a number."""
        value = self._plain()
        if isinstance(value, str | int) and not isinstance(value, bool):
            return value
        raise InvalidInput("must be a text or a number")

    def text(self) -> str:
        value = self._plain()
        if isinstance(value, str) and value:
            return value
        raise InvalidInput("must be a text")

    def truth(self) -> bool:
        value = self._plain()
        if isinstance(value, bool):
            return value
        raise InvalidInput("must be true or false")

    def word(self, words: Sequence[T]) -> T:
        """One of ``words``."""
        value = self._plain()
        for word in words:
            if value == word:
                return word
        raise InvalidInput(f"must be one of {', '.join(map(str, words))}, not '{value}'")

    def attempt(self, convert: Callable[[Value], T], default: T) -> T:
        """The converted value; a mistake is kept, and ``default`` returned."""
        try:
            return convert(self)
        except KleeneError as error:
            hint = f" ({error.hint})" if error.hint else ""
            line = self._node.start_mark.line + 1
            self._mistakes.add(line, f"{self._key}: {error.message}{hint}")
            return default

    def _plain(self) -> str | int | bool | None:
        if not isinstance(self._node, yaml.ScalarNode):
            raise InvalidInput("must be a single value")
        text = self._node.value
        match self._node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return str(text)
            case "int" if text.isdecimal():
                return int(text)
            case "bool":
                return text.lower() in ("true", "yes", "on")
        return None


class Mapping:
    """A mapping of the document."""

    def __init__(self, node: yaml.Node, mistakes: Mistakes) -> None:
        self._node = node
        self._mistakes = mistakes
        self._pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in self._pairs:
                mistakes.add(key.start_mark.line + 1, f"key '{name}' is there twice")
            self._pairs[name] = key, value

    def only(self, known: Collection[str]) -> None:
        """Keep a mistake for each key that is not ``known``."""
        for key, (node, _) in self._pairs.items():
            if key not in known:
                close = get_close_matches(key, known, n=1)
                guess = f"; did you mean '{close[0]}'?" if close else ""
                self._mistakes.add(node.start_mark.line + 1, f"unknown key '{key}'{guess}")

    def convert(self, key: str, convert: Callable[[Value], T], default: T) -> T:
        """The value of ``key``, converted; ``default`` if it is missing, and after a mistake."""
        if key not in self._pairs:
            return default
        return Value(self._pairs[key][1], self._mistakes, key).attempt(convert, default)

    def items(self, key: str) -> Iterator[Value]:
        """The values in the list under ``key``."""
        if key not in self._pairs:
            return
        node = self._pairs[key][1]
        if not isinstance(node, yaml.SequenceNode):
            self.mistake(key, f"{key}: must be a list")
            return
        for item in node.value:
            yield Value(item, self._mistakes, key)

    def require(self, key: str) -> None:
        """Keep a mistake if ``key`` is missing."""
        if key not in self._pairs:
            self._mistakes.add(self._node.start_mark.line + 1, f"key '{key}' is missing")

    def mistake(self, key: str, text: str) -> None:
        """Keep a mistake on the line of ``key``."""
        node = self._pairs[key][0] if key in self._pairs else self._node
        self._mistakes.add(node.start_mark.line + 1, text)


def read_document(text: str, mistakes: Mistakes) -> Mapping | None:
    """The mapping that the whole document is; ``None`` if it is empty or no mapping (a mistake)."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not valid YAML"
        mistakes.add(mark.line + 1 if mark else 1, f"not valid YAML: {problem}")
        return None
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node.start_mark.line + 1, "the file must be a mapping of keys to values")
        return None
    return Mapping(node, mistakes)
