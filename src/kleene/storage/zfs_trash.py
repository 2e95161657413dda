"""How datasets and snapshots go while others were cloned from them.

ZFS destroys nothing that has clones. So a snapshot with clones is marked, and goes with its last clone:
whoever destroys a clone looks at where it came from. A dataset with clones hands the snapshots that they need
over to one of them (``zfs promote``), and is then free to go. Renaming it out of the way would do as well,
but zfs-fuse unmounts all clones of a dataset while it renames it.

Owns ``ROOT/_trash`` too, for what is on its way in, and what somebody still has open. Nothing of all this is
remembered but on disk, save what was busy when it should have gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kleene.host import process
from kleene.storage import zfs_command as zfs
from kleene.storage.zfs_names import GONE, Names

_PAUSE = 1.0  # seconds in which an unmounted file system usually comes to rest
_REST_SECONDS = 60.0  # in which it does on a busy host: zfs-fuse waits for all of its writes
_OPEN_SECONDS = 10.0  # in which a process that ends closes its files


class Trash:
    """Takes datasets and snapshots away, now or when it becomes possible."""

    def __init__(self, names: Names, tool: zfs.Zfs) -> None:
        self._names = names
        self._zfs = tool
        self._busy: set[str] = set()
        self._one = asyncio.Lock()  # what is handed over must not be destroyed meanwhile

    async def destroy(self, dataset: str) -> None:
        """Free the dataset's name.

        Raises:
            Conflict: somebody has its files open, and this host's ZFS cannot part from them.
        """
        name, subject = self._names.dataset(dataset), f"dataset '{dataset}'"
        done = await self._destroy(name, subject)
        if done.status != 0 and not zfs.is_missing(done):
            if not (zfs.is_busy(done) or zfs.is_mounted(done)):
                raise zfs.meaning(done, subject)
            await self._bury(name, dataset)
        for left in tuple(self._busy):
            await self.collect(left)

    async def destroy_snapshot(self, name: str, subject: str) -> None:
        """Destroy a snapshot, or mark it if it has clones."""
        if (await self._zfs.run("destroy", name)).status != 0:
            await self._zfs.call("set", f"{GONE}=yes", name, subject=subject)

    async def collect(self, name: str) -> None:
        """Destroy a dataset of the trash, now or, if it is busy, with the next one."""
        self._busy.discard(name)
        done = await self._destroy(name, f"dataset '{name}'")
        if zfs.is_busy(done) or zfs.is_mounted(done):
            self._busy.add(name)

    async def sweep(self) -> None:
        """Take away all that an interrupted call left. Walks the pool: for the start only."""
        wanted = ["-r", "-t", "filesystem,snapshot", "-o", f"name,{GONE}", self._names.root]
        for name, gone in await self._zfs.listing(wanted, subject="storage pool"):
            if gone == "yes":
                await self._zfs.run("destroy", name)
            elif self._names.is_trash(name) and "@" not in name:
                await self.collect(name)

    async def _destroy(self, name: str, subject: str) -> process.Completed:
        """Destroy a dataset with its snapshots, and what only it needed; the last command's end."""
        async with self._one:
            return await self._destroy_alone(name, subject)

    async def _destroy_alone(self, name: str, subject: str) -> process.Completed:
        before = await self._zfs.run("get", "-Hp", "-o", "value", "origin", name)
        if before.status != 0:
            return before
        done = await self._zfs.persistently("destroy", "-r", name, seconds=_PAUSE)
        origin = before.stdout.decode().strip()
        while clones := zfs.dependents(done):
            origin = await self._hand_over(name, clones, subject)
            done = await self._zfs.persistently("destroy", "-r", name, seconds=_PAUSE)
        if done.status == 0 and origin != "-":
            await self._reclaim(origin)
        return done

    async def _reclaim(self, snapshot: str) -> None:
        """After a clone of a snapshot went: destroy that too, if it is marked and was the last one's."""
        marked = await self._zfs.run("get", "-Hp", "-o", "value", GONE, snapshot)
        if marked.stdout.strip() == b"yes":
            await self._zfs.run("destroy", snapshot)

    async def _hand_over(self, name: str, dependents: Sequence[str], subject: str) -> str:
        """Give the snapshots of a dataset that have clones to a clone of the latest; the new origin."""
        clones = await self._clones(name, dependents)
        heir = last = ""
        for snapshot, _ in await self._zfs.snapshots(name, subject=subject):
            await self.destroy_snapshot(snapshot, subject)
            if snapshot in clones:
                heir, last = clones[snapshot], snapshot
        if heir:  # or else the clones went meanwhile
            await self._zfs.call("promote", heir, subject=subject)
        return f"{heir}@{last.partition('@')[2]}"

    async def _clones(self, name: str, dependents: Sequence[str]) -> dict[str, str]:
        """For each snapshot of a dataset that has clones, one of them."""
        wanted = ["get", "-Hp", "-o", "value,name", "origin", *dependents]
        found = await self._zfs.call(*wanted, subject=f"clone '{dependents[0]}'")
        pairs = (line.split("\t") for line in found.splitlines())
        return {origin: clone for origin, clone in pairs if origin.startswith(f"{name}@")}

    async def _bury(self, name: str, dataset: str) -> None:
        """Rename a dataset that is in use out of sight, unmounted."""
        subject = f"dataset '{dataset}'"
        done = await self._zfs.persistently("unmount", name, seconds=_PAUSE)
        if zfs.is_mounted(done) and zfs.can_force():
            await zfs.force_unmount(self._names.path(dataset))
        elif zfs.is_mounted(done):
            done = await self._zfs.persistently(
                "unmount", name, seconds=_OPEN_SECONDS, even_mounted=True
            )
            if zfs.is_mounted(done):
                raise zfs.meaning(done, subject)
        buried = self._names.new_in_trash()
        done = await self._zfs.persistently("rename", name, buried, seconds=_REST_SECONDS)
        if done.status != 0:
            raise zfs.meaning(done, subject)
        await self.collect(buried)
