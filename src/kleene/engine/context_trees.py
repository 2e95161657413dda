"""Directories made of uploaded contexts. Blocking: for threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from kleene.contexts.manifest import DIRECTORY, FILE, Item, Manifest
from kleene.errors import Conflict
from kleene.host import filedata, oserrors, removal
from kleene.host.threads import Stop

_PRIVATE = 0o700


def make(manifest: Manifest, directory: Path, blob: Callable[[str], str], stop: Stop) -> None:
    """Make ``directory``, whole or not at all, with the items of a manifest that was checked.

    Files share their blocks with the contents where the file system can. They never are hard links of them:
    two files of the same content are two files.

    Args:
        blob: where a content is, by its digest.

    Raises:
        Conflict: a content is not there any more.
        HostUnavailable: there is no space.
    """
    half = directory.with_name(f"{directory.name}.{os.urandom(4).hex()}.tmp")
    try:
        half.mkdir(parents=True, mode=_PRIVATE)
        _fill(manifest, half, blob, stop)
        with contextlib.suppress(FileExistsError):
            _rename(half, directory)
    except FileNotFoundError as error:
        raise Conflict(
            "the daemon has not all files of the build context any more",
            hint="build again: what is missing is sent again",
        ) from error
    except OSError as error:
        raise oserrors.explain(error, "the build context cannot be kept") from error
    finally:
        removal.discard(half)


def _rename(half: Path, directory: Path) -> None:
    try:
        half.rename(directory)
    except OSError:
        # Another build of the same context was faster.
        if not directory.is_dir():
            raise


def _fill(manifest: Manifest, top: Path, blob: Callable[[str], str], stop: Stop) -> None:
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for item in stop.watched(manifest.items):
            if item.kind == DIRECTORY:
                os.mkdir(item.path, _PRIVATE, dir_fd=root)
            elif item.kind == FILE:
                _file(item, root, blob(item.content))
            else:
                os.symlink(item.content, item.path, dir_fd=root)
                _set_time(item, root)
        # Not before all is in them: making an entry sets the time of its directory, and needs its mode.
        for item in reversed(manifest.items):
            if item.kind == DIRECTORY:
                os.chmod(item.path, item.mode, dir_fd=root)
                _set_time(item, root)
        os.fchmod(root, manifest.mode)
    finally:
        os.close(root)


def _file(item: Item, root: int, content: str) -> None:
    source = os.open(content, os.O_RDONLY)
    try:
        # The sum of the sizes was checked against what a context may have.
        if os.fstat(source).st_size != item.size:
            raise Conflict("a file of the build context has not the size that was told")
        target = os.open(item.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=root)
        try:
            filedata.copy_data(source, target, os.fstat(source))
            os.fchmod(target, item.mode)
            os.utime(target, ns=(item.mtime, item.mtime))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _set_time(item: Item, root: int) -> None:
    os.utime(item.path, ns=(item.mtime, item.mtime), dir_fd=root, follow_symlinks=False)
