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
    Kinship,
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


def told(older: Path, newer: Path, found: Names, kinship: Kinship) -> Generator[Change, None, None]:
    """The changes at the paths that were found, and below the directories that came, went or moved.

    Args:
        kinship: for what has to be compared all the same.
    """
    with opened(older, newer) as (old, new):
        told = {(change.kind, change.path): change for change in _named(old, new, found, kinship)}
        shared = any(_shared(old, new, change) for change in told.values())
    # The stream names a file that was written by one of its names only.
    yield from changes(older, newer, kinship) if shared else told.values()


def _named(old: Tree, new: Tree, found: Names, kinship: Kinship) -> Iterator[Change]:
    whole: set[str] = (
        set()
    )  # directories on one side only, which were told with all that is in them
    for path, written in found.paths():
        if path.rpartition("/")[0] in whole:
            whole.add(path)
            continue
        was = old.find(path) if path else old.root()
        now = new.find(path) if path else new.root()
        yield from _at(old, new, path, (was, now), written, kinship)
        if (was is None) != (now is None):
            whole.add(path)


def _at(
    old: Tree,
    new: Tree,
    path: str,
    found: tuple[os.stat_result | None, os.stat_result | None],
    written: bool,
    kinship: Kinship,
) -> Iterator[Change]:
    was, now = found
    if was and now and (signature(was) != signature(now) or (written and not is_directory(now))):
        yield Change("modified", path or ".", size(was), size(now))
    if was and now and is_directory(was) and is_directory(now):
        if was.st_ino != now.st_ino:
            yield from compare(old, new, kinship, path)
        return
    if was or now:
        yield from gone_and_come(old, new, path, was, now)


def _shared(old: Tree, new: Tree, change: Change) -> bool:
    """Whether a file that changed has other names."""
    if change.kind != "modified" or change.path == ".":
        return False
    found = (old.find(change.path), new.find(change.path))
    return any(f is not None and not is_directory(f) and f.st_nlink > 1 for f in found)
