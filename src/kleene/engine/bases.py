"""Base images: datasets filled from an archive, from the host's package sources, or from another dataset."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from kleene import names
from kleene.build.events import Emit, OutputWritten, Started
from kleene.engine import base_images, making
from kleene.engine.build_container import BuildContainer, Services
from kleene.engine.core import Core
from kleene.errors import HostUnavailable, InvalidInput
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.runtime.driver import ProcessSpec
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.images import ImageCreateConfig
from kleene.storage.driver import Snapshot


class Bases:
    """Makes base images."""

    def __init__(self, core: Core, services: Services) -> None:
        self._core = core
        self._services = services
        self._storage = core.platform.storage

    async def create(self, config: ImageCreateConfig, emit: Emit) -> str:
        """Make a base image; its id.

        Raises:
            KleeneError: it cannot be made; nothing is left behind.
        """
        nametag = names.parse_nametag(config.tag) if config.tag else None
        _check_source(config)
        async with contextlib.AsyncExitStack() as undo:
            record = making.begin(self._core)
            undo.push_async_callback(making.destroy, self._core, record)
            await emit(Started(record.id))
            detected = await self._fill(record, config, emit)
            if detected is not None and (nametag is None or config.autotag):
                nametag = names.parse_nametag(detected)
            if config.update:
                await self._update(record, emit)
            snapshot = SnapshotRecord(names.new_id(), record.id, None)
            await self._storage.snapshot(Snapshot(record.dataset, snapshot.id))
            self._core.images.snapshots.insert(snapshot)
            name, tag = nametag or (None, None)
            self._core.images.finish(replace(record, name=name, tag=tag, snapshot=snapshot.id))
            undo.pop_all()
        return record.id

    async def _fill(self, record: ImageRecord, config: ImageCreateConfig, emit: Emit) -> str | None:
        """Fill the dataset; the name that was detected, if the method detects one."""
        if config.method == "zfs-copy":
            await self._storage.copy_foreign(config.zfs_dataset, record.dataset)
            return None
        if config.method == "zfs-clone":
            await self._storage.clone_foreign(config.zfs_dataset, record.dataset)
            return None
        await self._storage.create(record.dataset)
        target = self._storage.mountpoint(record.dataset)
        detected = None
        if config.method == "fetch":
            await base_images.fetch(target, config.url, emit)
        else:
            detected = await base_images.fetch_auto(target, emit)
        await base_images.copy_host_files(target, dns=config.dns, localtime=config.localtime)
        return detected

    async def _update(self, record: ImageRecord, emit: Emit) -> None:
        """Bring the packages up to date, in a container, where the package manager is known."""
        commands = base_images.update_commands(self._storage.mountpoint(record.dataset))
        if commands is None:
            await emit(OutputWritten(b"no package manager that Kleene knows: not updated\n"))
            return
        options = ContainerConfig()
        async with BuildContainer(self._services, record, record, options, []) as container:
            for command in commands:
                process = await container.execute(ProcessSpec(args=command))
                async for output in process.output():
                    await emit(OutputWritten(output.data, output.stream))
                if (code := await process.wait()) != 0:
                    raise HostUnavailable(
                        f"the update failed: '{' '.join(command)}' returned {code}",
                        hint="leave it out with --no-update, and see the output above",
                    )


def _check_source(config: ImageCreateConfig) -> None:
    if config.method == "fetch" and not config.url:
        raise InvalidInput(
            "method 'fetch' needs a URL", hint="klee image create fetch file:///PATH/base.tar.xz"
        )
    if config.method.startswith("zfs-") and not config.zfs_dataset:
        raise InvalidInput(
            f"method '{config.method}' needs a dataset",
            hint=f"klee image create {config.method} DATASET",
        )
