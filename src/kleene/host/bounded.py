"""A program that fills a directory from a source that is not trusted, kept from filling the disk with it.

The directory is looked at again and again while the program runs, so it may exceed a bound by what is
written in a second or so. Owns nothing after a call.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kleene.errors import InvalidInput
from kleene.host import inroot, oserrors, process
from kleene.host.archive import Bounds
from kleene.host.threads import Stop, in_thread
from kleene.host.treewalk import Entry, walk

RESERVE = 64 * 1024 * 1024
"""Bytes that are left free, so that what else lives in the file system goes on."""

OUTPUT = 64 * 1024 * 1024
"""Bytes of each output of the program that are taken."""

_PAUSE = 0.5  # seconds between two looks, or more if one takes long


async def run(
    argv: Sequence[str], directory: Path, bounds: Bounds, name: str, *, env: Mapping[str, str]
) -> process.Completed:
    """Run a program in a directory that nobody else writes to.

    Args:
        name: of the source, for messages.

    Raises:
        InvalidInput: there is more in the directory than the bounds allow; the program was killed.
        HostUnavailable: the program is not installed, says too much, or leaves too little space.
    """
    work = asyncio.ensure_future(
        process.run(argv, env=env, cwd=str(directory), timeout=None, most=OUTPUT)
    )
    pause = _PAUSE
    try:
        while True:
            await asyncio.wait({work}, timeout=pause)
            ended = work.done()
            began = time.monotonic()
            await in_thread(lambda stop: _check(directory, bounds, name, stop))
            if ended:
                return work.result()
            pause = max(_PAUSE, 4 * (time.monotonic() - began))
    finally:
        work.cancel()
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()


def check_space(place: Path | int, failed: str) -> None:
    """See that a file system has space left; ``failed``: what cannot be done without.

    Raises:
        HostUnavailable: it has not.
    """
    status = os.statvfs(place)
    if status.f_bavail * status.f_frsize < min(RESERVE, status.f_blocks * status.f_frsize // 16):
        raise oserrors.no_space(failed)


def _check(directory: Path, bounds: Bounds, name: str, stop: Stop) -> None:
    check_space(directory, f"'{name}' cannot be kept")
    size, entries = 0, -1  # the directory itself does not count
    for entry in stop.watched(_entries(directory)):
        entries += 1
        if not stat.S_ISDIR(entry.stat.st_mode):
            size += entry.stat.st_size
        if size > bounds.size or entries > bounds.entries:
            what = f"{bounds.size} bytes" if size > bounds.size else f"{bounds.entries} files"
            raise InvalidInput(
                f"'{name}' is too large: it has more than {what}",
                hint="raise 'context_max_size' in the daemon's configuration"
                if size > bounds.size
                else None,
            )


def _entries(directory: Path) -> Iterator[Entry]:
    with inroot.root_fd(directory) as top:
        yield from walk(top, changing=True)
