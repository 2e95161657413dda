"""Writing what is in a root that may be hostile as a tar stream, without following a link.

Kept are owners (by number), modes, times, hard links, and the attributes that belong to a file's content.
Device nodes and sockets are left out: neither is data. So is what vanishes before its turn.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Callable, Collection, Generator
from typing import IO, Protocol, cast

from kleene.host import filedata, inroot
from kleene.host.treewalk import Entry, changed, walk

_BUFFER = 64 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_LEFT_OUT = (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_XATTR = "SCHILY.xattr."  # pax header of star and GNU tar: the raw value of an attribute


class Writer(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> object: ...


def write(
    root: inroot.Root,
    path: str,
    sink: Writer,
    check: Callable[[], None],
    *,
    name: str,
    emptied: Collection[str] = (),
) -> None:
    """Write what is at ``path``, of a link the link itself; blocking, for a thread.

    Args:
        name: of the entry at the top.
        check: called for each entry; what it raises ends the writing.
        emptied: directories at the top whose content is left out.

    Raises:
        OSError: as open(2), or what ``sink`` raises.
        Conflict: a file became shorter while it was read.
    """
    base, entries = _open(root, path, emptied)
    try:
        # The walk has a directory open between two entries.
        with (
            contextlib.closing(entries),
            tarfile.open(
                fileobj=cast(IO[bytes], sink),
                mode="w|",
                bufsize=_BUFFER,
                format=tarfile.PAX_FORMAT,
                encoding="utf-8",
                errors="surrogateescape",
            ) as archive,
        ):
            tree = _Tree(archive, base)
            for entry, below in entries:
                check()
                tree.add(entry, f"{name}/{below}" if below else name)
    finally:
        os.close(base)


def _open(
    root: inroot.Root, path: str, emptied: Collection[str]
) -> tuple[int, Generator[tuple[Entry, str], None, None]]:
    """A directory, and the entries in it to write, with their paths below the top of the archive."""
    status = inroot.stat(root, path, follow=False)
    if stat.S_ISDIR(status.st_mode):
        base = inroot.open_in_root(root, path, inroot.O_PATH | os.O_DIRECTORY)

        def skip(path: str, is_directory: bool) -> bool:
            top, below, _ = path.partition("/")
            return bool(below) and top in emptied

        return base, ((entry, entry.path) for entry in walk(base, skip=skip, changing=True))
    parent, name = inroot.split(path)
    base = inroot.open_in_root(root, parent, inroot.O_PATH | os.O_DIRECTORY)
    target = os.readlink(name, dir_fd=base) if stat.S_ISLNK(status.st_mode) else ""
    return base, (each for each in [(Entry(name, status, target), "")])


class _Tree:
    """One archive: the entries in it, and the names of the files that have several."""

    def __init__(self, archive: tarfile.TarFile, base: int) -> None:
        self._archive = archive
        self._base = base
        self._links: dict[tuple[int, int], str] = {}

    def add(self, entry: Entry, name: str) -> None:
        """Add an entry under a name."""
        kind = stat.S_IFMT(entry.stat.st_mode)
        if kind in _LEFT_OUT:
            return
        if kind == stat.S_IFREG:
            self._add_file(entry, name)
            return
        info = _header(entry.stat, name)
        info.type = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}.get(
            kind, tarfile.FIFOTYPE
        )
        info.linkname = entry.target
        self._write(info)

    def _add_file(self, entry: Entry, name: str) -> None:
        try:
            fd = inroot.open_without_links(self._base, entry.path, _READ)
        except (FileNotFoundError, NotADirectoryError):
            return
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise changed(entry.path)
            info = _header(status, name)
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if status.st_nlink > 1 and first != name:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self._write(info)
                return
            info.size = status.st_size
            info.pax_headers = {
                _XATTR + key: value.decode("utf-8", "surrogateescape")
                for key, value in filedata.xattrs(fd).items()
            }
            try:
                self._write(info, file)
            except OSError as error:
                if error.errno is None:  # tarfile's word for a file that has become shorter
                    raise changed(entry.path) from error
                raise

    def _write(self, info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self._archive.addfile(info, content)
        self._archive.members.clear()  # type: ignore[attr-defined]  # else every entry would be kept


def _header(status: os.stat_result, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = status.st_mtime_ns / 1e9
    return info
