"""The comparison of two frozen trees, for backends without a quicker way. Reads; holds nothing afterwards.

A snapshot keeps every inode's number and times, and so does a clone: an inode with the same number, change
time and size was not written. The change time is only as fine as the kernel's clock tick, so files that
changed about when the older snapshot was taken are compared byte by byte.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from kleene.host import inroot
from kleene.storage.driver import Change

_PATH_MAX = 3500
_CHUNK = 1 << 20
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
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

    def find(self, path: str) -> os.stat_result | None:
        """What is at ``path``, which no link leads through; ``None`` if nothing is."""
        try:
            fd = inroot.open_without_links(self._root, path, inroot.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def below(self, path: str) -> Iterator[tuple[str, int | None]]:
        """Every path below a directory, with the sizes of the regular files."""
        waiting = [path]
        while waiting:
            directory = waiting.pop()
            for name, found in self.entries(directory).items():
                yield f"{directory}/{name}", size(found)
                if is_directory(found):
                    waiting.append(f"{directory}/{name}")

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


@dataclass(frozen=True)
class Kinship:
    """What is known of two trees before they are compared.

    Attributes:
        unsure_since: what has the same inode in both and was changed before this time (seconds since the
            epoch) is the same: a little before the snapshot was taken that is the past of both. ``None``: the
            trees have nothing to do with each other, so inodes and times mean nothing.
        by_content: what was written is compared by content, though its inode tells that it was written.
    """

    unsure_since: float | None = None
    by_content: bool = True


def changes(older: Path, newer: Path, kinship: Kinship) -> Generator[Change, None, None]:
    """What differs between two read-only trees, directories before their content.

    The root itself is ``.``. A directory is modified if its mode or owner is another; what came and went in
    it is told path by path.
    """
    with opened(older, newer) as (old, new):
        if signature(old.root()) != signature(new.root()):
            yield Change("modified", ".")
        yield from compare(old, new, kinship)


@contextlib.contextmanager
def opened(older: Path, newer: Path) -> Iterator[tuple[Tree, Tree]]:
    """Both trees, as long as they are held."""
    with contextlib.closing(Tree(older)) as old, contextlib.closing(Tree(newer)) as new:
        yield old, new


def compare(old: Tree, new: Tree, kinship: Kinship, top: str = "") -> Iterator[Change]:
    """What differs below ``top``, a directory in both trees; as :func:`changes`."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        before, after = old.entries(directory), new.entries(directory)
        for name in sorted(before.keys() | after.keys()):
            path = f"{directory}/{name}" if directory else name
            was, now = before.get(name), after.get(name)
            if was and now and is_directory(was) and is_directory(now):
                waiting.append(path)
            if was and now and _differs(old, new, path, was, now, kinship):
                yield Change("modified", path, size(was), size(now))
            yield from gone_and_come(old, new, path, was, now)


def gone_and_come(
    old: Tree, new: Tree, path: str, was: os.stat_result | None, now: os.stat_result | None
) -> Iterator[Change]:
    """What is on one side only: the path, or what lies below it where it is a directory on one side only."""
    if now is None:
        yield Change("removed", path, size(was), None)
    if was is None:
        yield Change("added", path, None, size(now))
    if was and is_directory(was) and not (now and is_directory(now)):
        yield from (Change("removed", p, n, None) for p, n in old.below(path))
    if now and is_directory(now) and not (was and is_directory(was)):
        yield from (Change("added", p, None, n) for p, n in new.below(path))


def _differs(
    old: Tree,
    new: Tree,
    path: str,
    was: os.stat_result,
    now: os.stat_result,
    kinship: Kinship,
) -> bool:
    untouched = kinship.unsure_since is not None and signature(was) == signature(now)
    if untouched and now.st_ctime < (kinship.unsure_since or 0):
        return False
    if not kinship.by_content and not untouched:
        return True
    if _content_free(was) != _content_free(now):
        return True
    if stat.S_ISLNK(now.st_mode):
        return old.target(path) != new.target(path)
    if not stat.S_ISREG(now.st_mode):
        return False
    pairs = zip(old.read(path), new.read(path), strict=False)
    return any(one != other for one, other in pairs)


def size(found: os.stat_result | None) -> int | None:
    """Bytes of a regular file; ``None`` for everything else."""
    return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None


def _content_free(found: os.stat_result) -> tuple[int, ...]:
    """What two files of different trees must have in common before their contents are looked at."""
    length = 0 if is_directory(found) else found.st_size
    return found.st_mode, found.st_uid, found.st_gid, found.st_rdev, length


def signature(found: os.stat_result) -> tuple[int, ...]:
    """What stays the same while nobody writes to a file, in a tree and in what was cloned from it."""
    attributes = (found.st_mode, found.st_uid, found.st_gid, found.st_rdev, found.st_ino)
    if is_directory(found):
        return attributes[:3]
    return (*attributes, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_directory(found: os.stat_result) -> bool:
    """Whether it is one; a link to one is not."""
    return stat.S_ISDIR(found.st_mode)
