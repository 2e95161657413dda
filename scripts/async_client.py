"""``src/kleene/client/async_operations.py``: the asynchronous operations, written from the synchronous ones.

Part of ``make docs``.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

from kleene.client import api, operations

PLACE = Path(operations.__file__).with_name("async_operations.py")
GROUPS = {name: type(group) for name, group in vars(api.Client()).items() if name[0] != "_"}
"""The groups of operations that a client has, by their names."""

_HEAD = '''\
"""The operations of the API, awaited. What each does and raises is said in ``operations.py`` and ``api.py``.

Written by ``make docs`` from those: change them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import TYPE_CHECKING, Any

from kleene.client.async_runner import Runner
from kleene.client.async_transport import AsyncStream
'''
_DOWNLOAD = "Generator[bytes, None, None]"
_CALLED_BACK = ("meanwhile", "note")  # of no use where others run beside


def source() -> str:
    """The module."""
    groups = [_group(name, group) for name, group in GROUPS.items()]
    text = "\n\n".join([*groups, _all_groups()])
    return _formatted(f"{_HEAD}{_imports(text)}\n\n{text}")


def _formatted(text: str) -> str:
    """As the linter wants it: imports in order, unused ones gone."""
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--quiet", f"--stdin-filename={PLACE}", "-"]
    for step in (["check", "--fix", "--fix-only", "--select=I,F401"], ["format"]):
        done = subprocess.run(
            [*ruff, *step, *name], input=text, capture_output=True, text=True, check=True
        )
        text = done.stdout
    return text


def _imports(text: str) -> str:
    """Imports of the types that are named."""
    aliases = [each for each in ("Ids", "Body") if each in text]
    lines = ["from kleene.client.operations import Ids"] if "Ids" in aliases else []
    named = {name: each for name, each in vars(api).items() if _is_wire_type(each) and name in text}
    lines += [f"from {each.__module__} import {name}" for name, each in named.items()]
    lists = [name for name in vars(api) if name.endswith("List") and name in text]
    if lists:
        lines.append(f"from kleene.client.api import {', '.join(sorted(lists))}")
    lines += ["", "if TYPE_CHECKING:", "    from kleene.client.operations import Body", ""]
    return "\n".join(lines)


def _is_wire_type(each: object) -> bool:
    return isinstance(each, type) and each.__module__.startswith("kleene.schemas.")


def _group(name: str, group: type) -> str:
    methods = [
        _method(name, method, function)
        for method, function in inspect.getmembers(group, inspect.isfunction)
        if not method.startswith("_")
    ]
    doc = (group.__doc__ or "").strip().splitlines()[0]
    return "\n".join(
        [
            f"class Async{name.capitalize()}:",
            f'    """{doc}"""',
            "",
            "    def __init__(self, runner: Runner) -> None:",
            "        self._runner = runner",
            "",
            *methods,
        ]
    )


def _all_groups() -> str:
    lines = [f"        self.{name} = Async{name.capitalize()}(runner)" for name in GROUPS]
    return "\n".join(
        [
            "class AsyncOperations:",
            '    """All groups of operations."""',
            "",
            "    def __init__(self, runner: Runner) -> None:",
            *lines,
        ]
    )


def _method(group: str, name: str, function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    given = [each for key, each in signature.parameters.items() if key not in _CALLED_BACK]
    returned = str(signature.return_annotation)
    how, word, answer = "await self._runner.run", "async def", returned
    if returned == "Stream":
        how, word, answer = "self._runner.stream", "def", "AsyncStream"
    elif returned == _DOWNLOAD:
        how, word, answer = "self._runner.download", "def", "AsyncGenerator[bytes, None]"
    call = f"{how}(lambda client: client.{group}.{name}({_passed(given[1:])}))"
    doc = (inspect.getdoc(function) or "").splitlines()[0]
    return f'    {word} {name}({_taken(given)}) -> {answer}:\n        """{doc}"""\n        return {call}\n'


def _taken(parameters: list[inspect.Parameter]) -> str:
    """The parameters as they are declared."""
    words, star = [], False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not star:
            words.append("*")
            star = True
        kind = "" if each.annotation is each.empty else f": {each.annotation}"
        default = "" if each.default is each.empty else f" = {each.default!r}"
        words.append(f"{each.name}{kind}{default}")
    return ", ".join(words)


def _passed(parameters: list[inspect.Parameter]) -> str:
    return ", ".join(
        f"{each.name}={each.name}" if each.kind is each.KEYWORD_ONLY else each.name
        for each in parameters
    )
