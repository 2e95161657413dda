"""Templates of ``--format``: the part of Go's text/template that people use for lists.

``{{.Name}}`` is a field, ``{{.Container.Name}}`` one of an object in it, ``{{.}}`` all. Functions are put
before a value or after a bar: ``{{json .Labels}}``, ``{{.Name | upper}}``, ``{{join .Cmd " "}}``. Blocks are
``{{range .Mounts}}…{{end}}``, ``{{if eq .State "running"}}…{{else}}…{{end}}``, ``{{with .Health}}…{{end}}``.
Fields are named as in the API; capitals and underscores do not matter: ``.ExitCode`` is ``exit_code``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from kleene.cli.command import Misused
from kleene.cli.output import Column, Object, Table, print_table

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\||[^\s|"]+')
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_PATH = re.compile(r"\.|(?:\.[A-Za-z_][A-Za-z0-9_-]*)+")
_ESCAPES = {"\\t": "\t", "\\n": "\n"}


def _plain(value: Any) -> str:
    """A value as people want to read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _join(values: Any, separator: str = ",") -> str:
    if isinstance(values, Mapping):
        values = [f"{name}={_plain(value)}" for name, value in values.items()]
    return separator.join(map(_plain, values)) if isinstance(values, list) else _plain(values)


def _index(values: Any, *keys: Any) -> Any:
    """What is at a key or place, and there at the next; nothing if there is none."""
    for key in keys:
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, list) and isinstance(key, int):
            values = values[key] if 0 <= key < len(values) else None
        else:
            return None
    return values


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "join": _join,
    "index": _index,
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
    "not": lambda value: not value,
    "title": lambda value: _plain(value).title(),
    "split": lambda value, separator: _plain(value).split(separator),
    "truncate": lambda value, length: _plain(value)[:length],
    "upper": lambda value: _plain(value).upper(),
    "lower": lambda value: _plain(value).lower(),
    "len": lambda value: len(value or ()),
}


_HINT = f"write fields as {{{{.Name}}}}; functions are {', '.join(_FUNCTIONS)}"


class Block(NamedTuple):
    """``range``, ``if`` or ``with``: the value that it turns on, what is in it, what is after ``else``."""

    kind: str
    value: Sequence[str]
    inner: Sequence[Node]
    other: Sequence[Node]


Node = str | tuple[str, ...] | Block
"""Text, the words of a value, or a block."""


class Template:
    """A template that was read.

    Args:
        text: ``\\t`` and ``\\n`` in it mean a tab and a new line.

    Raises:
        Misused: it cannot be understood.
    """

    def __init__(self, text: str) -> None:
        for written, meant in _ESCAPES.items():
            text = text.replace(written, meant)
        pieces = _ACTION.split(text)
        if any("{{" in piece or "}}" in piece for piece in pieces[::2]):
            raise Misused(f"template '{text}' has braces without a partner", hint=_HINT)
        self._pieces = pieces
        self._at = 0
        self._nodes = self._read(top=True)

    def _read(self, *, top: bool = False) -> list[Node]:
        """The nodes up to ``end`` or ``else``, which is left to the caller, or to the end of the text."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            if self._at % 2 == 0:
                nodes.append(piece)
                self._at += 1
                continue
            words = _WORD.findall(piece)
            if words in (["end"], ["else"]) and not top:
                return nodes
            self._at += 1
            if words and words[0] in ("range", "if", "with"):
                nodes.append(self._block(words))
            else:
                nodes.append(_checked(words, piece))
        if not top:
            raise Misused("template has a block without 'end'", hint="close it with {{end}}")
        return nodes

    def _block(self, words: list[str]) -> Block:
        value = _checked(words[1:], " ".join(words))
        inner = self._read()
        other: list[Node] = []
        if self._pieces[self._at].strip() == "else":
            self._at += 1
            other = self._read()
        self._at += 1
        return Block(words[0], value, inner, other)

    def render(self, value: Any) -> str:
        """The text for one object.

        Raises:
            Misused: it has no field of a name; those that it has are told.
        """
        return "".join(_render(self._nodes, value))

    def titles(self) -> list[str]:
        """For each field at the top, its last name in capitals: the titles of a table."""
        paths = [
            next((word for word in node if word.startswith(".")), "")
            for node in self._nodes
            if isinstance(node, tuple) and not isinstance(node, Block)
        ]
        return [re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", p.rpartition(".")[2]).upper() for p in paths]


def _render(nodes: Sequence[Node], value: Any) -> list[str]:
    found: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, Block):
            found += _render_block(node, value)
        else:
            found.append(_plain(_evaluate(node, value)))
    return found


def _render_block(block: Block, value: Any) -> list[str]:
    subject = _evaluate(block.value, value)
    if not subject:
        return _render(block.other, value)
    if block.kind != "range":
        return _render(block.inner, subject if block.kind == "with" else value)
    each = subject.values() if isinstance(subject, Mapping) else subject
    return [text for item in each for text in _render(block.inner, item)]


def _checked(words: list[str], written: str) -> tuple[str, ...]:
    """The words of a value, each of which is known."""
    for word in words:
        known = word in _FUNCTIONS or word == "|" or word.startswith('"') or _PATH.fullmatch(word)
        known = known or _NUMBER.fullmatch(word)
        if not known:
            raise Misused(f"template has the unknown word '{word}' in '{written}'", hint=_HINT)
    if not words or words[0] == "|" or words[-1] == "|":
        raise Misused(f"template has an empty value in '{{{{{written}}}}}'", hint=_HINT)
    return tuple(words)


def _evaluate(words: Sequence[str], value: Any) -> Any:
    result: Any = None
    for number, part in enumerate(_parts(words)):
        if part[0] == ".Label" and len(part) == 2:  # as Docker's lists have it
            part = ["index", ".Labels", part[1]]
        arguments = [_word(word, value) for word in part if word not in _FUNCTIONS]
        if number:
            # Go gives the value before the bar as the last argument; for join it is the first here.
            arguments = [result, *arguments]
        if part[0] in _FUNCTIONS:
            result = _call(part[0], arguments)
        elif len(arguments) == 1:
            result = arguments[0]
        else:
            raise Misused(f"template has too many words in '{' '.join(words)}'", hint=_HINT)
    return result


def _call(name: str, arguments: list[Any]) -> Any:
    try:
        return _FUNCTIONS[name](*arguments)
    except TypeError as error:
        raise Misused(f"function '{name}' cannot be used so in the template", hint=_HINT) from error


def _parts(words: Sequence[str]) -> list[list[str]]:
    """The words between the bars."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part or [""] for part in parts]


def _word(word: str, value: Any) -> Any:
    if _NUMBER.fullmatch(word):
        return int(word)
    if word.startswith('"'):
        return word[1:-1].replace('\\"', '"')
    for name in filter(None, word.split(".")):
        value = _field(value, name)
    return value


def _same(name: str) -> str:
    return name.replace("_", "").lower()


_OF_DOCKER = {
    "names": "name",
    "repository": "name",
    "driver": "type",
    "createdat": "created",
    "createdsince": "Created",
    "runningfor": "Created",
}
"""Fields as Docker names them, and what they are here."""


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise Misused(f"there is no field '.{name}'", hint="it has no fields")
    for wanted in (name, _OF_DOCKER.get(_same(name), name)):
        if wanted in value:
            return value[wanted]
        for key, found in value.items():
            if _same(key) == _same(wanted):
                return found
    raise Misused(f"there is no field '.{name}'", hint=_known_fields(value, name))


def _known_fields(value: Mapping[str, Any], name: str) -> str:
    from kleene.names import nearest

    by_same = {_same(key): key for key in value}
    near = nearest(_same(name), by_same)
    meant = f"did you mean '.{by_same[near]}'? " if near else ""
    return f"{meant}fields are: {', '.join(f'.{key}' for key in value)}"


def print_list(table: Table, objects: Sequence[Object], form: str, *, fancy: bool) -> None:
    """Print a line for each object. Beside the API's fields a template may name the columns of the table.

    Args:
        form: the template; after ``table `` its tabs make columns, with titles.
    """
    with_titles = form.startswith("table ")
    template = Template(form.removeprefix("table "))
    names = [column.title.title().replace(" ", "") for column in table.columns]
    lines = [
        template.render(dict(zip(names, table.row(o), strict=True)) | table.more(o) | o)
        for o in objects
    ]
    if with_titles:
        _print_columns(template.titles(), [line.split("\t") for line in lines], fancy=fancy)
    else:
        for line in lines:
            click.echo(line)


def _print_columns(titles: list[str], rows: list[list[str]], *, fancy: bool) -> None:
    width = max([len(titles), *map(len, rows)])
    columns = [Column(title) for title in [*titles, *[""] * (width - len(titles))]]
    print_table(columns, [[*row, *[""] * (width - len(row))] for row in rows], fancy=fancy)
