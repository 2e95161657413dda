"""What changed between two related snapshots, as btrfs itself tells: at the cost of what changed, not of all.

The kernel compares the two trees and passes over what they share (btrfs-send(8), ``--no-data``). Nothing is
left behind.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Iterator
from pathlib import Path

from kleene.host import process
from kleene.storage import send_stream
from kleene.storage.compare import (
    Tree,
    changes,
    compare,
    gone_and_come,
    is_directory,
    opened,
    signature,
    size,
)
from kleene.storage.driver import Change
from kleene.storage.send_stream import Names


async def names(older: Path, newer: Path) -> Names:
    """The paths that differ between two snapshots, or may do so.

    Raises:
        CommandFailed: they cannot be compared.
    """
    reading, writing = os.pipe()
    work = asyncio.ensure_future(asyncio.to_thread(_read, reading))
    argv = ["btrfs", "send", "-q", "--no-data", "-p", str(older), str(newer)]
    try:
        done = await process.run(argv, stdout_fd=writing, timeout=None)
    finally:
        os.close(writing)
        await asyncio.wait([work])
    done.check()
    return work.result()


def _read(fd: int) -> Names:
    with os.fdopen(fd, "rb", buffering=1 << 16) as stream:
        return send_stream.read(stream)


def told(
    older: Path, newer: Path, found: Names, *, unsure_since: float
) -> Generator[Change, None, None]:
    """The changes at the paths that were found, and below the directories that came, went or moved.

    Args:
        unsure_since: as of :func:`kleene.storage.compare.changes`, for what has to be compared all the same.
    """
    with opened(older, newer) as (old, new):
        told = {
            (change.kind, change.path): change
            for path, written in found.paths()
            for change in _at(old, new, path, written, unsure_since)
        }
        shared = any(_shared(old, new, change) for change in told.values())
    # The stream names a file that was written by one of its names only.
    yield from changes(older, newer, unsure_since=unsure_since) if shared else told.values()


def _at(old: Tree, new: Tree, path: str, written: bool, unsure_since: float) -> Iterator[Change]:
    was = old.find(path) if path else old.root()
    now = new.find(path) if path else new.root()
    if was is None and now is None:
        return
    if was and now and (signature(was) != signature(now) or (written and not is_directory(now))):
        yield Change("modified", path or ".", size(was), size(now))
    if was and now and is_directory(was) and is_directory(now):
        if was.st_ino != now.st_ino:
            yield from compare(old, new, unsure_since, path)
        return
    yield from gone_and_come(old, new, path, was, now)


def _shared(old: Tree, new: Tree, change: Change) -> bool:
    """Whether a file that changed has other names."""
    if change.kind != "modified" or change.path == ".":
        return False
    found = (old.find(change.path), new.find(change.path))
    return any(f is not None and not is_directory(f) and f.st_nlink > 1 for f in found)
