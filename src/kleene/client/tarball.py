"""Local files as tar streams, and tar streams as local files.

A stream that comes out of a container may be hostile: nothing is written outside of the place that was named,
and no link below it is followed, whether this stream has made it or an earlier one.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound

_CHUNK = 256 * 1024
_END = bytes(2 * tarfile.BLOCKSIZE)


def is_content(path: str) -> bool:
    """Whether a path means the content of a directory, not the directory: ``DIRECTORY/.``."""
    return os.path.basename(path) == "."  # noqa: PTH119 - pathlib drops the dot


def pack(path: str, name: str, *, owners: bool) -> Iterator[bytes]:
    """A tar stream of what is at ``path``; of a link, the link itself.

    Args:
        name: of the entry at the top.
        owners: keep them by number; else all belongs to root.

    Raises:
        NotFound: nothing is there.
        InvalidInput: it is a device or a socket, or not the directory that it is named as.
        Conflict: a file becomes shorter while it is read.
        KleeneError: something cannot be read.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        raise NotFound(f"'{path}' does not exist") from None
    except OSError as error:
        raise _failed(error, path) from error
    if not stat.S_ISDIR(kind) and not _is_copied(kind):
        raise InvalidInput(f"'{path}' is a device or a socket", hint="these are not copied")
    try:
        yield from _pack(path, name, owners=owners)
    except OSError as error:
        raise _failed(error, path) from error


def _pack(path: str, name: str, *, owners: bool) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT) as headers:
        for here, shown in _walk(path, name):
            info = headers.gettarinfo(here, shown)
            if info is None:  # a socket
                continue
            info.uname = info.gname = ""
            if not owners:
                info.uid = info.gid = 0
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if info.isreg():
                yield from _content(here, info.size)
    yield _END


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    """What is to be packed, directories before what is in them, with its name in the archive."""
    yield path, name
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for entry in sorted(os.listdir(path)):  # noqa: PTH208
            yield from _walk(os.path.join(path, entry), f"{name}/{entry}")  # noqa: PTH118


def _content(path: str, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:  # noqa: PTH123
        while left and (data := file.read(min(_CHUNK, left))):
            left -= len(data)
            yield data
    if left:
        raise Conflict(f"'{path}' changed while it was read", hint="try again")
    yield bytes(-size % tarfile.BLOCKSIZE)


def unpack(chunks: Iterable[bytes], destination: str, *, content: bool, owners: bool) -> None:
    """Write a tar stream to a directory that is there, or under a new name in one.

    Args:
        content: leave out the entry at the top, and put what is in it in its place.
        owners: keep them by number.

    Raises:
        NotFound: there is no such directory.
        Conflict: something is in the way.
        InvalidInput: the archive tries to get out of its place.
        KleeneError: something cannot be written.
    """
    try:
        _unpack(chunks, destination, content=content, owners=owners)
    except OSError as error:
        raise _failed(error, destination) from error


def _unpack(chunks: Iterable[bytes], destination: str, *, content: bool, owners: bool) -> None:
    with tarfile.open(fileobj=cast(IO[bytes], _Chunks(chunks)), mode="r|") as archive:
        writer: _Writer | None = None
        for member in archive:
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if writer is None:
                base, top, bare = _place(destination, member, content=content)
                writer = _Writer(archive, base, top, len(parts) if bare or top else 0, owners)
            writer.add(member, parts)
            archive.members = []  # type: ignore[attr-defined]  # else every entry would be kept
        if writer is not None:
            writer.finish()


def _place(
    destination: str, top: tarfile.TarInfo, *, content: bool
) -> tuple[Path, str | None, bool]:
    """The directory to write in, the new name of the top, and whether the top is left out."""
    path = Path(destination)
    if path.is_dir():
        return path, None, content
    path = Path(os.path.realpath(destination))  # whoever names a link means what it points to
    if path.exists() and (top.isdir() or destination.endswith("/")):
        raise Conflict(f"'{destination}' is not a directory")
    needed = path if destination.endswith("/") and not top.isdir() else path.parent
    if not needed.is_dir():
        shown = destination if needed == path else os.path.dirname(destination)  # noqa: PTH120
        raise NotFound(
            f"directory '{shown or needed}' does not exist",
            hint=f"make it first: mkdir -p {needed}",
        )
    return path.parent, path.name, False


class _Writer:
    """One stream being written."""

    def __init__(
        self, archive: tarfile.TarFile, base: Path, top: str | None, skipped: int, owners: bool
    ) -> None:
        self._archive = archive
        self._base = base
        self._top = top
        self._skipped = skipped
        self._owners = owners
        self._written: set[Path] = set()
        self._directories: list[tuple[Path, tarfile.TarInfo]] = []

    def add(self, member: tarfile.TarInfo, parts: list[str]) -> None:
        """Write one entry."""
        path = self._path(parts)
        if path == self._base:
            return
        self._check_parents(path)
        if member.isdir():
            if not _is_real_directory(path):
                if path.is_symlink():
                    raise _link_in_the_way(path)
                path.mkdir(0o700)
            self._directories.append((path, member))
            return
        if os.path.lexists(path):
            if _is_real_directory(path):
                raise Conflict(f"'{path}' is a directory")
            if not _is_copied(path.lstat().st_mode):
                raise Conflict(
                    f"'{path}' is a device or a socket", hint="remove it, or name another place"
                )
            path.unlink()
        self._make(member, path)

    def _make(self, member: tarfile.TarInfo, path: Path) -> None:
        if member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            first = self._path([p for p in member.linkname.split("/") if p not in ("", ".")])
            if first not in self._written:
                raise _refused(member)
            os.link(first, path, follow_symlinks=False)
            return
        elif member.isfifo():
            os.mkfifo(path)
        elif member.isreg():
            self._write(member, path)
        else:
            return
        self._written.add(path)
        if not member.issym():
            self._set_metadata(path, member)

    def _write(self, member: tarfile.TarInfo, path: Path) -> None:
        source = self._archive.extractfile(member)
        assert source is not None
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123
            while data := source.read(_CHUNK):
                file.write(data)

    def finish(self) -> None:
        """Set modes and times of the directories, now that nothing is made in them any more."""
        for path, member in reversed(self._directories):
            self._set_metadata(path, member)

    def _set_metadata(self, path: Path, member: tarfile.TarInfo) -> None:
        if self._owners:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        # What runs with another's rights in the container must not do so here, unless it is kept whole.
        path.chmod(member.mode & (0o7777 if self._owners else 0o777))
        os.utime(path, (member.mtime, member.mtime))

    def _path(self, parts: list[str]) -> Path:
        if ".." in parts:
            raise InvalidInput("the archive cannot be trusted: a name in it has '..'")
        top = [self._top] if self._top is not None else []
        return self._base.joinpath(*top, *parts[self._skipped :])

    def _check_parents(self, path: Path) -> None:
        parent = path.parent
        while parent != self._base:
            if not _is_real_directory(parent):
                raise _link_in_the_way(parent)
            parent = parent.parent


class _Chunks:
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end."""
        parts, have = [self._rest], len(self._rest)
        while have < size and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def _is_copied(mode: int) -> bool:
    """Whether it is a file, a link or a named pipe, and so may be copied, and replaced."""
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)


def _is_real_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _link_in_the_way(path: Path) -> Conflict:
    return Conflict(f"'{path}' is not a directory", hint="a link is not followed there")


def _failed(error: OSError, path: str) -> KleeneError:
    reason = (error.strerror or str(error)).lower()
    return KleeneError(f"'{error.filename or path}' cannot be copied: {reason}")


def _refused(member: tarfile.TarInfo) -> InvalidInput:
    return InvalidInput(
        f"the archive cannot be trusted: '{member.name}' is a hard link to a file that is not in it"
    )
