"""What ADD does beyond COPY: archives of the context are extracted, files of servers are written."""

from __future__ import annotations

import asyncio
import functools
import os
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from kleene.build import copying, modes
from kleene.build.context import Context
from kleene.build.selection import Selection, Source
from kleene.build.steps import AddStep, Url
from kleene.dockerfile.excerpt import visible
from kleene.errors import InvalidInput
from kleene.host import archive, decompress, filedata, inroot, oserrors
from kleene.host.threads import Stop, in_thread
from kleene.host.treewalk import changed, signature

_MODE = 0o600
"""Of what came from a server (Dockerfile reference, "ADD")."""


@dataclass(frozen=True)
class RemoteFile:
    """What was fetched.

    Attributes:
        digest: ``sha256:HEX``.
        modified: when, in seconds since the epoch, if the server says so.
    """

    file: IO[bytes]
    digest: str
    modified: float | None = None


async def add(
    root: Path, step: AddStep, selection: Selection, fetched: Sequence[tuple[Url, RemoteFile]]
) -> list[copying.Remark]:
    """Carry out an ADD.

    Returns:
        What was replaced by directories, and what was left out.

    Raises:
        InvalidInput, Conflict, HostUnavailable: as :func:`copying.copy`, and for an archive that is damaged
            or cannot be trusted.
    """
    found: list[Source] = []
    if step.unpack is not False:
        found = await in_thread(
            lambda _: [s for s in selection.sources if _is_archive(selection, s)]
        )
    others = tuple(source for source in selection.sources if source not in found)
    rest = step if others else replace(step, sources=())
    remarks = await copying.copy(root, rest, replace(selection, sources=others))
    if found and step.chmod is not None:
        remarks.append(f"'{visible(found[0].path)}' is an archive: its files keep their modes")
    for source in found:
        remarks += await in_thread(functools.partial(_extract, root, step, selection, source))
    for url, file in fetched:
        if step.unpack and await in_thread(functools.partial(_is_remote_archive, file)):
            remarks += await in_thread(functools.partial(_extract_file, root, step, url, file))
        else:
            await asyncio.to_thread(_write, root, step, url, file)
    return remarks


def _open(selection: Selection, source: Source) -> IO[bytes]:
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK
        fd = inroot.open_without_links(selection.root, source.path, flags)
    except OSError as error:
        raise changed(source.path) from error
    file = open(fd, "rb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor
    if signature(os.fstat(fd)) != signature(source.entries[0].stat):
        file.close()
        raise changed(source.path)
    return file


def _is_archive(selection: Selection, source: Source) -> bool:
    """Whether a file is a tar archive, by its content."""
    if not stat.S_ISREG(source.entries[0].stat.st_mode):
        return False
    with _open(selection, source) as file:
        return _begins_archive(file)


def _is_remote_archive(fetched: RemoteFile, _stop: Stop) -> bool:
    return _begins_archive(fetched.file)


def _begins_archive(file: IO[bytes]) -> bool:
    try:
        file.seek(0)
        content = decompress.open_stream(file, lambda _: None)
        block = content.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (*decompress.ERRORS, tarfile.HeaderError, OSError):
        return False
    return True


def _extract_file(
    root: Path, step: AddStep, url: Url, fetched: RemoteFile, stop: Stop
) -> tuple[inroot.Replaced, ...]:
    owner = None if step.chown is None else copying.owner_of(root, step.chown)
    copying.make_directory(root, step.destination, *(owner or (0, 0)))
    fd = inroot.open_in_root(root, step.destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fetched.file.seek(0)
        name = url.name or "the archive"
        done = archive.extract(
            fetched.file, fd, name, lambda _: stop.check(), over=True, owner=owner
        )
        return _below(step, done.replaced)
    finally:
        os.close(fd)


def _below(step: AddStep, replaced: Sequence[inroot.Replaced]) -> tuple[inroot.Replaced, ...]:
    """With paths from the image's root, not from the destination."""
    base = step.destination.rstrip("/")
    return tuple(replace(old, path=base + old.path) for old in replaced)


def _extract(
    root: Path, step: AddStep, selection: Selection, source: Source, stop: Stop
) -> tuple[inroot.Replaced, ...]:
    owner = None if step.chown is None else copying.owner_of(root, step.chown)
    copying.make_directory(root, step.destination, *(owner or (0, 0)))
    fd = inroot.open_in_root(root, step.destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _open(selection, source) as file:
            done = archive.extract(
                file, fd, source.path, lambda _: stop.check(), over=True, owner=owner
            )
            if signature(os.fstat(file.fileno())) != signature(source.entries[0].stat):
                raise changed(source.path)
        return _below(step, done.replaced)
    finally:
        os.close(fd)


def _write(root: Path, step: AddStep, url: Url, fetched: RemoteFile) -> None:
    into = step.into_directory or copying.is_directory(root, step.destination)
    if into and not url.name:
        raise InvalidInput(
            f"'{step.destination}' is a directory, and the URL has no file name",
            hint="name the file in the destination",
        )
    path = f"{step.destination.rstrip('/')}/{url.name}" if into else step.destination
    owner = copying.owner_of(root, step.chown or "")
    copying.make_directory(root, path.rpartition("/")[0] or "/", *owner)
    try:
        inroot.remove_file(root, path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = inroot.open_in_root(root, path, flags, 0o600)
        try:
            source = fetched.file.fileno()
            os.lseek(source, 0, os.SEEK_SET)
            filedata.copy_data(source, fd, os.fstat(source))
            os.fchown(fd, *owner)
            os.fchmod(
                fd, _MODE if step.chmod is None else modes.applied(step.chmod, 0o100000 | _MODE)
            )
            if fetched.modified is not None:
                os.utime(fd, (fetched.modified, fetched.modified))
        finally:
            os.close(fd)
    except OSError as error:
        raise oserrors.explain(error, f"'{path}' cannot be written in the image") from error


async def add_tree(root: Path, step: AddStep, tree: Context) -> list[copying.Remark]:
    """Copy a whole tree into the destination; it belongs to root, or to whom ``--chown`` names.

    Returns:
        What was replaced by directories, and what was left out.

    Raises:
        InvalidInput, HostUnavailable: as :func:`copying.copy`.
    """
    taken = (await tree.select(["."])).without(step.exclude)
    return await copying.copy(root, replace(step, sources=(".",), files=()), taken)
