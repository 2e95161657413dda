"""Images: built from Dockerfiles, made from archives or datasets, listed, tagged, removed."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from kleene import names
from kleene.build.events import Emit, OutputWritten, Started
from kleene.engine import base_images, lookup
from kleene.engine.build_container import BuildContainer
from kleene.engine.containers import Containers
from kleene.engine.core import Core, now
from kleene.engine.endpoints import Endpoints
from kleene.engine.lifecycle import Lifecycle
from kleene.engine.volumes import Volumes
from kleene.errors import Conflict, HostUnavailable, InvalidInput
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.runtime.driver import ProcessSpec
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.images import Image, ImageBuildConfig, ImageCreateConfig
from kleene.schemas.networks import EndPointConfig
from kleene.storage.driver import Snapshot


class Images:
    """All that can be done with images."""

    def __init__(
        self,
        core: Core,
        lifecycle: Lifecycle,
        containers: Containers,
        endpoints: Endpoints,
        volumes: Volumes,
    ) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._containers = containers
        self._endpoints = endpoints
        self._volumes = volumes
        self._store = core.images

    async def inspect(self, reference: str) -> Image:
        """One image, with its instructions and their snapshots."""
        record, _ = lookup.image(self._store, reference)
        return self._wire(record)

    def _wire(self, record: ImageRecord) -> Image:
        snapshot = self._store.snapshots.get(record.snapshot or "")
        dataset = snapshot.dataset if snapshot else record.dataset
        return Image(
            id=record.id,
            name=record.name or "",
            tag=record.tag or "",
            dataset=self._core.platform.storage.host_name(dataset),
            created=record.created,
            cmd=record.cmd,
            env=record.env,
            user=record.user,
            instructions=[
                [i.text, i.snapshot_id or ""] for i in self._store.instructions(record.id)
            ],
            workdir=record.workdir,
            snapshot=record.snapshot or "",
            parent=record.parent,
        )

    async def tag(self, reference: str, nametag: str) -> str:
        """Give an image a new nametag; the image that had it becomes untagged."""
        name, tag = names.parse_nametag(nametag)
        record, _ = lookup.image(self._store, reference)
        self._store.move_tag(record.id, name, tag)
        return record.id

    async def remove(self, reference: str) -> str:
        """Remove an image. Images that were built from it stay whole.

        Raises:
            Conflict: a container was made from it.
        """
        record, _ = lookup.image(self._store, reference)
        users = [c for c in self._core.containers.ready() if c.image_id == record.id]
        if users:
            subject = f"{record.name}:{record.tag}" if record.name else record.id
            raise Conflict(
                f"image '{subject}' is used by container '{users[0].name}'",
                hint=f"remove the container first: klee rmc {users[0].name}",
            )
        self._store.hide(record.id)
        await self.collect()
        return record.id

    async def prune(self, all: bool) -> list[str]:  # noqa: A002 - the API's word
        """Remove the images that no container uses: the untagged ones, or ``all``; their ids."""
        used = {container.image_id for container in self._core.containers.ready()}
        unused = [r for r in self._store.ready() if r.id not in used and (all or r.name is None)]
        for record in unused:
            self._store.hide(record.id)
        await self.collect()
        return [record.id for record in unused]

    async def collect(self) -> None:
        """Take away the datasets of removed images that nothing refers to any more."""
        while unreferenced := self._store.unreferenced():
            for record in unreferenced:
                await self.destroy(record)

    async def destroy(self, record: ImageRecord) -> None:
        """Take away an image's dataset with its snapshots, and its row."""
        await self._core.platform.storage.destroy(record.dataset)
        self._store.images.delete(record.id)

    def _begin(self, parent: str = "") -> ImageRecord:
        record = ImageRecord(
            id=names.new_id(),
            name=None,
            tag=None,
            state="making",
            created=now(),
            cmd=[],
            env=[],
            user="",
            workdir="/",
            snapshot=None,
            parent=parent,
        )
        self._store.images.insert(record)
        return record

    async def create(self, config: ImageCreateConfig, emit: Emit) -> str:
        """Make a base image; its id.

        Raises:
            KleeneError: it cannot be made; nothing is left behind.
        """
        nametag = names.parse_nametag(config.tag) if config.tag else None
        _check_source(config)
        async with contextlib.AsyncExitStack() as undo:
            record = self._begin()
            undo.push_async_callback(self.destroy, record)
            await emit(Started(record.id))
            detected = await self._base(record, config, emit)
            if detected is not None and (nametag is None or config.autotag):
                nametag = names.parse_nametag(detected)
            if config.update:
                await self._update(record, emit)
            snapshot = SnapshotRecord(names.new_id(), record.id, None)
            await self._core.platform.storage.snapshot(Snapshot(record.dataset, snapshot.id))
            self._store.snapshots.insert(snapshot)
            name, tag = nametag or (None, None)
            self._store.finish(replace(record, name=name, tag=tag, snapshot=snapshot.id))
            undo.pop_all()
        return record.id

    async def _base(self, record: ImageRecord, config: ImageCreateConfig, emit: Emit) -> str | None:
        """Fill the dataset; the name that was detected, if the method detects one."""
        storage = self._core.platform.storage
        if config.method == "zfs-copy":
            await storage.copy_foreign(config.zfs_dataset, record.dataset)
            return None
        if config.method == "zfs-clone":
            await storage.clone_foreign(config.zfs_dataset, record.dataset)
            return None
        await storage.create(record.dataset)
        target = storage.mountpoint(record.dataset)
        detected = None
        if config.method == "fetch":
            await base_images.fetch(target, config.url, emit)
        else:
            detected = await base_images.fetch_auto(target, emit)
        await base_images.copy_host_files(target, dns=config.dns, localtime=config.localtime)
        return detected

    async def _update(self, record: ImageRecord, emit: Emit) -> None:
        """Bring the packages up to date, in a container, where the package manager is known."""
        root = self._core.platform.storage.mountpoint(record.dataset)
        commands = base_images.update_commands(root)
        if commands is None:
            await emit(OutputWritten(b"no package manager that Kleene knows: not updated\n"))
            return
        async with self._build_container(record, record, ContainerConfig(), []) as container:
            for command in commands:
                process = await container.execute(ProcessSpec(args=command))
                async for output in process.output():
                    await emit(OutputWritten(output.data, output.stream))
                if (code := await process.wait()) != 0:
                    raise HostUnavailable(
                        f"the update failed: '{' '.join(command)}' returned {code}",
                        hint="leave it out with --no-update, and see the output above",
                    )

    def _build_container(
        self,
        image: ImageRecord,
        parent: ImageRecord,
        config: ContainerConfig,
        endpoints: list[EndPointConfig],
    ) -> BuildContainer:
        return BuildContainer(
            self._core,
            self._lifecycle,
            self._containers,
            self._endpoints,
            self._volumes,
            image=image,
            parent=parent,
            config=config,
            wanted=endpoints,
        )

    async def build(self, config: ImageBuildConfig, emit: Emit) -> str:
        """Build an image from a Dockerfile; its id.

        Raises:
            BuildFailed: a step failed. Without ``cleanup`` the image is kept as ``NAME:failed``.
            KleeneError: the build could not begin; nothing is left behind.
        """
        nametag = names.parse_nametag(config.tag) if config.tag else None
        return "TODO"

    async def list(self) -> list[Image]:
        """All images, oldest first."""
        return [self._wire(record) for record in self._store.ready()]


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
