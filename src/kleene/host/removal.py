"""Removing what lies in a tree that may be hostile: however deep it is, and without following a link.

``shutil.rmtree`` calls itself for every directory in a directory, and holds a descriptor for each: a build
step, a context or an archive can make more of them than it can bear. Here two descriptors are open at most.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_at(directory: int, name: str) -> None:
    """Remove what has this name in an open directory: a directory with all in it. No link is followed.

    Raises:
        OSError: as unlink(2), rmdir(2); ``EBUSY`` if somebody moved a directory meanwhile.
    """
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        _empty(os.open(name, _DIRECTORY, dir_fd=directory))
        os.rmdir(name, dir_fd=directory)


def remove(path: Path) -> None:
    """Remove a file, a link, or a directory with all in it.

    Raises:
        OSError: see :func:`remove_at`; ``ENOENT`` if there is nothing.
    """
    above = os.open(path.parent, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        remove_at(above, path.name)
    finally:
        os.close(above)


def discard(path: Path) -> None:
    """Remove what is there, if it can be: for what a later look takes away."""
    with contextlib.suppress(OSError):
        remove(path)


def _empty(fd: int) -> None:
    """Remove all that is in a directory, whose descriptor is closed.

    The way back up is by ``..``, which leads elsewhere if somebody moved the directory: so it is looked at.
    """
    above: list[tuple[tuple[int, int], list[str]]] = []
    try:
        left = _without_files(fd)
        while left or above:
            if left:
                deeper = os.open(left[-1], _DIRECTORY, dir_fd=fd)
                above.append((_identity(fd), left))
                os.close(fd)
                fd = deeper
                left = _without_files(fd)
                continue
            higher = os.open("..", _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = higher
            wanted, left = above.pop()
            if _identity(fd) != wanted:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), left[-1])
            os.rmdir(left.pop(), dir_fd=fd)
    finally:
        os.close(fd)


def _without_files(fd: int) -> list[str]:
    """Remove what is no directory from one; the names of the directories that are left."""
    with os.scandir(fd) as found:
        entries = list(found)
    directories = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            directories.append(entry.name)
        else:
            os.unlink(entry.name, dir_fd=fd)
    return directories


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
