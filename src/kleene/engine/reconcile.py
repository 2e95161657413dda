"""After a start: make the world and the metadata agree.

What was half-made when an earlier daemon died is taken away, what was half-removed is removed, what
runs is adopted. Datasets that the metadata does not know are left alone: no order of steps in Kleene
leaves one, so they are somebody's data (a lost database, a restored pool), and they are named in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from kleene.engine import making
from kleene.engine.build_mounts import DIRECTORY
from kleene.engine.containers import Containers
from kleene.engine.core import Core, log
from kleene.engine.endpoints import Endpoints
from kleene.engine.execs import Execs
from kleene.engine.images import Images
from kleene.engine.lifecycle import Lifecycle
from kleene.engine.networks import Networks
from kleene.engine.volume_states import VolumeStates
from kleene.engine.volumes import Volumes
from kleene.errors import HostUnavailable
from kleene.host import removal
from kleene.metadata.containers import ContainerRecord


class Reconciler:
    """Runs once, before the daemon listens.

    Attributes:
        interrupted: ids of containers that ran when the host went down.
        adopted: ids of containers that were found up.
    """

    def __init__(
        self,
        core: Core,
        lifecycle: Lifecycle,
        images: Images,
        containers: Containers,
        execs: Execs,
        endpoints: Endpoints,
        networks: Networks,
        volumes: Volumes,
        volume_states: VolumeStates,
    ) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._images = images
        self._containers = containers
        self._execs = execs
        self._endpoints = endpoints
        self._networks = networks
        self._volumes = volumes
        self._volume_states = volume_states
        self.interrupted: set[str] = set()
        self.adopted: set[str] = set()

    async def run(self) -> None:
        """Bring everything into agreement. Errors with one object do not stop the others.

        Raises:
            HostUnavailable: this is not the storage that the metadata tells of; nothing was changed.
        """
        await self._check_storage()
        await self._containers_down()
        await self._half_made()
        await self._networks.restore()
        for record in self._core.containers.running():
            await self._try(self._adopt(record), f"adopting container {record.name}")
        await self._endpoints.refresh_firewall()
        await self._report_unknown_datasets()

    async def _check_storage(self) -> None:
        """With an empty pool, or somebody else's, everything would seem to be lost, and what is removed
        now would be forgotten where it really lies."""
        core = self._core
        with_snapshots = "state != 'making' AND id IN (SELECT image_id FROM snapshots)"
        known = {record.dataset for record in core.images.images.where(with_snapshots)}
        known |= {record.dataset for record in core.volumes.ready()}
        known |= {record.dataset for record in core.containers.ready() if not record.is_build}
        if known and known.isdisjoint(await core.platform.storage.datasets()):
            example = await asyncio.to_thread(core.platform.storage.host_name, min(known))
            metadata = core.platform.root / "kleene.db"
            raise HostUnavailable(
                f"this is another storage pool than before: it has none of the {len(known)} datasets that "
                f"'{metadata}' tells of, such as {example}",
                hint="set 'storage' and 'zfs_dataset' as they were, and mount the pool; to begin "
                f"anew, move '{metadata}' away",
            )

    async def _try(self, work: Awaitable[None], what: str) -> None:
        """One object that cannot be brought into agreement must not keep the daemon from its others."""
        try:
            await work
        except Exception:
            log.exception("%s failed", what)

    async def _containers_down(self) -> None:
        """Down: what is half-made, and what the runtime has but the metadata does not have running."""
        runtime = self._core.platform.runtime
        keep = {
            record.id
            for record in self._core.containers.running()
            if record.state == "ready" and await runtime.is_up(record.id)
        }
        for container in await runtime.containers():
            if container not in keep:
                await runtime.delete(container)
        for record in self._core.containers.running():
            if record.id not in keep:
                self.interrupted.add(record.id)
                await self._try(self._lifecycle.take_down(record), f"taking down {record.name}")
        self._lifecycle.files.sweep(keep)

    async def _half_made(self) -> None:
        """Take away containers, images and volumes that were in the making or being removed."""
        for container in self._core.containers.containers.where("state != 'ready'"):
            await self._try(self._containers.destroy(container), f"removing {container.name}")
        for instance in self._core.containers.execs.where(
            "container_id IN (SELECT id FROM containers WHERE running = 0)"
        ):
            self._core.containers.execs.delete(instance.id)
        for record in self._core.containers.ready():
            if record.auto_remove and not record.running:
                await self._containers.destroy(record)
        for image in self._core.images.images.where("state = 'making'"):
            await self._try(making.destroy(self._core, image), f"removing image {image.id}")
        await self._images.collect()
        for cache in self._core.caches.caches.where("state != 'ready'"):
            await self._try(self._images.caches.destroy(cache), f"removing cache {cache.name}")
        copies = self._core.platform.root / DIRECTORY
        await asyncio.to_thread(removal.discard, copies)
        for volume in self._core.volumes.volumes.where("state != 'ready'"):
            await self._try(self._volumes.destroy(volume), f"removing volume {volume.name}")
        for snapshot in self._core.volumes.snapshots.where("state != 'ready'"):
            going = self._volume_states.destroy_snapshot(snapshot)
            await self._try(going, f"removing snapshot {snapshot.volume}@{snapshot.name}")

    async def _adopt(self, record: ContainerRecord) -> None:
        self.adopted.add(record.id)
        runtime = self._core.platform.runtime
        known = {instance.id for instance in self._core.containers.execs_of(record.id)}
        await runtime.end_strays(record.id, known)
        for instance in self._core.containers.execs_of(record.id):
            process = None
            if instance.state == "running":
                process = await runtime.adopt(record.id, instance.id)
            if process is None:
                self._core.containers.execs.delete(instance.id)
            else:
                self._execs.watch(record, instance.id, process)
        self._lifecycle.supervise(record, None)

    async def _report_unknown_datasets(self) -> None:
        known = {record.dataset for record in self._core.images.images.where()}
        known |= {record.dataset for record in self._core.containers.containers.where()}
        known |= {record.dataset for record in self._core.volumes.volumes.where()}
        known |= {record.dataset for record in self._core.caches.caches.where()}
        known |= {record.dataset for record in self._core.volumes.snapshots.where()}
        unknown = [d for d in await self._core.platform.storage.datasets() if d not in known]
        for dataset in unknown:
            name = await asyncio.to_thread(self._core.platform.storage.host_name, dataset)
            log.warning("dataset %s is not in the metadata; it is left alone", name)
