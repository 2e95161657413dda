"""Images: listed, inspected, tagged, removed. How they are made: ``builds`` and ``bases``."""

from __future__ import annotations

import msgspec

from kleene import names
from kleene.build.events import Emit
from kleene.engine import lookup, making
from kleene.engine.bases import Bases
from kleene.engine.build_caches import BuildCaches
from kleene.engine.build_container import Services
from kleene.engine.builds import Builds
from kleene.engine.contexts import Contexts
from kleene.engine.core import Core
from kleene.engine.volumes import in_use
from kleene.metadata.images import ImageRecord
from kleene.schemas.images import Image, ImageBuildConfig, ImageCreateConfig

Instructions = list[list[str]]  # the class has a method ``list``


class Images:
    """All that can be done with images."""

    def __init__(
        self, core: Core, services: Services, contexts: Contexts, caches: BuildCaches
    ) -> None:
        self._core = core
        self._store = core.images
        self._bases = Bases(core, services)
        self.caches = caches
        self._builds = Builds(core, services, contexts, self.caches)

    async def create(self, config: ImageCreateConfig, emit: Emit) -> str:
        """Make a base image: :meth:`Bases.create`."""
        return self.told("create", await self._bases.create(config, emit))

    async def build(self, config: ImageBuildConfig, emit: Emit) -> str:
        """Build an image from a Dockerfile: :meth:`Builds.build`."""
        return self.told("build", await self._builds.build(config, emit))

    def told(self, action: str, image_id: str) -> str:
        """Tell of what happened to an image; its id."""
        record = self._store.images.get(image_id)
        name = f"{record.name}:{record.tag}" if record is not None and record.name else ""
        self._core.events.emit("image", action, image_id, name)
        return image_id

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
            instructions=self._instructions(record),
            workdir=record.workdir,
            snapshot=record.snapshot or "",
            parent=record.parent,
            **msgspec.structs.asdict(record.settings),
        )

    def _instructions(self, record: ImageRecord) -> Instructions:
        """The steps' texts, with the snapshots that are still there."""
        steps = [step for step in self._store.instructions(record.id) if not step.failed]
        present = self._store.present({step.snapshot_id for step in steps if step.snapshot_id})
        shown = {snapshot: snapshot for snapshot in present}
        return [[step.text, shown.get(step.snapshot_id or "", "")] for step in steps]

    async def tag(self, reference: str, nametag: str) -> str:
        """Give an image a new nametag; the image that had it becomes untagged."""
        name, tag = names.parse_nametag(nametag)
        record = lookup.whole_image(self._store, reference)
        self._store.move_tag(record.id, name, tag)
        return self.told("tag", record.id)

    async def remove(self, reference: str) -> str:
        """Remove an image. Images that were built from it stay whole.

        Raises:
            InvalidInput: one of its states is named.
            Conflict: a container was made from it.
        """
        record = lookup.whole_image(self._store, reference)
        users = [c for c in self._core.containers.present() if c.image_id == record.id]
        if users:
            subject = f"{record.name}:{record.tag}" if record.name else record.id
            raise in_use(f"image '{subject}'", users)
        self.told("remove", record.id)
        self._store.hide(record.id)
        await self.collect()
        return record.id

    async def collect(self) -> None:
        """Take away the datasets of removed images that nothing refers to any more."""
        await making.collect(self._core)

    async def list(self) -> list[Image]:
        """All images, oldest first."""
        return [self._wire(record) for record in self._store.ready()]
