"""Files into containers and out of them, as tar streams; a container may run or not.

Paths are resolved inside the container by the kernel. Of a container that runs it is what its processes see;
of one that does not, a path below the destination of a mount leads into what would be mounted there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from kleene.engine import lookup, tars
from kleene.engine.core import Core
from kleene.engine.lifecycle import Lifecycle
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.host import inroot, oserrors
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.containers import MountPointConfig

_LINKS = 40
"""Links that are followed one after the other, as in Linux."""

_NO_DATA = (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_OF_KERNEL = ("dev", "proc", "sys")
_DIRECTORY = inroot.O_PATH | os.O_DIRECTORY


class Copies:
    """Copies into and out of all containers."""

    def __init__(self, core: Core, lifecycle: Lifecycle) -> None:
        self._core = core
        self._lifecycle = lifecycle

    async def read(
        self, reference: str, path: str, *, follow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """A tar stream of what is at ``path``, under its own name.

        Of the root directory the kernel's own file systems are left out, as they are no data.

        Args:
            follow: of a link, what it points to; else the link itself.

        Raises:
            NotFound: no such container, or nothing is there.
            InvalidInput: it is a device or a socket.
            Conflict: what is there changed at that moment.
        """
        record = lookup.container(self._core.containers, reference)
        with _explained(record, path):
            root, inner = await self._open(record, path, writing=False)
            with _closed_on_error(root):
                found = _target(root, inner) if follow else inner
                kind = inroot.stat(root, found, follow=False).st_mode
                if stat.S_IFMT(kind) in _NO_DATA:
                    raise InvalidInput(
                        f"'{path}' of container '{record.name}' is a device or a socket",
                        hint="these are not copied",
                    )
        emptied = _OF_KERNEL if posixpath.normpath(path).strip("/") == "" else ()
        chunks = tars.stream(root, found, name=_name(inner), emptied=emptied)
        return await tars.apart(self._core, chunks)

    async def write(
        self,
        reference: str,
        path: str,
        chunks: AsyncIterator[bytes],
        *,
        name: str = "",
        directory: bool = False,
    ) -> None:
        """Extract a tar stream, compressed or not, in the directory ``path``.

        Args:
            name: of the entry at the top of the archive. If it is given, ``path`` may be missing in a
                directory that is there, and is the entry's new name then; or a file, which is replaced.
            directory: whether that entry is a directory.

        Raises:
            NotFound: no such container or directory.
            Conflict: a directory would replace a file, or the place is mounted read-only.
            InvalidInput: the archive is damaged, or tries to get out of the directory.
        """
        record = lookup.container(self._core.containers, reference)
        needed = posixpath.dirname(path) if name and not path.endswith("/") else path
        with _explained(record, path, needed):
            root, inner = await self._open(record, path, writing=True)
            try:
                target, renamed = _open_target(root, inner, name, directory)
            finally:
                os.close(root)
        try:
            await tars.extract(target, chunks, f"copy to {path}", _placing(name, renamed))
        finally:
            os.close(target)

    async def _open(self, record: ContainerRecord, path: str, *, writing: bool) -> tuple[int, str]:
        """A root directory, as an open descriptor, and the path in it that ``path`` is."""
        if not path.startswith("/") or "\0" in path:
            raise InvalidInput(f"path '{path}' is not absolute", hint="begin it with '/'")
        async with self._lifecycle.lock(record.id):
            root = self._core.platform.runtime.open_root(record.id)
            if root is not None:
                return root, path
        mount, inner = _mount_of(record, path)
        if mount is None:
            return os.open(self._core.platform.storage.mountpoint(record.dataset), _DIRECTORY), path
        if mount.read_only and writing:
            raise Conflict(
                f"'{path}' of container '{record.name}' is mounted read-only",
                hint="copy to another place, or mount it without ':ro'",
            )
        source = self._lifecycle.mount(mount).source
        if source.is_dir():
            return os.open(source, _DIRECTORY), inner
        return os.open(source.parent, _DIRECTORY), f"/{source.name}"


def _mount_of(record: ContainerRecord, path: str) -> tuple[MountPointConfig | None, str]:
    """The mount that a path leads into, and the path there."""
    plain = posixpath.normpath(path)
    for mount in sorted(record.mounts, key=lambda m: len(m.destination), reverse=True):
        top = posixpath.normpath(mount.destination)
        if plain == top or plain.startswith(f"{top}/"):
            return mount, plain[len(top) :] or "/"
    return None, path


@contextlib.contextmanager
def _explained(record: ContainerRecord, path: str, needed: str | None = None) -> Iterator[None]:
    """What is wrong with a path; ``needed``: the directory that must be there to write there."""
    name = record.name
    try:
        yield
    except FileNotFoundError as error:
        if needed is not None:
            raise NotFound(
                f"directory '{needed}' does not exist in container '{name}'",
                hint=f"make it first: klee exec {name} mkdir -p {needed}",
            ) from error
        raise NotFound(
            f"'{path}' does not exist in container '{name}'",
            hint=f"look for it: klee exec {name} ls -l {posixpath.dirname(path)}",
        ) from error
    except NotADirectoryError as error:
        raise NotFound(
            f"'{(needed or path).rstrip('/')}' is not a directory in container '{name}'",
            hint=f"look at it: klee exec {name} ls -l {posixpath.dirname(path)}",
        ) from error
    except OSError as error:
        raise oserrors.explain(error, f"'{path}' of container '{record.name}'") from error


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _name(path: str) -> str:
    """What is at a path is called so in an archive; the root directory has no name."""
    return posixpath.basename(posixpath.normpath(path)) or "."


def _target(root: int, path: str) -> str:
    """What a path is if it is a link, and that one, if it is one.

    Raises:
        OSError: nothing is there, or links lead round in a circle.
    """
    inroot.stat(root, path)
    for _ in range(_LINKS):
        if not stat.S_ISLNK(inroot.stat(root, path, follow=False).st_mode):
            return path
        parent, name = inroot.split(path)
        directory = inroot.open_in_root(root, parent, _DIRECTORY)
        try:
            # What begins with '/' begins at the root of the container.
            path = posixpath.join(parent, os.readlink(name, dir_fd=directory))
        finally:
            os.close(directory)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _open_target(root: int, path: str, name: str, directory: bool) -> tuple[int, str | None]:
    """The directory to extract in, and the new name of the archive's top, if it gets one."""
    try:
        return inroot.open_in_root(root, path, _DIRECTORY), None
    except NotADirectoryError as error:
        if directory or not name or path.endswith("/"):
            raise Conflict(
                f"'{path}' is not a directory in the container", hint="name another place"
            ) from error
    except FileNotFoundError:
        if not name or (path.endswith("/") and not directory):
            raise
    parent, new = inroot.split(path)
    return inroot.open_in_root(root, parent, _DIRECTORY), new


def _placing(name: str, renamed: str | None) -> tars.Placing:
    """Where the entries of an archive go whose top is called ``name``."""

    def place(parts: list[str]) -> list[str]:
        if renamed is None:
            return parts
        return [renamed, *(parts if name == "." else parts[1:])]

    return place
