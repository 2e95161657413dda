"""The comparison of two frozen trees, for backends without a quicker way. Reads; holds nothing afterwards.

A snapshot keeps every inode's number and times, and so does a clone: an inode with the same number, change
time and size was not written. The change time is only as fine as the kernel's clock tick, so files that
changed about when the older snapshot was taken are compared byte by byte.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path

from kleene.storage.driver import Change

_PATH_MAX = 3500
_CHUNK = 1 << 20
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Tree:
    """A tree that nobody writes to, read through the descriptor of its root."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _OPEN_DIRECTORY)

    def close(self) -> None:
        os.close(self._root)

    def open_directory(self, path: str) -> int:
        """A descriptor of ``path``; a path that is longer than the kernel takes is walked in pieces."""
        fd = os.dup(self._root)
        while path:
            piece = path
            if len(os.fsencode(path)) > _PATH_MAX:
                piece = path[: path.index("/", 1)]
            path = path[len(piece) + 1 :]
            try:
                deeper = os.open(piece, _OPEN_DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        return fd

    def entries(self, path: str) -> dict[str, os.stat_result]:
        """What lies in a directory, sorted by name."""
        fd = self.open_directory(path)
        try:
            with os.scandir(fd) as found:
                entries = {e.name: e.stat(follow_symlinks=False) for e in found}
        finally:
            os.close(fd)
        return dict(sorted(entries.items()))

    def root(self) -> os.stat_result:
        return os.fstat(self._root)

    def target(self, path: str) -> str:
        """Where a symbolic link points."""
        with self._parent(path) as (directory, name):
            return os.readlink(name, dir_fd=directory)

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes of a regular file, in chunks."""
        with self._parent(path) as (directory, name):
            fd = os.open(name, _OPEN_FILE, dir_fd=directory)
        with os.fdopen(fd, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        head, _, name = path.rpartition("/")
        directory = self.open_directory(head)
        try:
            yield directory, name
        finally:
            os.close(directory)


def changes(older: Path, newer: Path, *, unsure_since: float) -> Generator[Change, None, None]:
    """What differs between two read-only trees, one the past of the other, directories before their content.

    The root itself is ``.``. A directory is modified if its mode or owner is another; what came and went in
    it is told path by path.

    Args:
        unsure_since: files that changed at or after this time (seconds since the epoch) are compared byte
            by byte where nothing else tells them apart. A little before the older snapshot was taken.
    """
    old = _Tree(older)
    try:
        new = _Tree(newer)
        try:
            if _signature(old.root()) != _signature(new.root()):
                yield Change("modified", ".")
            yield from _compare(old, new, unsure_since)
        finally:
            new.close()
    finally:
        old.close()


def _compare(old: _Tree, new: _Tree, unsure_since: float) -> Iterator[Change]:
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        before, after = old.entries(directory), new.entries(directory)
        for name in sorted(before.keys() | after.keys()):
            path = f"{directory}/{name}" if directory else name
            was, now = before.get(name), after.get(name)
            if was and now and _is_directory(was) and _is_directory(now):
                waiting.append(path)
            if was and now and _differs(old, new, path, was, now, unsure_since):
                yield Change("modified", path)
            yield from _gone_and_come(old, new, path, was, now)


def _gone_and_come(
    old: _Tree, new: _Tree, path: str, was: os.stat_result | None, now: os.stat_result | None
) -> Iterator[Change]:
    """What is on one side only: the path, or what lies below it where it is a directory on one side only."""
    if now is None:
        yield Change("removed", path)
    if was is None:
        yield Change("added", path)
    if was and _is_directory(was) and not (now and _is_directory(now)):
        yield from (Change("removed", p) for p in _below(old, path))
    if now and _is_directory(now) and not (was and _is_directory(was)):
        yield from (Change("added", p) for p in _below(new, path))


def _below(tree: _Tree, path: str) -> Iterator[str]:
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        for name, found in tree.entries(directory).items():
            yield f"{directory}/{name}"
            if _is_directory(found):
                waiting.append(f"{directory}/{name}")


def _differs(
    old: _Tree, new: _Tree, path: str, was: os.stat_result, now: os.stat_result, unsure_since: float
) -> bool:
    if _signature(was) != _signature(now):
        return True
    if now.st_ctime < unsure_since:
        return False
    if stat.S_ISLNK(now.st_mode):
        return old.target(path) != new.target(path)
    if not stat.S_ISREG(now.st_mode):
        return False
    pairs = zip(old.read(path), new.read(path), strict=False)
    return any(one != other for one, other in pairs)


def _signature(found: os.stat_result) -> tuple[int, ...]:
    attributes = (found.st_mode, found.st_uid, found.st_gid, found.st_rdev, found.st_ino)
    if _is_directory(found):
        return attributes[:3]
    return (*attributes, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_directory(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)
