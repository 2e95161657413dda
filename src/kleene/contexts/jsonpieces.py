"""A JSON array that is too large to be read at once: one element after the other. Pure."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 64 * 1024
_LONGEST = 128 * 1024
"""Characters of one element: a path of 4095 bytes and a target of as many have at most a third of it."""


class JsonPieces:
    """Reads a text in UTF-8 from where it stands. Every method raises ValueError if it is no JSON."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._ended = False

    def expect(self, mark: str) -> None:
        """Read a ``[``, ``,`` or ``]``."""
        if self._next() != mark:
            raise ValueError(mark)
        self._at += 1

    def first(self, mark: str) -> Any:
        """Read a mark and the value that follows it."""
        self.expect(mark)
        return self._value()

    def array(self) -> Iterator[Any]:
        """Read an array, element by element."""
        self.expect("[")
        if self._next() != "]":
            yield self._value()
            while self._next() == ",":
                yield self.first(",")
        self.expect("]")

    def end(self) -> None:
        """Read to the end, where nothing may follow."""
        if self._next():
            raise ValueError

    def _next(self) -> str:
        """The next character that is no space; ``""`` at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            # A number that ends with the piece may go on in the next one.
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on; whether there was anything. What was read already goes."""
        left = len(self._text) - self._at
        if left > _LONGEST:
            raise ValueError("an element is too long")
        if self._ended:
            return False
        data = self._source.read(_CHUNK)
        self._ended = not data
        self._text = self._text[self._at :] + self._decode(data, self._ended)
        self._at = 0
        return bool(data)
