"""The states of volumes: quota, snapshots, going back to one, new volumes cloned from one.

To restore a volume is to give its name to a clone of the snapshot. The dataset that it had goes, unless
snapshots of the volume lie in it: then it stays for them, emptied of what none of them holds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from kleene import names
from kleene.engine.core import Core, log, now
from kleene.engine.frozen import frozen
from kleene.engine.volumes import Volumes
from kleene.errors import Conflict, HostUnavailable, NotFound
from kleene.host import removal
from kleene.host.threads import in_thread
from kleene.metadata.volumes import VolumeRecord, VolumeSnapshotRecord
from kleene.schemas.volumes import VolumeCloneConfig, VolumeSnapshot, VolumeUpdate
from kleene.storage.driver import Snapshot


class VolumeStates:
    """What can be done with volumes beyond making and removing them."""

    def __init__(self, core: Core, volumes: Volumes) -> None:
        self._core = core
        self._volumes = volumes
        self._store = core.volumes
        self._storage = core.platform.storage

    def _lock(self, volume: str) -> contextlib.AbstractAsyncContextManager[None]:
        return self._core.locks.hold(f"volume/{volume}")

    async def update(self, name: str, change: VolumeUpdate) -> str:
        """Change how much a volume may hold.

        Raises:
            Conflict: it holds more already.
            HostUnavailable: the storage cannot limit it.
        """
        async with self._lock(name):
            record = self._volumes.get(name)
            if change.quota != record.quota:
                await self._volumes.limit(record, change.quota)
                self._store.volumes.update(name, quota=change.quota)
        self._core.events.emit("volume", "update", name, name)
        return name

    async def snapshots(self, name: str) -> list[VolumeSnapshot]:
        """A volume's snapshots, oldest first."""
        self._volumes.get(name)
        return self._volumes.snapshots(name)

    async def snapshot(self, name: str, wanted: str) -> str:
        """Keep the present state of a volume, also while containers write to it.

        Args:
            wanted: the snapshot's name; ``""``: one is made of the time.

        Raises:
            Conflict: the volume has a snapshot of this name.
        """
        called = names.check_object_name("snapshot", wanted) if wanted else _named_by_time()
        async with self._lock(name):
            record = self._volumes.get(name)
            row = VolumeSnapshotRecord(
                names.new_id(), name, called, record.dataset, "making", now()
            )
            async with contextlib.AsyncExitStack() as undo:
                try:
                    self._store.snapshots.insert(row)
                except sqlite3.IntegrityError as error:
                    raise Conflict(
                        f"volume '{name}' has a snapshot '{called}' already",
                        hint=f"choose another name, or remove it: klee rmv {name}@{called}",
                    ) from error
                undo.callback(self._store.snapshots.delete, row.id)
                await self._storage.snapshot(Snapshot(row.dataset, row.id))
                self._store.snapshots.update(row.id, state="ready")
                undo.pop_all()
        self._core.events.emit("volume", "snapshot", name, name, snapshot=called)
        return called

    def _find(self, volume: str, snapshot: str) -> VolumeSnapshotRecord:
        self._volumes.get(volume)
        found = self._store.snapshot(volume, snapshot)
        if found is None:
            near = names.nearest(snapshot, [each.name for each in self._volumes.snapshots(volume)])
            listed = f"list what there is: klee volume snapshots {volume}"
            raise NotFound(
                f"no such snapshot: '{snapshot}' of volume '{volume}'",
                hint=f"did you mean '{near}'?" if near else listed,
            )
        return found

    async def remove_snapshot(self, name: str, snapshot: str) -> str:
        """Forget a state of a volume; its name."""
        async with self._lock(name):
            await self.destroy_snapshot(self._find(name, snapshot))
        self._core.events.emit("volume", "remove-snapshot", name, name, snapshot=snapshot)
        return snapshot

    async def destroy_snapshot(self, row: VolumeSnapshotRecord) -> None:
        """Take a snapshot away, and the dataset that was only kept for it."""
        self._store.snapshots.update(row.id, state="removing")
        await self._storage.destroy_snapshot(Snapshot(row.dataset, row.id))
        others = self._store.snapshots.where("dataset = ? AND id != ?", [row.dataset, row.id])
        owner = self._store.volumes.get(row.volume)
        if not others and owner is not None and owner.dataset != row.dataset:
            await self._storage.destroy(row.dataset)
        self._store.snapshots.delete(row.id)

    async def clone(self, name: str, config: VolumeCloneConfig) -> str:
        """Make a volume of a state of another one, with the same quota; its name."""
        new = names.check_object_name("volume", config.name)
        async with self._lock(name), self._frozen(name, config.snapshot) as snapshot:
            source = self._volumes.get(name)
            if new == name:
                raise Conflict(f"volume '{new}' exists already", hint="choose another name")
            async with self._lock(new):
                if self._store.volumes.get(new) is not None:
                    raise Conflict(f"volume '{new}' exists already", hint="choose another name")
                record = replace(self._volumes.described(new), quota=source.quota)
                await self._volumes.make(record, snapshot)
        origin = f"{name}@{config.snapshot}" if config.snapshot else name
        self._core.events.emit("volume", "create", new, new, source=origin)
        return new

    @contextlib.asynccontextmanager
    async def _frozen(self, name: str, snapshot: str) -> AsyncIterator[Snapshot]:
        """A snapshot of a volume: the one of that name, or one of now that goes with the block."""
        if snapshot:
            found = self._find(name, snapshot)
            yield Snapshot(found.dataset, found.id)
            return
        async with frozen(self._core, self._volumes.get(name).dataset) as present:
            yield present

    @contextlib.asynccontextmanager
    async def copy(self, name: str, snapshot: str) -> AsyncIterator[Path]:
        """The files of a volume's present state or snapshot, which nobody changes while the block lasts."""
        record = self._volumes.in_transit()
        async with contextlib.AsyncExitStack() as stack:
            async with self._lock(name), self._frozen(name, snapshot) as frozen:
                await self._volumes.make(record, frozen, finish=False)
                stack.push_async_callback(self._volumes.destroy, record)
            yield self._storage.mountpoint(record.dataset)

    async def restore(self, name: str, snapshot: str) -> str:
        """Make a volume what it was; what it is now is lost, its snapshots stay.

        Raises:
            Conflict: containers that mount it run.
        """
        self._find(name, snapshot)
        async with contextlib.AsyncExitStack() as stack:
            mounting = sorted(user.id for user in self._core.containers.mounting(name))
            for user in mounting:
                await stack.enter_async_context(self._core.locks.hold(f"container/{user}"))
            await stack.enter_async_context(self._lock(name))
            self._check_idle(name, mounting)
            await self._restore(self._volumes.get(name), self._find(name, snapshot))
        self._core.events.emit("volume", "restore", name, name, snapshot=snapshot)
        return name

    def _check_idle(self, name: str, locked: list[str]) -> None:
        users = self._core.containers.mounting(name)
        running = sorted(user.name for user in users if user.running)
        if running:
            listed = ", ".join(f"'{user}'" for user in running)
            raise Conflict(
                f"volume '{name}' is in use: running containers mount it: {listed}",
                hint=f"stop them first: klee stop {' '.join(running)}",
            )
        if {user.id for user in users} - set(locked):
            raise Conflict(f"volume '{name}' is just being mounted", hint="try again")

    async def _restore(self, record: VolumeRecord, found: VolumeSnapshotRecord) -> None:
        new = replace(self._volumes.in_transit(), quota=record.quota)
        await self._volumes.make(new, Snapshot(found.dataset, found.id), finish=False)
        kept = {s.dataset for s in self._store.snapshots.where("volume = ?", [record.name])}
        old = replace(new, dataset=record.dataset, state="removing")
        with self._core.database.transaction():
            self._store.volumes.update(record.name, dataset=new.dataset)
            if record.dataset in kept:
                self._store.volumes.delete(new.name)
            else:
                self._store.volumes.update(new.name, dataset=old.dataset, state="removing")
        if record.dataset in kept:
            await self.empty(record.dataset)
        else:
            await self._volumes.destroy(old)

    async def empty(self, dataset: str) -> None:
        """Give back what a dataset holds beyond its snapshots. If that fails, only space is lost."""
        try:
            await in_thread(lambda _: _delete_all(self._storage.mountpoint(dataset)))
        except (OSError, HostUnavailable) as error:
            log.warning("dataset %s is kept for its snapshots, and not emptied: %s", dataset, error)


def _named_by_time() -> str:
    """``2026-11-24_083000.123456``: it sorts, and is a valid name."""
    return now().replace("T", "_").replace(":", "").rstrip("Z")


def _delete_all(directory: Path) -> None:
    for entry in directory.iterdir():
        removal.remove(entry)
