"""The list of a context that is uploaded: paths, modes and digests of contents. Pure.

A client sends it first; the daemon answers which contents it does not have. It is JSON, made and read by the
standard library, since both sides use it and the client imports nothing dear. The daemon takes it for
hostile: :func:`decode` refuses whatever could lead out of the directory that is made of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from typing import IO, Any, NamedTuple

from kleene.contexts.jsonpieces import JsonPieces
from kleene.errors import InvalidInput

VERSION = 1

FILE, DIRECTORY, LINK = "f", "d", "l"

LONGEST_PATH = 4095
"""Bytes of a path or of a link's target (Linux' ``PATH_MAX`` less the end mark)."""

LONGEST_NAME = 255
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LATEST = 2**63 - 1  # nanoseconds
_BATCH = 1000


class Item(NamedTuple):
    """A file, directory or symbolic link.

    Attributes:
        path: relative to the context; never ``""``.
        mode: permission bits.
        mtime: in nanoseconds since the epoch.
        size: bytes of a file.
        content: of a file its SHA-256 in hex, of a link its target, else empty.
    """

    path: str
    kind: str
    mode: int
    mtime: int
    size: int = 0
    content: str = ""


class Manifest(NamedTuple):
    """A context.

    Attributes:
        id: 32 hex digits, the same for the same items.
        name: what the user calls the context.
        mode: permission bits of its own directory.
        items: a directory comes before what is in it.
    """

    id: str
    name: str
    mode: int
    items: list[Item]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(item.size for item in self.items)

    @property
    def contents(self) -> dict[str, int]:
        """The size of every content, by its digest."""
        return {item.content: item.size for item in self.items if item.kind == FILE}


def encode(name: str, mode: int, items: Iterable[Item]) -> bytes:
    """The manifest of a context as it is sent."""
    return json.dumps([VERSION, name, mode, list(items)], separators=(",", ":")).encode()


def decode(source: IO[bytes], *, entries: int, size: int) -> Manifest:
    """Read a manifest to its end, piece by piece: what it takes of memory is that of its items.

    Args:
        entries, size: the most items, and bytes of files together, that it may have.

    Raises:
        InvalidInput: it is malformed, too large, or not to be trusted.
    """
    try:
        reader = JsonPieces(source)
        version, name, mode = reader.first("["), reader.first(","), reader.first(",")
        if version != VERSION or not isinstance(name, str):
            raise ValueError
        if type(mode) is not int or not 0 <= mode <= 0o7777:
            raise ValueError
        reader.expect(",")
        items = _items(reader.array(), entries, size)
        reader.expect("]")
        reader.end()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(
            "the list of the context cannot be understood",
            hint="do klee and kleened fit? klee version",
        ) from error
    return Manifest(_identity(mode, items), _plain(name), mode, items)


def name_of(source: IO[bytes]) -> str:
    """What the user calls the context of a manifest that was decoded before."""
    reader = JsonPieces(source)
    reader.first("[")
    return _plain(str(reader.first(",")))


def _identity(mode: int, items: list[Item]) -> str:
    """As of ``encode("", mode, items)``, without making all of it."""
    empty = encode("", mode, ())
    digest = hashlib.sha256(empty[:-2])
    for start in range(0, len(items), _BATCH):
        batch = json.dumps(items[start : start + _BATCH], separators=(",", ":"))[1:-1]
        digest.update(b"," * (start > 0) + batch.encode())
    digest.update(empty[-2:])
    return digest.hexdigest()[:32]


def _plain(name: str) -> str:
    """A name as messages and logs can have it: in one line, and no longer than a path."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name[:LONGEST_PATH])


def _items(rows: Iterable[Any], entries: int, size: int) -> list[Item]:
    seen: dict[str, str] = {"": DIRECTORY}
    items: list[Item] = []
    total = 0
    for row in rows:
        item = _item(row)
        parent = item.path.rpartition("/")[0]
        if item.path in seen:
            raise _refused(item.path, "it is listed twice")
        if seen.get(parent) != DIRECTORY:
            raise _refused(item.path, "its directory is not listed before it")
        seen[item.path] = item.kind
        items.append(item)
        total += item.size
        if len(items) > entries:
            raise _too_large(f"it has more than {entries} files and directories")
        if total > size:
            raise _too_large(f"its files have more than {size} bytes")
    return items


def _item(row: Any) -> Item:
    if not isinstance(row, list) or len(row) != len(Item._fields):
        raise _refused(str(row)[:80], "it is malformed")
    item = Item(*row)
    if not isinstance(item.path, str) or not isinstance(item.content, str):
        raise _refused(str(item.path)[:80], "it is malformed")
    if not all(type(number) is int for number in (item.mode, item.mtime, item.size)):
        raise _refused(item.path, "it is malformed")
    _check_path(item.path)
    _check_values(item)
    return item


def _check_path(path: str) -> None:
    if path.startswith("/"):
        raise _refused(path, "its path is absolute")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _refused(path, "its path is not plain: it may have no empty part, no '.' and no '..'")
    if "\0" in path or len(_bytes(path)) > LONGEST_PATH:
        raise _refused(path, "its path is too long, or has a NUL in it")
    if any(len(_bytes(part)) > LONGEST_NAME for part in parts):
        raise _refused(path, f"a name in its path is longer than {LONGEST_NAME} bytes")


def _check_values(item: Item) -> None:
    if not 0 <= item.mode <= 0o7777 or abs(item.mtime) > _LATEST:
        raise _refused(item.path, "its mode or time is out of range")
    if item.kind == FILE:
        if item.size < 0 or not _DIGEST.fullmatch(item.content):
            raise _refused(item.path, "its size or digest is not valid")
    elif item.kind == LINK:
        target = _bytes(item.content)
        if item.size or not target or b"\0" in target or len(target) > LONGEST_PATH:
            raise _refused(item.path, "the link's target is not valid")
    elif item.kind != DIRECTORY or item.size or item.content:
        raise _refused(item.path, "it is neither a file, a directory nor a link")


def _bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text!r} is no name of a file") from error


def _refused(path: str, reason: str) -> InvalidInput:
    shown = path if len(path) <= 80 else f"{path[:40]}…{path[-39:]}"
    return InvalidInput(
        f"the list of the context cannot be trusted: {shown!a}: {reason}",
    )


def _too_large(why: str) -> InvalidInput:
    return InvalidInput(
        f"the build context is too large: {why}",
        hint="leave out by .dockerignore what the build does not need, or raise 'context_max_size' in the "
        "daemon's configuration",
    )
