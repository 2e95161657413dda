"""Extracting the tar archive of a root file system into a directory. The archive is taken for hostile.

Names are resolved inside the directory (see ``inroot``), so what a link in the archive points to cannot be
reached through it. Kept are owners (by number), modes, times, hard links, holes, named pipes, capabilities
and ``user.*`` attributes. The rules for the rest:

- a name with a component ``..`` is refused; the ``/`` before an absolute name is left out, as tar(1) does;
- a hard link must lead to a file that the archive has put there;
- device nodes are left out: a container's ``/dev`` is made by its runtime, and a node could open the
  host's disks;
- an archive without its end mark is truncated and refused.

What was extracted until an error is left behind: the caller throws the directory away.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from kleene.errors import InvalidInput
from kleene.host import decompress, filedata, inroot, oserrors, removal
from kleene.host.decompress import Reader
from kleene.host.tarstream import TarStream

_T = TypeVar("_T")

_RESERVE = 64 * 1024 * 1024
"""Bytes that an archive must leave free, so that what else lives in the file system goes on."""

_SPACE_CHECKED_EVERY = 64 * 1024 * 1024
_YEAR_2242 = 2**33
_XATTR = "SCHILY.xattr."  # pax header of star and GNU tar: the raw value of an attribute
_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE)


@dataclass(frozen=True)
class Bounds:
    """The most bytes of content, and entries, that an archive may have."""

    size: int
    entries: int


@dataclass(frozen=True)
class Extracted:
    """What was extracted: number of entries, bytes of content, the device nodes that were left out, and what
    directories took the place of."""

    entries: int
    size: int
    devices: int
    replaced: tuple[inroot.Replaced, ...] = ()


def extract(
    source: Reader,
    target: inroot.Root,
    name: str,
    on_read: Callable[[int], None],
    place: Callable[[list[str]], list[str]] = list,
    bounds: Bounds | None = None,
    *,
    over: bool = False,
    owner: tuple[int, int] | None = None,
) -> Extracted:
    """Extract the archive that ``source`` reads into the directory ``target``; blocking, for a thread.

    Args:
        source: the archive, compressed or not. Errors of its own ``read`` come through.
        name: of the archive, for messages.
        on_read: see :func:`decompress.open_stream`.
        place: where an entry goes: from the components of its name to those of its path in ``target``.
        bounds: by default there are none but the space that there is.
        over: a file replaces a directory of its name with all in it; else only an empty one.
        owner: user and group id of all that is made; ``None`` keeps the archive's.

    Raises:
        InvalidInput: it is damaged, truncated, too large, no tar archive, or tries to get out of the
            directory.
        HostUnavailable: the target has too little space, or cannot hold what the archive has.
    """
    with inroot.root_fd(target) as root:
        try:
            stream = TarStream(decompress.open_stream(source, on_read), name)
            with _Extraction(stream, root, name, place, over=over, owner=owner) as extraction:
                return _extract(stream, extraction, name, bounds)
        except decompress.ERRORS as error:
            raise _damaged(name, str(error)) from error
        except tarfile.TarError as error:
            raise _not_understood(name, error) from error
        except OSError as error:
            if error.errno is None:
                raise _damaged(name, str(error)) from error
            raise oserrors.explain(error, f"archive '{name}' cannot be extracted") from error


def _extract(
    stream: TarStream, extraction: _Extraction, name: str, bounds: Bounds | None
) -> Extracted:
    entries = 0
    for member in stream.entries():
        entries += 1
        if bounds is not None:
            _check_bounds(bounds, name, entries, extraction.written + member.size)
        extraction.add(member)
    if not entries:
        raise InvalidInput(
            f"archive '{name}' is empty", hint="use the tar archive of a root file system"
        )
    extraction.finish()
    replaced = tuple(extraction.replaced)
    return Extracted(entries, extraction.written, extraction.devices, replaced)


def _check_bounds(bounds: Bounds, name: str, entries: int, size: int) -> None:
    for number, most, what in ((entries, bounds.entries, "entries"), (size, bounds.size, "bytes")):
        if number > most:
            raise InvalidInput(f"archive '{name}' is too large: it has more than {most} {what}")


class _Extraction:
    """One extraction: the directory opened last, and the directories that still need their times."""

    def __init__(
        self,
        stream: TarStream,
        root: int,
        name: str,
        place: Callable[[list[str]], list[str]],
        *,
        over: bool,
        owner: tuple[int, int] | None,
    ) -> None:
        self._owner = owner
        self._stream = stream
        self._over = over
        self._root = root
        self._name = name
        self._place = place
        self._parent: str | None = None
        self._fd = -1
        self._times: list[tuple[str, int]] = []
        self._unchecked = 0
        self.written = 0
        self.devices = 0
        self.replaced: list[inroot.Replaced] = []

    def __enter__(self) -> Self:
        self._check_space(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def add(self, member: tarfile.TarInfo) -> None:
        """Extract one entry."""
        path = self._path(member.name)
        if member.type in _DEVICES:
            self.devices += 1
            return
        if self._owner is not None:
            member.uid, member.gid = self._owner
        try:
            self._add(member, path)
        except (OverflowError, ValueError) as error:
            raise self._refused(path, str(error)) from error
        except OSError as error:
            if error.errno is None:  # bz2's word for damaged data
                raise
            failed = f"'{_shown(path)}' of archive '{self._name}' cannot be extracted"
            raise oserrors.explain(error, failed) from error

    def finish(self) -> None:
        """Set the times of the directories, now that nothing is made in them any more."""
        for path, mtime in reversed(self._times):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                flags = os.O_RDONLY | os.O_DIRECTORY
                fd = inroot.open_in_root(self._root, path, flags)
                try:
                    os.utime(fd, ns=(mtime, mtime))
                finally:
                    os.close(fd)

    def _add(self, member: tarfile.TarInfo, path: str) -> None:
        parent, _, name = path.rpartition("/")
        if not name and not member.isdir():
            return  # it means the target, which is a directory: tar(1) and Docker pass over it, too
        self._enter(parent)
        if member.isdir():
            self._add_directory(member, path, name)
        elif member.islnk():
            self._replace(name, lambda: self._link(member, path, name))
        elif member.issym():
            self._replace(name, lambda: os.symlink(member.linkname, name, dir_fd=self._fd))
            self._finish_unopened(member, name)
        elif member.isfifo():
            self._replace(name, lambda: os.mkfifo(name, 0o600, dir_fd=self._fd))
            self._finish_unopened(member, name)
            inroot.chmod_fifo(self._fd, name, member.mode & 0o7777)
        elif member.isreg():
            self._add_file(member, name)
        else:
            raise self._refused(path, f"it is of the unknown type {member.type!r}")

    def _add_directory(self, member: tarfile.TarInfo, path: str, name: str) -> None:
        if name:
            old = inroot.make_dir_over(self._fd, name, path)
            if old is not None:
                self.replaced.append(old)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        fd = os.open(name or ".", flags, dir_fd=self._fd)
        try:
            self._set_metadata(fd, member)
        finally:
            os.close(fd)
        self._times.append((path, _nanoseconds(member.mtime)))

    def _add_file(self, member: tarfile.TarInfo, name: str) -> None:
        if not member.issparse():
            self._check_space(member.size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = self._replace(name, lambda: os.open(name, flags, 0o600, dir_fd=self._fd))
        try:
            self._write(member, fd)
            self._set_metadata(fd, member)
            mtime = _nanoseconds(member.mtime)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def _write(self, member: tarfile.TarInfo, fd: int) -> None:
        for offset, data in self._stream.content(member):
            os.lseek(fd, offset, os.SEEK_SET)
            filedata.write_all(fd, data)
            self.written += len(data)
            self._unchecked += len(data)
            if self._unchecked >= _SPACE_CHECKED_EVERY:
                self._check_space(0)
        if member.issparse():
            os.ftruncate(fd, member.size)

    def _link(self, member: tarfile.TarInfo, path: str, name: str) -> None:
        target = self._path(member.linkname)
        parent, _, old = target.rpartition("/")
        try:
            fd = inroot.open_in_root(self._root, f"{parent}/", inroot.O_PATH | os.O_DIRECTORY)
            try:
                os.link(old, name, src_dir_fd=fd, dst_dir_fd=self._fd, follow_symlinks=False)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            reason = f"it is a hard link to '{_shown(target)}', which is no file in the archive"
            raise self._refused(path, reason) from error

    def _set_metadata(self, fd: int, member: tarfile.TarInfo) -> None:
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode & 0o7777)
        attributes = _attributes(member)
        if attributes:
            filedata.set_xattrs(fd, attributes)

    def _finish_unopened(self, member: tarfile.TarInfo, name: str) -> None:
        mtime = _nanoseconds(member.mtime)
        os.chown(name, member.uid, member.gid, dir_fd=self._fd, follow_symlinks=False)
        os.utime(name, ns=(mtime, mtime), dir_fd=self._fd, follow_symlinks=False)

    def _replace(self, name: str, make: Callable[[], _T]) -> _T:
        """Call ``make``; what has the name already is taken away."""
        try:
            return make()
        except FileExistsError:
            pass
        if self._over:
            removal.remove_at(self._fd, name)
        else:
            self._remove_empty(name)
        return make()

    def _remove_empty(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=self._fd)

    def _enter(self, parent: str) -> None:
        if parent != self._parent:
            self._leave()
            inroot.make_dirs(self._root, parent, 0o755, *(self._owner or (0, 0)))
            flags = inroot.O_PATH | os.O_DIRECTORY
            self._fd = inroot.open_in_root(self._root, f"{parent}/", flags)
            self._parent = parent

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._fd)
            self._parent = None

    def _path(self, name: str) -> str:
        """An entry's name as an absolute path in the target; ``""`` for the target itself."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self._refused(name, "its name leads out of the archive by '..'")
        return "".join(f"/{part}" for part in self._place(parts))

    def _refused(self, path: str, reason: str) -> InvalidInput:
        return InvalidInput(
            f"archive '{self._name}' cannot be trusted: '{_shown(path)}': {reason}",
            hint="use an archive from a source that you know",
        )

    def _check_space(self, wanted: int) -> None:
        self._unchecked = 0
        status = os.fstatvfs(self._root)
        reserve = min(_RESERVE, status.f_blocks * status.f_frsize // 16)  # a quota may be small
        if status.f_bavail * status.f_frsize < wanted + reserve:
            raise oserrors.no_space(f"archive '{self._name}' cannot be extracted")


def _attributes(member: tarfile.TarInfo) -> dict[str, bytes]:
    found = {}
    for key, value in member.pax_headers.items():
        name = key.removeprefix(_XATTR)
        if name != key and (name == "security.capability" or name.startswith("user.")):
            found[name] = value.encode("utf-8", "surrogateescape")
    return found


def _nanoseconds(seconds: float) -> int:
    """A time that every file system can hold; what is out of range, or no number, becomes 0."""
    return int(seconds * 1_000_000_000) if 0 <= seconds < _YEAR_2242 else 0


def _shown(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}…{path[-80:]}"


def _damaged(name: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"archive '{name}' is truncated or damaged: {reason.rstrip('.').lower()}",
        hint="fetch it again and compare its checksum",
    )


def _not_understood(name: str, error: tarfile.TarError) -> InvalidInput:
    if "unexpected end" in str(error) or "zlib" in str(error):
        return _damaged(name, str(error))
    return InvalidInput(
        f"'{name}' is not a tar archive",
        hint="use a tar archive: .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2",
    )
