"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "src" / "kleene").rglob("*.py"))
LONGEST_FILE = 500
MEDIAN_FUNCTION, LONG_FUNCTION = 10, 35

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> list[tuple[int, str]]:
    """The length in lines of every function in the source, with its place. Docstrings do not count."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function):
                found.append((length(node), f"{path.name}:{node.lineno} {node.name}"))
    return found


def length(function: Function) -> int:
    """Lines from the signature to the end, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"


def test_functions_are_short() -> None:
    lengths = sorted(functions(), reverse=True)
    numbers = [number for number, _ in lengths]
    assert statistics.median(numbers) <= MEDIAN_FUNCTION
    assert statistics.quantiles(numbers, n=10)[-1] <= LONG_FUNCTION, lengths[:10]
