"""What is left of destroyed datasets while others still need it.

Owns ``ROOT/_trash`` and every snapshot named ``_kleene_…``: both are out of sight, and go as soon as their
last clone is gone. Nothing of it is remembered but on disk, save what was busy when it should have gone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from kleene.storage import zfs_command as zfs
from kleene.storage.driver import Snapshot
from kleene.storage.layout import dataset_parts, snapshot_parts

TRASH = "_trash"
HIDDEN = "_kleene_"
_PAUSE = 1.0  # seconds in which an unmounted file system comes to rest
_BUSY_SECONDS = 10.0


@dataclass(frozen=True)
class Names:
    """The full names of what lies below the root dataset ``root``, mounted below ``mountpoint``."""

    root: str
    mountpoint: Path

    @property
    def trash(self) -> str:
        return f"{self.root}/{TRASH}"

    def dataset(self, dataset: str) -> str:
        return "/".join((self.root, *dataset_parts(dataset)))

    def snapshot(self, snapshot: Snapshot) -> str:
        group, name, frozen = snapshot_parts(snapshot)
        return f"{self.root}/{group}/{name}@{frozen}"

    def path(self, dataset: str) -> Path:
        return self.mountpoint.joinpath(*dataset_parts(dataset))

    def new_in_trash(self) -> str:
        return f"{self.trash}/{secrets.token_hex(8)}"

    def is_trash(self, dataset: str) -> bool:
        return dataset.startswith(f"{self.trash}/")


def hidden(dataset: str) -> str:
    """A new name for a snapshot of ``dataset`` that its clones alone keep."""
    return f"{dataset}@{HIDDEN}{secrets.token_hex(8)}"


def is_hidden(snapshot: str) -> bool:
    return snapshot.partition("@")[2].startswith(HIDDEN)


class Trash:
    """Takes datasets and snapshots away, now or when it becomes possible."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._busy: set[str] = set()

    async def destroy(self, dataset: str) -> None:
        """Free the dataset's name. What its snapshots' clones need stays in the trash.

        Raises:
            Conflict: somebody has its files open, and this host's ZFS cannot part from them.
        """
        name = self._names.dataset(dataset)
        origin = await self._origin(name)
        if origin is None:
            return
        done = await zfs.persistently("destroy", "-r", name, seconds=_PAUSE)
        if done.status == 0:
            await self.reclaim(origin)
        elif not zfs.is_missing(done):
            await self._bury(name, dataset, mounted=zfs.is_mounted(done))
        for left in tuple(self._busy):
            await self.collect(left)

    async def _bury(self, name: str, dataset: str, *, mounted: bool) -> None:
        if mounted:
            await zfs.force_unmount(self._names.path(dataset))
        buried = self._names.new_in_trash()
        done = await zfs.persistently("rename", name, buried, seconds=_BUSY_SECONDS)
        if done.status != 0:
            raise zfs.meaning(done, f"dataset '{dataset}'")
        await self.collect(buried)

    async def destroy_snapshot(self, snapshot: Snapshot) -> None:
        name = self._names.snapshot(snapshot)
        done = await zfs.run("destroy", name)
        if done.status != 0 and not zfs.is_missing(done):
            new = hidden(name.partition("@")[0])
            await zfs.call("rename", name, new, subject=f"snapshot '{snapshot}'")

    async def collect(self, name: str) -> None:
        """Destroy a dataset of the trash with those of its snapshots that have no clones."""
        self._busy.discard(name)
        origin = await self._origin(name)
        if origin is None:
            return
        done = await zfs.persistently("destroy", "-r", name, seconds=_PAUSE)
        if done.status == 0:
            await self.reclaim(origin)
            return
        if zfs.is_busy(done) or zfs.is_mounted(done):
            self._busy.add(name)
        for snapshot in await snapshots(name, subject=f"dataset '{name}'"):
            await zfs.run("destroy", snapshot)

    async def reclaim(self, origin: str) -> None:
        """After a clone of ``origin`` went: take that away too if nobody else can want it, and so on."""
        while is_hidden(origin) or self._names.is_trash(origin):
            dataset = origin.partition("@")[0]
            if (await zfs.run("destroy", origin)).status != 0 or not self._names.is_trash(dataset):
                return
            further = await self._origin(dataset)
            if further is None or (await zfs.run("destroy", dataset)).status != 0:
                return
            origin = further

    async def sweep(self) -> None:
        """Take away all that an interrupted call left. Walks the pool: for the start only."""
        wanted = ["-r", "-t", "filesystem,snapshot", "-o", "name", self._names.root]
        for (name,) in await zfs.listing(wanted, subject="storage pool"):
            if "@" in name and (is_hidden(name) or self._names.is_trash(name)):
                await zfs.run("destroy", name)
            elif self._names.is_trash(name):
                await self.collect(name)

    async def _origin(self, name: str) -> str | None:
        """The snapshot that a dataset was cloned from; ``-`` for none, ``None`` if there is no dataset."""
        done = await zfs.run("get", "-Hp", "-o", "value", "origin", name)
        if done.status != 0:
            if zfs.is_missing(done):
                return None
            raise zfs.meaning(done, f"dataset '{name}'")
        return done.stdout.decode().strip()


async def snapshots(name: str, *, subject: str) -> list[str]:
    """Full names of a dataset's snapshots."""
    wanted = ["-d", "1", "-t", "snapshot", "-o", "name", name]
    return [row[0] for row in await zfs.listing(wanted, subject=subject)]
