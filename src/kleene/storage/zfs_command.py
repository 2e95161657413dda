"""The ``zfs`` tool: how it is asked, and what its complaints mean. Holds nothing.

Only commands and properties that zfs-fuse (pool version 23), OpenZFS and FreeBSD have alike (zfs(8)).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kleene.errors import CommandFailed, Conflict, HostUnavailable, KleeneError
from kleene.host import process
from kleene.storage.layout import missing, pool_full, taken
from kleene.storage.zfs_names import GONE

_LONGEST = 600.0  # seconds: a pool that is resilvering answers slowly
_MOUNTING = {"create", "clone", "destroy", "mount", "promote", "rename", "set", "unmount"}
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


class Zfs:
    """The tool. Where zfs-fuse answers it, commands that mount or unmount take turns: two at the same time
    make that daemon hang."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, *arguments: str) -> process.Completed:
        """Run ``zfs`` to its end, whatever its status.

        Raises:
            HostUnavailable: it is not installed.
        """
        alone = arguments[0] in _MOUNTING and not can_force()
        try:
            async with self._turn if alone else contextlib.nullcontext():
                return await process.run(["zfs", *arguments], timeout=_LONGEST)
        except HostUnavailable as error:
            if "not installed" not in error.message:
                raise
            raise HostUnavailable(
                "program 'zfs' is not installed",
                hint="apt-get install zfsutils-linux, or zfs-fuse where the kernel has no ZFS",
            ) from error

    async def call(self, *arguments: str, subject: str, source: str | None = None) -> str:
        """The output of ``zfs``.

        Args:
            subject: the object in the user's words, for the message: ``dataset 'image/x'``.
            source: what it is made from, if it is made: that one is meant when something does not exist.

        Raises:
            NotFound, Conflict, HostUnavailable: as its complaint is understood.
            CommandFailed: it is not.
        """
        done = await self.run(*arguments)
        if done.status != 0:
            raise meaning(done, subject, source)
        return done.stdout.decode(errors="replace")

    async def persistently(
        self, *arguments: str, seconds: float, even_mounted: bool = False
    ) -> process.Completed:
        """As :meth:`run`, over and over while the dataset is busy: unmounting ends some time after umount(8).

        Args:
            even_mounted: go on while files in it are open, too.
        """
        deadline = time.monotonic() + seconds
        pause = _FIRST_PAUSE
        while True:
            done = await self.run(*arguments)
            again = is_busy(done) or (even_mounted and is_mounted(done))
            if not again or time.monotonic() > deadline:
                return done
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def properties(self, name: str, *wanted: str, subject: str) -> list[str]:
        """Values of properties of a dataset or snapshot, numbers as plain numbers, ``-`` for none."""
        found = await self.call(
            "get", "-Hp", "-o", "value", ",".join(wanted), name, subject=subject
        )
        return found.splitlines()

    async def listing(self, arguments: Sequence[str], *, subject: str) -> list[list[str]]:
        """The rows of ``zfs list -H``, in columns."""
        found = await self.call("list", "-H", *arguments, subject=subject)
        return [line.split("\t") for line in found.splitlines()]

    async def snapshots(self, name: str, *, subject: str) -> list[tuple[str, bool]]:
        """Full names of a dataset's snapshots, the oldest first; whether each is only kept for its clones."""
        wanted = ["-d", "1", "-t", "snapshot", "-s", "creation", "-o", f"name,{GONE}", name]
        return [(row[0], row[1] == "yes") for row in await self.listing(wanted, subject=subject)]


def meaning(done: process.Completed, subject: str, source: str | None = None) -> KleeneError:
    """What a failed command says, as an error for the user; the arguments are those of :meth:`Zfs.call`."""
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


def dependents(done: process.Completed) -> list[str]:
    """The datasets because of whose origin ``zfs destroy -r`` failed, as it lists them."""
    _, _, listed = done.stderr.decode(errors="replace").partition("'-R'")
    return [line for line in listed.splitlines()[1:] if line and "@" not in line]


def is_mounted(done: process.Completed) -> bool:
    """Whether the command failed because files of the dataset are open."""
    return b"cannot unmount" in done.stderr


def is_busy(done: process.Completed) -> bool:
    """Whether the command failed because the dataset is not at rest; a little later it may be."""
    return done.status != 0 and b"is busy" in done.stderr and not is_mounted(done)


def _pool_of(done: process.Completed) -> str:
    return done.argv[-1].partition("/")[0].partition("@")[0]


def can_force() -> bool:
    """Whether the kernel itself has ZFS. zfs-fuse hangs if a file is open when its file system goes."""
    return Path("/dev/zfs").exists()


async def force_unmount(mountpoint: Path) -> None:
    """Take a file system out of the tree, even while somebody has files in it open."""
    how = "-l" if sys.platform == "linux" else "-f"
    await process.run(["umount", how, "--", str(mountpoint)])
