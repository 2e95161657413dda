"""The list of an uploaded context: what is read is what was written, and nothing that leads out is read."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.contexts import manifest
from kleene.contexts.kinds import is_archive, is_remote
from kleene.contexts.manifest import Item, encode
from kleene.errors import InvalidInput

DIGEST = "a" * 64
FILE = ["x", "f", 0o644, 0, 3, DIGEST]


def decode(data: bytes, *, entries: int, size: int) -> manifest.Manifest:
    """From a source that gives a byte at a time where it likes."""

    class Drop(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(1 + self.tell() % 7)

    found = manifest.decode(io.BytesIO(data), entries=entries, size=size)
    assert manifest.decode(Drop(data), entries=entries, size=size) == found
    return found


def read(*rows: Any, version: Any = 1, mode: Any = 0o755, size: int = 100) -> Any:
    return decode(json.dumps([version, "here", mode, rows]).encode(), entries=3, size=size)


def test_what_is_read_is_what_was_written() -> None:
    items = [
        Item("d", "d", 0o750, 5),
        Item("d/\udcff", "f", 0o4755, -1, 7, DIGEST),
        Item("l", "l", 0o777, 2**62, 0, "../../etc"),
    ]
    found = decode(encode("here", 0o700, items), entries=3, size=7)
    assert (found.name, found.mode, found.items, found.size) == ("here", 0o700, items, 7)
    assert found.contents == {DIGEST: 7}
    renamed = decode(encode("there", 0o700, items), entries=3, size=7)
    assert renamed.id == found.id
    assert decode(encode("here", 0o701, items), entries=3, size=7).id != found.id


@pytest.mark.parametrize(
    "row",
    [
        ["/x", *FILE[1:]],
        ["..", *FILE[1:]],
        ["a/../x", *FILE[1:]],
        ["./x", *FILE[1:]],
        ["a//x", *FILE[1:]],
        ["", *FILE[1:]],
        ["x\0", *FILE[1:]],
        ["x" * 256, *FILE[1:]],
        ["missing/x", *FILE[1:]],
        [7, *FILE[1:]],
        ["\ud800", *FILE[1:]],
        FILE[:-1],
        "x",
        None,
        ["x", "c", 0o644, 0, 0, ""],
        ["x", "f", -1, 0, 3, DIGEST],
        ["x", "f", 0o10000, 0, 3, DIGEST],
        ["x", "f", True, 0, 3, DIGEST],
        ["x", "f", 0o644, 2**63, 3, DIGEST],
        ["x", "f", 0o644, 0, -1, DIGEST],
        ["x", "f", 0o644, 0, 3, DIGEST.upper()],
        ["x", "f", 0o644, 0, 3, "../" + DIGEST[3:]],
        ["x", "d", 0o755, 0, 3, ""],
        ["x", "l", 0o777, 0, 0, ""],
        ["x", "l", 0o777, 0, 0, "a\0b"],
        ["x", "l", 0o777, 0, 0, "a" * 4096],
    ],
)
def test_items_that_are_refused(row: Any) -> None:
    with pytest.raises(InvalidInput):
        read(row)


def test_lists_that_are_refused() -> None:
    link = ["x", "l", 0o777, 0, 0, "/etc"]
    for rows in ([FILE, FILE], [link, ["x/y", *FILE[1:]]], [FILE, ["x/y", *FILE[1:]]]):
        with pytest.raises(InvalidInput, match="cannot be trusted"):
            read(*rows)
    with pytest.raises(InvalidInput, match="too large: it has more than 3 files"):
        read(*[[str(number), *FILE[1:]] for number in range(4)])
    with pytest.raises(InvalidInput, match="too large: its files have more than 2 bytes"):
        read(FILE, size=2)
    long = json.dumps([1, "x", 0, [["y" * 200_000]]]).encode()
    for data in (
        b"",
        b"{}",
        b"[1]",
        long,
        b'[1,"x",0,[]]]',
        b'[1,"x",0,[],1]',
        b'[1,"x",0,[,]]',
        b"[" * 100_000,
        b"\xff",
    ):
        with pytest.raises(InvalidInput, match="cannot be understood"):
            decode(data, entries=1, size=1)
    for version, mode in ((2, 0o755), (1, "x"), (1, -1)):
        with pytest.raises(InvalidInput, match="cannot be understood"):
            read(version=version, mode=mode)


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists))
def test_any_json_is_read_or_refused(value: Any) -> None:
    for document in (value, [1, "x", 0, value], [1, "x", 0, [value]], [1, "x", 0, [[value] * 6]]):
        with contextlib.suppress(InvalidInput):
            decode(json.dumps(document).encode(), entries=10, size=10)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("https://h/x.tar.gz", True),
        ("HTTP://h/x", True),
        ("https://h/x.git#main:sub", True),
        ("git://h/x", True),
        ("git@h:x/y", True),
        ("ssh://h/x", True),
        ("git@/x", False),
        (".", False),
        ("/abs", False),
        ("ftp://h", False),
    ],
)
def test_contexts_that_the_daemon_fetches(text: str, remote: bool) -> None:
    assert is_remote(text) is remote


@given(st.binary(max_size=600))
def test_bytes_that_are_no_archive_are_a_dockerfile(data: bytes) -> None:
    assert not is_archive(b"FROM x\n" + data)


def test_a_name_is_one_line_of_text() -> None:
    data = json.dumps([1, "a\nERROR forged\ud800" + "x" * 9999, 0o755, []]).encode()
    name = decode(data, entries=1, size=1).name
    assert name.startswith("a\ufffdERROR forged\ufffdx")
    assert len(name.encode()) < 5000
