"""Patterns match what Docker's do, quickly."""

from __future__ import annotations

import time

import pytest

from kleene.contexts import patterns
from kleene.contexts.ignore import Ignore
from kleene.errors import InvalidInput


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "any.thing", True),
        ("*", ".hidden", True),
        ("*.py", "hello.py", True),
        ("*.py", "hello.pyc", False),
        ("a*b*c", "aXbXXbc", True),
        ("a*b*c", "aXcXb", False),
        ("a*ab", "aab", True),
        ("*ab", "abab", True),
        ("h?me*", "home.txt", True),
        ("h?me", "hme", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[]a]", "a", None),
        ("[a", "a", None),
        ("a\\", "a", None),
        ("\\*", "*", True),
        ("\\*", "x", False),
        ("arr[[]0].txt", "arr[0].txt", True),
        ("a.c", "abc", False),
        ("a\nb*", "a\nbc", True),
        ("a", "a\n", False),
    ],
)
def test_component(pattern: str, name: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(InvalidInput, match="is malformed"):
            patterns.component(pattern)
    else:
        found = patterns.component(pattern).match(name)
        assert (found is not None) is matches


@pytest.mark.parametrize(
    ("text", "path", "excluded"),
    [
        ("node_modules", "node_modules/left-pad/index.js", True),
        ("node_modules", "web/node_modules", False),
        ("**/node_modules", "web/node_modules/x", True),
        ("**/node_modules", "node_modules", True),
        ("/secret", "secret", True),
        ("./secret/", "secret/key", True),
        ("*/temp*", "somedir/temporary.txt", True),
        ("*/temp*", "temporary.txt", False),
        ("*/*/temp*", "a/b/temp", True),
        ("**/*.go", "a/b/c.go", True),
        ("**/*.go", "c.go", True),
        ("docs/**", "docs/x/y", True),
        ("docs/**", "docs", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/m/**/z", "a/m/x/m/z", True),
        ("a/**/m/**/z", "a/x/z", False),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "OTHER.md", True),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("!README.md\n*.md", "README.md", True),
        ("# comment\n\n  spaced  ", "spaced", True),
        ("#comment", "#comment", False),
        ("\\#name", "#name", True),
        ("**", "any/thing", True),
        ("*\n!src", "src/main.c", False),
        ("foo[a-c]", "foob", True),
        ("a?c", "a/c", False),
    ],
)
def test_ignore(text: str, path: str, excluded: bool) -> None:
    assert Ignore.parse(text, ".dockerignore").excludes(path) is excluded


def test_malformed_line_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"\.dockerignore, line 2: pattern '\[' is malformed"):
        Ignore.parse("ok\n[\n", ".dockerignore")


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 60 + "*b",
        "**/" + "*a" * 60 + "*b/**/c",
        "**/a/" * 40 + "b",
        "x" * 300 + "**b",
        "a**" + "*a" * 60 + "**b",
    ],
)
def test_patterns_made_to_hang_do_not(pattern: str) -> None:
    started = time.monotonic()
    assert not patterns.ignore(pattern).match("/".join(["a" * 250] * 15))
    assert not patterns.ignore(pattern).match("a/" * 2000 + "c")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("line", "path", "excluded"),
    [
        ("**.log", "a/b.log", True),
        ("**.log", "b.log/c", True),
        ("**.log", "b.logs", False),
        ("**a*.txt", "c/ab.txt", True),
        ("**a*.txt", "c/ba.txt", False),
        ("../a", "a", False),
        ("/../a", "a", True),
        ("./a/", "a/b", True),
        ("a**/*.txt", "a/b/c.txt", True),
        ("a**/*.txt", "a/c.txt", True),
        ("a**/*.txt", "ab/c.txt", True),
        ("a**/*.txt", "ax.txt", True),
        ("a**/*.txt", "b/a/c.txt", False),
        ("a**/*.txt", "a/c.md", False),
        ("a**b", "ab", True),
        ("a**b", "ax/y/b", True),
        ("a**b", "axb", False),
        ("a**b", "ab/below", True),
        ("a**", "ab/c", True),
        ("a**", "a", True),
        ("a**", "ba", False),
        ("d/a**", "d/ax", True),
        ("d/***", "d/x/y", True),
        ("d/***", "d", False),
        ("[ab]**/?", "bc/d", True),
        ("\\*a**c", "*ab/c", True),
        ("x/**y/z", "x/q/y/z", True),
        ("x/**y/z", "x/qy/z", False),
        ("**/a**/b", "x/ay/b", True),
        ("a*b**c", "axbxb/c", True),
        ("a*b**c", "axbxbc", True),
        ("a*b**c", "axbxc", False),
    ],
)
def test_lines_mean_what_dockers_do(line: str, path: str, excluded: bool) -> None:
    assert Ignore.parse(line, ".dockerignore").excludes(path) == excluded


def test_an_exception_has_a_pattern() -> None:
    with pytest.raises(InvalidInput, match="line 2: '!' excepts nothing"):
        Ignore.parse("a\n! \n", ".dockerignore")
