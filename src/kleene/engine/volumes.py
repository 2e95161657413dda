"""Volumes: datasets that outlive the containers that mount them.

What VOLUME names in a Dockerfile becomes a volume of the container's own, an anonymous one: ``ID-1``.
It is a volume like any other, but it goes with its container.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from kleene import names
from kleene.engine import lookup
from kleene.engine.core import Core, now
from kleene.errors import Conflict
from kleene.host import copytree
from kleene.host.threads import in_thread
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.volumes import VolumeRecord
from kleene.schemas.containers import MountPoint, MountPointConfig
from kleene.schemas.volumes import Volume, VolumeConfig, VolumeInspect


class Volumes:
    """All that can be done with volumes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.volumes

    def mountpoint(self, name: str) -> Path:
        """Where the volume's files are on the host."""
        return self._core.platform.storage.mountpoint(VolumeRecord(name, "ready", "").dataset)

    async def create(self, config: VolumeConfig) -> str:
        """Make an empty volume; its name. One that exists is left as it is, as Docker does."""
        name = names.check_object_name("volume", config.name)
        async with self._core.locks.hold(f"volume/{name}"):
            if self._store.volumes.get(name) is None:
                await self._create(VolumeRecord(name, "making", now()))
        return name

    async def _create(self, record: VolumeRecord) -> None:
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
            await storage.create(record.dataset)
            self._store.volumes.update(record.name, state="ready")
            undo.pop_all()

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

    def _get(self, name: str) -> VolumeRecord:
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
        )

    async def inspect(self, name: str) -> VolumeInspect:
        """A volume and the containers that mount it."""
        record = self._get(name)
        mountpoints = [
            MountPoint(container.id, m.type, m.source, m.destination, m.read_only)
            for container in self._core.containers.mounting(name)
            for m in container.mounts
            if m.type == "volume" and m.source == name
        ]
        return VolumeInspect(self._wire(record), mountpoints)

    async def remove(self, name: str) -> str:
        """Remove a volume with what is in it.

        Raises:
            Conflict: a container mounts it.
        """
        async with self._core.locks.hold(f"volume/{name}"):
            record = self._get(name)
            users = self._core.containers.mounting(name)
            if users:
                raise Conflict(
                    f"volume '{name}' is used by container '{users[0].name}'",
                    hint=f"remove the container first: klee rmc {users[0].name}",
                )
            await self.destroy(record)
        return name

    async def destroy(self, record: VolumeRecord) -> None:
        """Take a volume away; it is out of sight before anything is lost."""
        self._store.volumes.update(record.name, state="removing")
        await self._core.platform.storage.destroy(record.dataset)
        self._store.volumes.delete(record.name)

    async def prune(self) -> list[str]:
        """Remove every volume that no container mounts; their names."""
        unused = [r.name for r in self._store.ready() if not self._core.containers.mounting(r.name)]
        return [await self.remove(name) for name in unused]

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


def _fill_if_empty(root: Path, path: str, target: Path) -> None:
    """Copy a directory of an image into a volume that has nothing in it yet."""
    if os.listdir(target):  # noqa: PTH208 - names are enough
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        copytree.copy_tree(root, path, target)
