"""Copying files and trees into a root, between descriptors.

The source is opened without following links, the target inside its root (see ``inroot``), so neither a link
nor a change made during the copy can lead out of either. A file that is no longer what the walk saw stops
the copy. Content, mode, mtime, capabilities and ``user.*`` attributes, holes and hard links are kept; owners
only if asked. What the copy made until an error is left behind: the caller throws the target away.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from typing import Protocol, Self, TypeVar

from kleene.errors import InvalidInput
from kleene.host import filedata, inroot, oserrors, removal
from kleene.host.treewalk import Entry, Files, LastDirectory, Signature, changed, signature, walk

Owner = tuple[int, int]
"""User and group id."""

_T = TypeVar("_T")
_W = TypeVar("_W")
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
SPECIAL = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
"""The types of files that cannot be copied."""


class Contents(Protocol):
    """Who wants to know what the files have that are copied."""

    def wants(self, key: Signature, /) -> bool:
        """Whether the content of the file that has this signature is not known yet."""
        ...

    def learn(self, key: Signature, content: bytes, attributes: dict[str, bytes], /) -> None:
        """Take the SHA-256 of a content as it was copied, and the extended attributes that were."""
        ...


def copy_tree(source: inroot.Root, path: str, target: inroot.Root) -> None:
    """Copy the content of the directory ``path`` in one root into another root; blocking, for a thread.

    Owners are kept; the target itself gets owner, mode and mtime of the source.

    Raises:
        InvalidInput: a socket or a device is in the source.
        Conflict: the source changed during the copy.
        HostUnavailable: the target is full, or the system refuses something.
        OSError: ``path`` cannot be opened as a directory.
    """
    base = inroot.open_in_root(source, path, inroot.O_PATH | os.O_DIRECTORY)
    try:
        entries = ((entry, f"/{entry.path}") for entry in walk(base))
        copy_entries(base, entries, target, owner=None)
    finally:
        os.close(base)


def copy_entries(
    source: int,
    entries: Iterable[tuple[Entry, str]],
    target: inroot.Root,
    *,
    owner: Owner | None = (0, 0),
    mode: Callable[[int], int] | None = None,
    contents: Contents | None = None,
    base: str = "/",
) -> list[inroot.Replaced]:
    """Copy entries of a walk of ``source`` to paths in ``target``; blocking, for a thread.

    A directory must come before what is in it. Its metadata go to an existing directory too; a link or a file
    it replaces. Other files replace what is there, a directory with all in it.

    Args:
        entries: each with its path in the target.
        owner: of all that is copied; ``None`` keeps the source's.
        mode: gives the permission bits of a file or directory from its ``st_mode``; ``None`` keeps them.
        contents: is told of what is copied; of hard links of one file, of the first.
        base: the path of a directory in the target; if it is a link to one, that is not replaced.

    Returns:
        What was replaced by directories.

    Raises:
        InvalidInput, Conflict, HostUnavailable: see :func:`copy_tree`.
    """
    with (
        inroot.root_fd(target) as target_fd,
        _Copier(source, target_fd, owner, mode, contents, base) as copier,
    ):
        for entry, destination in entries:
            try:
                copier.copy(entry, destination)
            except OSError as error:
                failed = f"'{entry.path}' cannot be copied to '{destination}'"
                raise oserrors.explain(error, failed) from error
        copier.finish()
        return copier.replaced


class _Copier:
    """One copy: its open directories, the hard links seen, the directories that still need their times."""

    def __init__(
        self,
        source: int,
        target: int,
        owner: Owner | None,
        mode: Callable[[int], int] | None,
        contents: Contents | None,
        base: str,
    ) -> None:
        self.replaced: list[inroot.Replaced] = []
        self._base = base.strip("/")
        self._target, self._owner, self._mode = target, owner, mode or stat.S_IMODE
        self._contents = contents
        self._from, self._to = Files(source), LastDirectory()
        self._links: dict[tuple[int, int], str] = {}
        self._directories: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._from.close()
        self._to.close()

    def copy(self, entry: Entry, destination: str) -> None:
        """Copy one entry."""
        kind = stat.S_IFMT(entry.stat.st_mode)
        if kind == stat.S_IFDIR:
            self._copy_directory(entry, destination)
            return
        parent, _, name = destination.rpartition("/")
        self._enter_target(parent)
        if kind == stat.S_IFREG:
            self._copy_file(entry, destination, name)
        elif kind == stat.S_IFLNK:
            self._copy_link(entry, name)
        elif kind == stat.S_IFIFO:
            self._copy_fifo(entry, name)
        else:
            raise InvalidInput(
                f"'{entry.path}' is {SPECIAL.get(kind, 'a special file')} and cannot be copied",
                hint="remove it, or name it in .dockerignore",
            )

    def finish(self) -> None:
        """Set the mtimes of the directories, now that nothing is made in them any more."""
        for path, mtime in reversed(self._directories):
            fd = inroot.open_in_root(self._target, path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)

    def _copy_directory(self, entry: Entry, destination: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY
        if destination.strip("/") == self._base:
            fd = inroot.open_in_root(self._target, destination, flags)
        else:
            parent, _, name = destination.rstrip("/").rpartition("/")
            self._enter_target(parent)
            if (old := inroot.make_dir_over(self._to.fd, name, destination)) is not None:
                self.replaced.append(old)
            fd = os.open(name, flags | os.O_NOFOLLOW, dir_fd=self._to.fd)
        try:
            self._set_owner_and_mode(fd, entry)
        finally:
            os.close(fd)
        self._directories.append((destination, entry.stat.st_mtime_ns))

    def _copy_file(self, entry: Entry, destination: str, name: str) -> None:
        if entry.stat.st_nlink > 1:
            inode = entry.stat.st_dev, entry.stat.st_ino
            first = self._links.setdefault(inode, destination)
            if first != destination:
                self._make(self._link_to, first, name)
                return
        source = self._from.open(entry)
        try:
            mode = self._mode(entry.stat.st_mode) & 0o777
            target = self._make(self._create, mode, name)
            try:
                self._fill(source, target, entry)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _fill(self, source: int, target: int, entry: Entry) -> None:
        """Copy content and metadata. What is learnt of the content is of an unchanged file, or nothing is."""
        status, contents, content = entry.stat, self._contents, None
        key = signature(status)
        if contents is not None and contents.wants(key):
            content = hashlib.sha256()
        filedata.copy_data(source, target, status, content)
        self._set_owner_and_mode(target, entry)
        # After the owner: a change of owner takes the capabilities away (capabilities(7)).
        attributes = filedata.xattrs(source)
        if attributes:
            filedata.set_xattrs(target, attributes)
        if signature(os.fstat(source)) != key:
            raise changed(entry.path)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
        if contents is not None and content is not None:
            contents.learn(key, content.digest(), attributes)

    def _copy_link(self, entry: Entry, name: str) -> None:
        self._make(self._symlink, entry.target, name)
        self._finish_unopened(entry, name)

    def _copy_fifo(self, entry: Entry, name: str) -> None:
        self._make(self._mkfifo, 0o600, name)
        self._finish_unopened(entry, name)
        inroot.chmod_fifo(self._to.fd, name, self._mode(entry.stat.st_mode))

    def _finish_unopened(self, entry: Entry, name: str) -> None:
        uid, gid = self._owner or (entry.stat.st_uid, entry.stat.st_gid)
        os.chown(name, uid, gid, dir_fd=self._to.fd, follow_symlinks=False)
        times = entry.stat.st_mtime_ns, entry.stat.st_mtime_ns
        os.utime(name, ns=times, dir_fd=self._to.fd, follow_symlinks=False)

    def _enter_target(self, parent: str) -> None:
        if not self._to.is_at(parent):
            flags = inroot.O_PATH | os.O_DIRECTORY
            self._to.move(parent, inroot.open_in_root(self._target, f"{parent}/", flags))

    def _make(self, make: Callable[[_W, str], _T], what: _W, name: str) -> _T:
        """Call ``make``; if the name is taken, take that away first."""
        try:
            return make(what, name)
        except FileExistsError:
            removal.remove_at(self._to.fd, name)
        return make(what, name)

    def _create(self, mode: int, name: str) -> int:
        return os.open(name, _MAKE, mode, dir_fd=self._to.fd)

    def _mkfifo(self, mode: int, name: str) -> None:
        os.mkfifo(name, mode, dir_fd=self._to.fd)

    def _symlink(self, target: str, name: str) -> None:
        os.symlink(target, name, dir_fd=self._to.fd)

    def _link_to(self, first: str, name: str) -> None:
        parent, _, old = first.rpartition("/")
        flags = inroot.O_PATH | os.O_DIRECTORY
        fd = inroot.open_in_root(self._target, f"{parent}/", flags)
        try:
            os.link(old, name, src_dir_fd=fd, dst_dir_fd=self._to.fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _set_owner_and_mode(self, fd: int, entry: Entry) -> None:
        """What is so already is left alone: looking costs a tenth of a change."""
        uid, gid = self._owner or (entry.stat.st_uid, entry.stat.st_gid)
        mode, now = self._mode(entry.stat.st_mode), os.fstat(fd)
        owned = (now.st_uid, now.st_gid) == (uid, gid)
        if not owned:
            os.fchown(fd, uid, gid)
        if not owned or stat.S_IMODE(now.st_mode) != mode:
            os.fchmod(fd, mode)
