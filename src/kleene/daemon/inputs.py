"""What clients send, decoded, and what is wrong with it in the words of a person who does not read Python.

Pure. ``msgspec`` names a mistake by the wire's type names and a JSON path; this turns that into the field's
path and what was expected there.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from kleene.errors import InvalidInput

T = TypeVar("T")

_LOCATED = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_WRONG_TYPE = re.compile(r"Expected `(.+?)`(.*?)(?:, got `(.+)`)?")
_WRONG_WORD = re.compile(r"Invalid (?:enum )?value (.+)")
_STEP = re.compile(r"\[(?:\d+|\.\.\.)\]|[^.\[]+")

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def decode(raw: bytes | str, kind: type[T]) -> T:
    """Read JSON as ``kind``. ``"true"`` and ``"false"`` count as booleans: published clients send them.

    Raises:
        InvalidInput: it is not JSON, or a field is missing or of the wrong type.
    """
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(explain(str(error), kind)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not valid JSON: {_lower(str(error))}") from error


def explain(mistake: str, kind: Any) -> str:
    """Say in plain words what ``msgspec`` found wrong with a value for ``kind``.

    Args:
        mistake: the text of a ``msgspec.ValidationError``.
    """
    located = _LOCATED.fullmatch(mistake)
    assert located is not None
    what, path = located["what"], located["path"] or ""
    if missing := _MISSING.fullmatch(what):
        return f"field '{_join(path, missing[1])}' is missing"
    subject = f"field '{path}'" if path else "the value"
    if wrong := _WRONG_WORD.fullmatch(what):
        return f"{subject} {_must_be_one_of(_choices(kind, path))}, not {wrong[1]}"
    if wrong := _WRONG_TYPE.fullmatch(what):
        return f"{subject} must be {_plain(wrong[1])}{wrong[2]}{_but_is(wrong[3])}"
    return f"{subject}: {_lower(what)}"


def _plain(names: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in names.split(" | "))


def _but_is(name: str | None) -> str:
    return f", not {_plain(name)}" if name else ""


def _must_be_one_of(choices: list[str]) -> str:
    words = ", ".join(f"'{choice}'" for choice in choices)
    return f"must be one of {words}" if words else "has a value that it may not have"


def _choices(kind: Any, path: str) -> list[str]:
    """The words that the ``Literal`` at ``path`` of ``kind`` allows."""
    places = [inspect.type_info(kind)]
    for step in _STEP.findall(path):
        places = [inner for place in _alternatives(places) for inner in _inside(place, step)]
    return [
        str(value)
        for place in _alternatives(places)
        if isinstance(place, inspect.LiteralType)
        for value in place.values
    ]


def _alternatives(places: list[inspect.Type]) -> list[inspect.Type]:
    return [
        part
        for place in places
        for part in (place.types if isinstance(place, inspect.UnionType) else (place,))
    ]


def _inside(place: inspect.Type, step: str) -> list[inspect.Type]:
    if isinstance(place, inspect.StructType):
        return [field.type for field in place.fields if field.encode_name == step]
    if isinstance(place, inspect.ListType):
        return [place.item_type]
    if isinstance(place, inspect.DictType):
        return [place.value_type]
    return []


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
