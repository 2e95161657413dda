"""The embedded pool: a btrfs in a sparse file, for hosts whose data directory lies on something else.

Owns the file and its mount, which both outlive the daemon: containers use them. The loop device lives as long
as the mount and goes with it. What an interrupted start left (a half-made file, an idle loop device) is
replaced or used by the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kleene.errors import CommandFailed, Conflict, HostUnavailable
from kleene.host import process

GIB = 1 << 30
DEFAULT_SIZE = 64 * GIB
"""Bytes. The file is sparse: it takes what is written to it, and gives back what is deleted."""

LEAST_SIZE = 128 << 20
"""Bytes below which mkfs.btrfs(8) makes no file system of the usual kind."""

_SHARE_OF_HOST = 0.8  # of the host's free space: a pool that outgrows its host is lost, not full
_OPTIONS = "noatime,discard=async,commit=5"
"""btrfs(5). Every 5 seconds, as ext4 does and not every 30, what is written is committed, and the space of
destroyed subvolumes begins to come back."""


@dataclass(frozen=True)
class LoopFile:
    """A sparse file, and the directory where the btrfs in it is mounted.

    Attributes:
        size: bytes that it is made with, at most; a file that exists keeps its size.
    """

    file: Path
    directory: Path
    size: int = DEFAULT_SIZE

    async def attach(self) -> None:
        """Make the file and mount it, as far as that is not done already.

        Raises:
            Conflict: something else is mounted on the directory.
            HostUnavailable: no btrfs on this host, no space, or the file cannot be mounted.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if await self._mounted():
            return
        await probe()
        if not self.file.exists():
            await self._make_file()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        device = await self._device() or await self._make_device()
        try:
            await self._mount(device)
        finally:
            # Detaching a mounted device lasts until it is unmounted (losetup(8)): none is ever left over.
            await process.run(["losetup", "--detach", device])

    async def detach(self) -> None:
        """Unmount the file system, if it is mounted. The file stays.

        Raises:
            Conflict: it is in use.
        """
        if not await self._mounted():
            return
        done = await process.run(["umount", "--", str(self.directory)])
        if done.status != 0:
            raise Conflict(
                f"'{self.directory}' is in use",
                hint=f"stop what uses it: fuser -vm {self.directory}",
                details=done.stderr.decode(errors="replace").strip(),
            )

    async def remove(self) -> None:
        """Unmount the file system and delete the file, with all that is in it."""
        await self.detach()
        self.file.unlink(missing_ok=True)

    async def _mounted(self) -> bool:
        mounted = _mount_source(self.directory)
        if mounted is None:
            return False
        if mounted == await self._device():
            return True
        raise Conflict(
            f"'{self.directory}' has '{mounted}' mounted on it", hint=f"umount {self.directory}"
        )

    async def _make_file(self) -> None:
        """Write the file system under another name first: a file of the right name is a whole one."""
        size = min(self.size, int(shutil.disk_usage(self.file.parent).free * _SHARE_OF_HOST))
        if size < LEAST_SIZE:
            raise HostUnavailable(
                f"'{self.file.parent}' has too little space for a storage pool",
                hint=f"free {LEAST_SIZE >> 20} MiB or more, or choose another data directory",
            )
        new = self.file.with_name(self.file.name + ".new")
        try:
            await asyncio.to_thread(_make_sparse, new, size)
            (await process.run(_mkfs(new))).check()
            await asyncio.to_thread(_publish, new, self.file)
        finally:
            new.unlink(missing_ok=True)

    async def _device(self) -> str | None:
        """The loop device that the file is attached to."""
        if not self.file.exists():
            return None
        argv = ["losetup", "--json", "--list", "--output", "NAME", "--associated", str(self.file)]
        listed = (await process.run(argv)).check().stdout
        devices = json.loads(listed)["loopdevices"] if listed.strip() else []
        return str(devices[0]["name"]) if devices else None

    async def _make_device(self) -> str:
        try:
            done = await process.run(["losetup", "--find", "--show", "--", str(self.file)])
            device = done.check().stdout.decode().strip()
        except CommandFailed as error:
            raise HostUnavailable(
                f"no loop device for '{self.file}'", hint="modprobe loop", details=error.details
            ) from error
        # Past the host's page cache, which would hold everything twice. Not every file system can.
        await process.run(["losetup", "--direct-io=on", device])
        return device

    async def _mount(self, device: str) -> None:
        argv = ["mount", "-t", "btrfs", "-o", _OPTIONS, "--", device, str(self.directory)]
        done = await process.run(argv)
        if done.status != 0:
            raise HostUnavailable(
                f"storage pool '{self.file}' cannot be mounted",
                hint=f"check it: btrfs check {self.file}; or move it away to begin afresh",
                details=done.stderr.decode(errors="replace").strip(),
            )


async def probe() -> None:
    """Find out whether this host can make and mount a btrfs.

    Raises:
        HostUnavailable: the package or the kernel module is missing.
    """
    for program in ("mkfs.btrfs", "btrfs"):
        try:
            await process.run([program, "--version"])
        except HostUnavailable as error:
            raise HostUnavailable(
                f"program '{program}' is not installed", hint="apt-get install btrfs-progs"
            ) from error
    if not _kernel_has_btrfs():
        await process.run(["modprobe", "btrfs"])
    if not _kernel_has_btrfs():
        raise HostUnavailable("the kernel has no btrfs", hint="modprobe btrfs")


def _kernel_has_btrfs() -> bool:
    lines = Path("/proc/filesystems").read_text().splitlines()
    return any(line.split()[-1] == "btrfs" for line in lines)


def _mkfs(file: Path) -> list[str]:
    """Small nodes: a snapshot writes one reference per child of its source's root node, and each in another
    node once the source has hundreds of clones (bench/storage_scaling.py). One copy of the metadata: the
    disk below the file is the host's to care for."""
    node = str(os.sysconf("SC_PAGESIZE"))
    return ["mkfs.btrfs", "--quiet", "-L", "kleene", "-n", node, "-m", "single", str(file)]


def _make_sparse(file: Path, size: int) -> None:
    with file.open("wb") as new:
        file.chmod(0o600)
        new.truncate(size)


def _publish(new: Path, file: Path) -> None:
    """Give the file its name, durably."""
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.rename(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _mount_source(directory: Path) -> str | None:
    """What is mounted on the directory, topmost (proc_pid_mountinfo(5))."""
    wanted = str(directory.resolve())
    source = None
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if _unescaped(before.split()[4]) == wanted:
            source = after.split()[1]
    return source


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
