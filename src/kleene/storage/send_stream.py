"""The paths that a stream of ``btrfs send`` is about. Pure.

A stream is what has to be done to an old tree to make a new one of it: files are made under passing names and
renamed, directories move with all that is in them. What is read here is only which paths it names, under
the names that they have at its end; what became of them is seen in the two trees.

Layout: "Btrfs send stream format" in the kernel's fs/btrfs/send.h, version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

MAGIC = b"btrfs-stream\0"
_HEADER = struct.Struct("<IHI")
_ATTRIBUTE = struct.Struct("<HH")
_PATH, _PATH_TO, _PATH_LINK = 15, 16, 17
_CHUNK = 1 << 16
_MAKING = range(3, 9)  # MKFILE, MKDIR, MKNOD, MKFIFO, MKSOCK, SYMLINK
_RENAME = 9
_END = 21
# WRITE, CLONE, TRUNCATE, CHMOD, CHOWN, UPDATE_EXTENT, SET_XATTR and REMOVE_XATTR change what is there.
_WRITING = frozenset((13, 14, 15, 16, 17, 18, 19, 22))


@dataclass
class Node:
    """A name in a directory.

    Attributes:
        named: the stream names it.
        written: it changes what is there.
        passing: it makes something of this name, which neither tree has.
    """

    named: bool = False
    written: bool = False
    passing: bool = False
    children: dict[str, Node] = field(default_factory=dict)


class Names:
    """The names of a stream as a tree, in which a directory that is renamed takes along what is in it.

    A name that was given up stays, for it may be one of the old tree; but not one under which something new
    was made: it always gets its own name by a rename.
    """

    def __init__(self) -> None:
        self.root = Node()

    def name(self, path: str, *, written: bool = False, made: bool = False) -> None:
        """Keep a path."""
        node = self._node(path)
        node.named = True
        node.written |= written
        node.passing |= made

    def rename(self, old: str, new: str) -> None:
        """What was named below ``old`` is from now on below ``new``."""
        moved = self._node(old)
        moved.named = True
        target = self._node(new)
        target.named = True
        target.written |= moved.written
        target.children, moved.children = moved.children, {}
        if moved.passing:
            parent, _, name = old.rpartition("/")
            del self._node(parent).children[name]

    def paths(self) -> Iterator[tuple[str, bool]]:
        """Every path that was named, the shorter before the longer; and whether it was written to."""
        waiting = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node.named:
                yield path, node.written
            for name, child in node.children.items():
                waiting.append((f"{path}/{name}" if path else name, child))

    def _node(self, path: str) -> Node:
        node = self.root
        for part in path.split("/"):
            if part:
                node = node.children.setdefault(part, Node())
        return node


def read(stream: IO[bytes]) -> Names:
    """The names in a stream, which is read to its end.

    Raises:
        ValueError: it is none.
    """
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("not a stream of btrfs send")
    stream.read(4)  # its version: those after 1 only add commands
    names = Names()
    for command, attributes in _commands(stream):
        path = attributes.get(_PATH)
        if path is None:
            continue
        target = attributes.get(_PATH_TO)
        if command == _RENAME and target is not None:
            names.rename(path, target)
        else:
            names.name(path, written=command in _WRITING, made=command in _MAKING)
    return names


def _commands(stream: IO[bytes]) -> Iterator[tuple[int, dict[int, str]]]:
    while head := stream.read(_HEADER.size):
        length, command, _checksum = _HEADER.unpack(head)
        body = stream.read(length)
        if command == _END:  # who sends it is not done before the rest is taken
            while stream.read(_CHUNK):
                pass
            return
        yield command, dict(_attributes(body))


def _attributes(body: bytes) -> Iterator[tuple[int, str]]:
    position = 0
    while position < len(body):
        kind, length = _ATTRIBUTE.unpack_from(body, position)
        position += _ATTRIBUTE.size
        if kind in (_PATH, _PATH_TO, _PATH_LINK):
            yield kind, body[position : position + length].decode(errors="surrogateescape")
        position += length
