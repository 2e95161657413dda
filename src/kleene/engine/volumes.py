"""Volumes: datasets that outlive the containers that mount them.

What VOLUME names in a Dockerfile becomes a volume of the container's own, an anonymous one: ``ID-1``.
It is a volume like any other, but it goes with its container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kleene import names
from kleene.engine import lookup
from kleene.engine.core import Core, log, now
from kleene.engine.filters import Words
from kleene.engine.pruning import prune
from kleene.errors import Conflict, KleeneError
from kleene.host import copytree
from kleene.host.threads import in_thread
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.volumes import VolumeRecord
from kleene.schemas.containers import MountPoint, MountPointConfig
from kleene.schemas.volumes import Volume, VolumeConfig, VolumeInspect, VolumeSnapshot
from kleene.storage.driver import Snapshot

_QUOTA_INTERVAL = 2.0  # seconds


class Volumes:
    """All that can be done with volumes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.volumes

    def mountpoint(self, name: str) -> Path:
        """Where the volume's files are on the host.

        Raises:
            NotFound: no such volume.
        """
        return self._core.platform.storage.mountpoint(self.get(name).dataset)

    async def create(self, config: VolumeConfig) -> str:
        """Make an empty volume; its name. One that exists is left as it is, as Docker does.

        Raises:
            HostUnavailable: a quota is wanted, and the storage has none.
        """
        name = names.check_object_name("volume", config.name)
        names.check_labels(config.labels)
        async with self._core.locks.hold(f"volume/{name}"):
            if self._store.volumes.get(name) is None:
                wanted = replace(self.described(name), quota=config.quota, labels=config.labels)
                await self.make(wanted)
                self._core.events.emit("volume", "create", name, name)
        return name

    def described(self, name: str) -> VolumeRecord:
        """The record of a volume that is not made yet."""
        return VolumeRecord(name, "making", now(), f"volume/{name}")

    def in_transit(self) -> VolumeRecord:
        """The record of a state of a volume that no user sees; see :class:`VolumeRecord`."""
        id_ = names.new_id()
        return VolumeRecord(f"@{id_}", "making", now(), f"state/{id_}")

    async def make(
        self, record: VolumeRecord, source: Snapshot | None = None, *, finish: bool = True
    ) -> None:
        """Make the dataset of a record, empty or as a clone; nothing is left if that fails.

        Args:
            finish: whether the row becomes ready.
        """
        storage = self._core.platform.storage
        async with contextlib.AsyncExitStack() as undo:
            try:
                self._store.volumes.insert(record)
            except sqlite3.IntegrityError as error:
                raise Conflict(
                    f"volume '{record.name}' is being removed", hint="try again"
                ) from error
            undo.callback(self._store.volumes.delete, record.name)
            undo.push_async_callback(storage.destroy, record.dataset)
            if source is None:
                await storage.create(record.dataset)
            else:
                await storage.clone(source, record.dataset)
            if record.quota is not None:
                await self.limit(record, record.quota)
            if finish:
                self._store.volumes.update(record.name, state="ready")
            undo.pop_all()

    async def limit(self, record: VolumeRecord, quota: int | None) -> None:
        """Have the storage limit a volume.

        Raises:
            HostUnavailable: it cannot.
        """
        if quota is None and not self._core.platform.storage.capabilities.quota:
            return
        await self._core.platform.storage.set_quota(record.dataset, quota)

    async def keep_quotas(self) -> None:
        """Renew the quotas of volumes as long as the daemon runs."""
        while True:
            await asyncio.sleep(_QUOTA_INTERVAL)
            for record in self._store.volumes.where("quota IS NOT NULL AND state = 'ready'"):
                try:
                    async with self._core.locks.hold(f"volume/{record.name}"):
                        await self._renew_quota(record.name)
                except (OSError, KleeneError) as error:
                    log.warning("quota of volume %s is not renewed: %s", record.name, error)

    async def _renew_quota(self, name: str) -> None:
        record = self._store.volumes.get(name)
        if record is not None and record.quota is not None:
            await self._core.platform.storage.renew_quota(record.dataset, record.quota)

    async def prepare(self, container: ContainerRecord) -> None:
        """Make the volumes that a new container mounts, and fill the empty ones from its image."""
        root = self._core.platform.storage.mountpoint(container.dataset)
        for mount in container.mounts:
            if mount.type == "volume":
                await self.create(VolumeConfig(mount.source))
                async with self._core.locks.hold(f"volume/{mount.source}"):
                    await self._populate(mount.source, root, mount.destination)

    async def _populate(self, name: str, root: Path, destination: str) -> None:
        target = self.mountpoint(name)
        await in_thread(lambda _: _fill_if_empty(root, destination, target))

    async def remove_anonymous(self, container: ContainerRecord) -> None:
        """Take away the volumes that were made for this container alone, unless another mounts them."""
        for record in self._store.volumes.where("name GLOB ?", [f"{container.id}-*"]):
            async with self._core.locks.hold(f"volume/{record.name}"):
                users = self._core.containers.mounting(record.name)
                if all(user.id == container.id for user in users):
                    await self.destroy(record)

    def get(self, name: str) -> VolumeRecord:
        """The volume of this name.

        Raises:
            NotFound: there is none.
        """
        record = self._store.volumes.get(name)
        if record is None or record.state != "ready":
            known = [each.name for each in self._store.ready()]
            raise lookup.unknown("volume", name, known, "klee lsv")
        return record

    def _wire(self, record: VolumeRecord) -> Volume:
        storage = self._core.platform.storage
        return Volume(
            name=record.name,
            dataset=storage.host_name(record.dataset),
            mountpoint=str(storage.mountpoint(record.dataset)),
            created=record.created,
            quota=record.quota,
            labels=record.labels,
        )

    def snapshots(self, name: str) -> list[VolumeSnapshot]:
        """A volume's snapshots, oldest first."""
        return [VolumeSnapshot(s.name, s.created) for s in self._store.snapshots_of(name)]

    async def inspect(self, name: str) -> VolumeInspect:
        """A volume, its snapshots, and the containers that mount it."""
        record = self.get(name)
        mountpoints = [
            MountPoint(container.id, m.type, m.source, m.destination, m.read_only)
            for container in self._core.containers.mounting(name)
            for m in container.mounts
            if m.type == "volume" and m.source == name
        ]
        return VolumeInspect(self._wire(record), mountpoints, self.snapshots(name))

    async def remove(self, name: str) -> str:
        """Remove a volume with what is in it.

        Raises:
            Conflict: a container mounts it.
        """
        async with self._core.locks.hold(f"volume/{name}"):
            record = self.get(name)
            if users := self._core.containers.mounting(name):
                raise in_use(f"volume '{name}'", users)
            await self.destroy(record)
        self._core.events.emit("volume", "remove", name, name)
        return name

    async def destroy(self, record: VolumeRecord) -> None:
        """Take a volume away, snapshots and all; it is out of sight before anything is lost."""
        self._store.volumes.update(record.name, state="removing")
        for dataset in sorted(self._store.datasets_of(record.name)):
            await self._core.platform.storage.destroy(dataset)
        self._store.volumes.delete(record.name)

    async def prune(self, filters: Words = ()) -> list[str]:
        """Remove every volume that no container mounts and the filters fit; their names."""
        unused = (r for r in self._store.ready() if not self._core.containers.mounting(r.name))
        return await prune(unused, filters, lambda record: self.remove(record.name))

    async def list(self) -> list[Volume]:
        """All volumes, oldest first."""
        return [self._wire(record) for record in self._store.ready()]


def anonymous_mounts(container: ContainerRecord, paths: Sequence[str]) -> list[MountPointConfig]:
    """Mounts for what VOLUME names and nobody mounts something else at."""
    taken = {posixpath.normpath(mount.destination) for mount in container.mounts}
    return [
        MountPointConfig("volume", f"{container.id}-{number}", path)
        for number, path in enumerate(paths, start=1)
        if path not in taken
    ]


def kept_anonymous(
    container: ContainerRecord, mounts: Sequence[MountPointConfig]
) -> list[MountPointConfig]:
    """The container's anonymous volumes that stay when it gets other mounts."""
    taken = {posixpath.normpath(mount.destination) for mount in mounts}
    return [
        mount
        for mount in container.mounts
        if mount.source.startswith(f"{container.id}-") and mount.destination not in taken
    ]


def in_use(subject: str, users: Sequence[ContainerRecord]) -> Conflict:
    """The error for what containers cannot do without; all of them are named."""
    found = sorted(user.name for user in users)
    listed = ", ".join(f"'{name}'" for name in found)
    which = "container" if len(found) == 1 else "containers"
    force = "-f " if any(user.running for user in users) else ""
    return Conflict(
        f"{subject} is used by {which} {listed}",
        hint=f"remove the {which} first: klee rmc {force}{' '.join(found)}",
    )


def _fill_if_empty(root: Path, path: str, target: Path) -> None:
    """Copy a directory of an image into a volume that has nothing in it yet."""
    if os.listdir(target):  # noqa: PTH208 - names are enough
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        copytree.copy_tree(root, path, target)
