"""The JSON form of RUN, CMD, COPY: ``["a", "b"]``.

Pure. As in Docker, what is no JSON array is plain text; :func:`fault` says what is wrong with one that was
probably meant as an array, which ``[ -f x ] && y`` and the pattern ``[ab].txt`` are not.
"""

from __future__ import annotations

import json
import re

from kleene.dockerfile.source import DockerfileError
from kleene.dockerfile.words import Word, skip_space

_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"')
_SPACE = re.compile(r"[\t\n\r ]*")
# No shell command is called '["…', but '[ "$x" = y ]' is one: with a blank after the bracket it needs
# what only an array has.
_MEANT = re.compile(r'\[(?:"|[\t\n\r ]++"[^"]*+(?:\Z|"[\t\n\r ]*+(?:,|\Z)))')
_SINGLE_QUOTED = re.compile(r"\[[\t\n\r ]*'[^']*'[\t\n\r ]*[,\]]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HINT = 'write ["first", "second"]: double quotes, commas between, a closing bracket'


def read_json(word: Word) -> tuple[Word, ...] | None:
    """The strings of an array; ``None`` if the text is no JSON array.

    Raises:
        DockerfileError: an array of something else than strings, or a string with a NUL in it.
    """
    if not word.text.startswith("["):
        return None
    try:
        strings = _read_array(word)
    except DockerfileError:
        if _is_json_array(word.text):
            raise word.error("a JSON array of something else than strings", _HINT) from None
        return None
    for string in strings:
        if "\0" in string.text:
            raise string.error("the JSON string has a NUL character in it", "remove it")
    return strings


def fault(word: Word) -> DockerfileError | None:
    """Why a text that was meant as an array is none; ``None`` if it was not meant as one."""
    if not _MEANT.match(word.text):
        return None
    try:
        _read_array(word)
    except DockerfileError as error:
        return error
    return None


def is_single_quoted(text: str) -> bool:
    """Whether this looks like an array in single quotes, which is no JSON."""
    return _SINGLE_QUOTED.match(text) is not None


def _read_array(word: Word) -> tuple[Word, ...]:
    text, strings = word.text, []
    position = _skip(text, 1)
    closed = text.startswith("]", position)
    while not closed:
        end = _end_of_string(word, position)
        strings.append(_decode(word.part(position, end)))
        position = _skip(text, end)
        closed = text.startswith("]", position)
        if not closed:
            position = _skip(text, _expect(word, position, ",", "a ',' or the closing ']'"))
    end = skip_space(text, position + 1)
    if end < len(text):
        raise word.part(end, len(text)).error("text after the JSON array", _HINT)
    return tuple(strings)


def _end_of_string(word: Word, position: int) -> int:
    found = _STRING.match(word.text, position)
    if found is not None:
        return found.end()
    _expect(word, position, '"', "a string in double quotes")
    raise word.part(position, len(word.text)).error(
        "a string of the JSON array is not closed, or has a control character in it", _HINT
    )


def _expect(word: Word, position: int, character: str, what: str) -> int:
    if not word.text.startswith(character, position):
        here = word.part(position, min(position + 1, len(word.text)))
        raise here.error(f"the JSON array is broken: {what} is missing", _HINT)
    return position + 1


def _decode(literal: Word) -> Word:
    try:
        text = str(json.loads(literal.text))
    except ValueError:
        raise literal.error(
            "the JSON string has an escape that JSON does not know", _HINT
        ) from None
    inside = literal.part(1, len(literal.text) - 1)
    if inside.text == text:
        return inside
    # A lone surrogate stands for no character and cannot be encoded.
    return Word(_SURROGATE.sub("\ufffd", text), literal.line, literal.start, literal.end)


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _is_json_array(text: str) -> bool:
    if not text.endswith("]"):
        return False
    try:
        return isinstance(json.loads(text, parse_constant=_no_constant), list)
    except (ValueError, RecursionError):
        return False


def _no_constant(name: str) -> None:
    """Refuse ``NaN`` and the like, which Python takes for JSON."""
    raise ValueError(name)
