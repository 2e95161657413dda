"""The ``zfs`` tool: how it is asked, and what its complaints mean. Holds nothing.

Only commands and properties that zfs-fuse (pool version 23), OpenZFS and FreeBSD have alike (zfs(8)).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kleene.errors import CommandFailed, Conflict, HostUnavailable, KleeneError
from kleene.host import process
from kleene.storage.layout import missing, pool_full, taken

_LONGEST = 600.0  # seconds: a pool that is resilvering answers slowly
_FIRST_PAUSE = 0.01
_LAST_PAUSE = 0.25

_NO_SPACE = ("out of space", "no space left", "quota exceeded")
_NO_POOL = (
    "no such pool",
    "is currently unavailable",
    "i/o error",
    "failed to initialize",
    "modules are not loaded",
)
_NO_RIGHT = ("permission denied", "must be superuser")


async def run(*arguments: str) -> process.Completed:
    """Run ``zfs`` to its end, whatever its status.

    Raises:
        HostUnavailable: it is not installed.
    """
    try:
        return await process.run(["zfs", *arguments], timeout=_LONGEST)
    except HostUnavailable as error:
        if "not installed" not in error.message:
            raise
        raise HostUnavailable(
            "program 'zfs' is not installed",
            hint="apt-get install zfsutils-linux, or zfs-fuse where the kernel has no ZFS",
        ) from error


async def call(*arguments: str, subject: str, source: str | None = None) -> str:
    """The output of ``zfs``.

    Args:
        subject: the object in the user's words, for the message: ``dataset 'image/x'``.
        source: what it is made from, if it is made: that one is meant when something does not exist.

    Raises:
        NotFound, Conflict, HostUnavailable: as its complaint is understood.
        CommandFailed: it is not.
    """
    done = await run(*arguments)
    if done.status != 0:
        raise meaning(done, subject, source)
    return done.stdout.decode(errors="replace")


async def persistently(*arguments: str, seconds: float) -> process.Completed:
    """As :func:`run`, over and over while the dataset is busy: unmounting ends some time after umount(8)."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        done = await run(*arguments)
        if not is_busy(done) or time.monotonic() > deadline:
            return done
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)


def meaning(done: process.Completed, subject: str, source: str | None = None) -> KleeneError:
    """What a failed command says, as an error for the user; the arguments are those of :func:`call`."""
    text = done.stderr.decode(errors="replace")
    said = text.lower()
    if is_missing(done):
        return missing(source or subject)
    if "already exists" in said:
        return taken(subject)
    if any(words in said for words in _NO_SPACE):
        return pool_full(_pool_of(done))
    if any(words in said for words in (*_NO_POOL, *_NO_RIGHT)):
        return HostUnavailable(
            f"storage pool '{_pool_of(done)}' cannot be used",
            hint="see how it is: zpool status",
            details=text.strip(),
        )
    if is_busy(done) or is_mounted(done):
        return Conflict(
            f"{subject} is in use", hint="stop what has files in it open: fuser -vm PATH"
        )
    return CommandFailed(done.argv, done.status, text)


def is_missing(done: process.Completed) -> bool:
    said = done.stderr
    return b"does not exist" in said or b"could not find any snapshots" in said


def is_mounted(done: process.Completed) -> bool:
    """Whether the command failed because files of the dataset are open."""
    return b"cannot unmount" in done.stderr


def is_busy(done: process.Completed) -> bool:
    """Whether the command failed because the dataset is not at rest; a little later it may be."""
    return done.status != 0 and b"is busy" in done.stderr and not is_mounted(done)


def _pool_of(done: process.Completed) -> str:
    return done.argv[-1].partition("/")[0].partition("@")[0]


async def properties(name: str, *wanted: str, subject: str) -> list[str]:
    """Values of properties of a dataset or snapshot, numbers as plain numbers, ``-`` for none."""
    found = await call("get", "-Hp", "-o", "value", ",".join(wanted), name, subject=subject)
    return found.splitlines()


async def listing(arguments: Sequence[str], *, subject: str) -> list[list[str]]:
    """The rows of ``zfs list -H``, in columns."""
    found = await call("list", "-H", *arguments, subject=subject)
    return [line.split("\t") for line in found.splitlines()]


async def force_unmount(mountpoint: Path) -> None:
    """Take a file system out of the tree, even while somebody has files in it open.

    On Linux lazily and not by force: force would cut zfs-fuse off from its kernel side, and it then hangs.
    """
    how = "-l" if sys.platform == "linux" else "-f"
    await process.run(["umount", how, "--", str(mountpoint)])
