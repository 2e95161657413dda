"""Walking a directory tree by file descriptors, without following a link.

What is found is a picture of one moment: each entry carries its stat(2) result, so that who opens the
file later can tell whether it is still the same. Nothing stays open between two entries' directories.
"""

from __future__ import annotations

import errno
import operator
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kleene.errors import Conflict
from kleene.host import inroot


class Entry(NamedTuple):
    """A file, directory or link.

    Attributes:
        path: relative to the root of the walk; ``""`` is the root itself.
        stat: as lstat(2) gave it.
        target: of a symbolic link; else empty.
    """

    path: str
    stat: os.stat_result
    target: str = ""


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

Signature = tuple[int, int, int, int, int]


signature: Callable[[os.stat_result], Signature] = operator.attrgetter(
    "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"
)
"""What changes when a file's content does: device, inode, size, mtime and ctime in nanoseconds."""


def changed(path: str) -> Conflict:
    """The error for a file that is not what it was a moment ago."""
    return Conflict(
        f"'{path}' changed while it was read",
        hint="try again when nothing writes to it",
    )


def walk(
    root: int,
    path: str = "",
    *,
    skip: Callable[[str, bool], bool] | None = None,
    changing: bool = False,
) -> Iterator[Entry]:
    """The directory ``path`` below ``root`` and all in it.

    Names are sorted; a directory comes before what is in it, and its other entries before its
    subdirectories, so that the entries of one directory are neighbours.

    Args:
        skip: given a path and whether it is a directory, tells whether to leave it out with all in it.
        changing: what vanishes during the walk is left out.

    Raises:
        Conflict: a directory vanished or was replaced during the walk.
        OSError: as open(2).
    """
    pending = [path]
    while pending:
        here = pending.pop()
        try:
            fd = _open_listed(root, here)
        except Conflict:
            if changing:
                continue
            raise
        try:
            yield Entry(here, os.fstat(fd))
            subdirectories = []
            for entry in _entries(fd, here, skip, changing):
                if stat.S_ISDIR(entry.stat.st_mode):
                    subdirectories.append(entry.path)
                else:
                    yield entry
        finally:
            os.close(fd)
        pending.extend(reversed(subdirectories))


class LastDirectory:
    """The directory opened last: neighbours in a walk share it."""

    def __init__(self) -> None:
        self._path: str | None = None
        self.fd = -1

    def is_at(self, path: str) -> bool:
        return self._path == path

    def move(self, path: str, fd: int) -> None:
        self.close()
        self._path, self.fd = path, fd

    def close(self) -> None:
        if self._path is not None:
            os.close(self.fd)
            self._path = None


class Files:
    """Opens files that a walk of ``root`` has found, in its order. Close it after the last."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._directory = LastDirectory()

    def open(self, entry: Entry) -> int:
        """Open what should be a regular file, to be read; a named pipe that took its place does not block.

        Raises:
            Conflict: it is not there any more, or no such file.
            OSError: as open(2).
        """
        parent, _, name = entry.path.rpartition("/")
        try:
            if not self._directory.is_at(parent):
                flags = inroot.O_PATH | os.O_DIRECTORY
                self._directory.move(parent, inroot.open_without_links(self._root, parent, flags))
            return os.open(name, _READ, dir_fd=self._directory.fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                raise changed(entry.path) from error
            raise

    def close(self) -> None:
        self._directory.close()


def _open_listed(root: int, path: str) -> int:
    try:
        return inroot.open_without_links(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise changed(path) from error
        raise


_name = operator.attrgetter("name")


def _entries(
    fd: int, directory: str, skip: Callable[[str, bool], bool] | None, changing: bool
) -> Iterator[Entry]:
    prefix = f"{directory}/" if directory else ""
    with os.scandir(fd) as found:
        listed = sorted(found, key=_name)
    for item in listed:
        name = item.name
        path = prefix + name
        if skip is not None and skip(path, item.is_dir(follow_symlinks=False)):
            continue
        try:
            status = item.stat(follow_symlinks=False)
            target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(status.st_mode) else ""
        except FileNotFoundError as error:
            if changing:
                continue
            raise changed(path) from error
        yield Entry(path, status, target)
