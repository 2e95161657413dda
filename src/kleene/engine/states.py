"""The states of containers: what changed in one since its image, and images made of one.

Both look at a snapshot of this moment, so that a container can go on running. It goes with the operation.
What was only made to mount the daemon's own files on is no change of the container's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec

from kleene import names
from kleene.build.changes import changed
from kleene.build.config import ImageConfig
from kleene.engine import lookup, making
from kleene.engine.core import Core
from kleene.engine.frozen import frozen
from kleene.errors import NotFound
from kleene.host import inroot
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.images import ImageRecord, InstructionRecord, SnapshotRecord
from kleene.schemas.containers import CommitConfig, FileChange
from kleene.schemas.images import ImageSettings
from kleene.storage.driver import Snapshot

_LONGEST_MESSAGE = 500
_OF_RUNTIME = ("/dev", "/proc", "/sys")
"""Where the runtime mounts something in every container: it makes these where an image has them not."""


class States:
    """What can be done with the states of containers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._storage = core.platform.storage

    async def diff(self, reference: str) -> list[FileChange]:
        """The files in which a container differs from its image, sorted by path.

        Raises:
            NotFound: no such container, or its image is not known any more.
        """
        record = lookup.container(self._core.containers, reference)
        origin = self._core.images.snapshots.get(record.snapshot)
        if origin is None:
            raise NotFound(
                f"the image of container '{record.name}' does not exist any more",
                hint=f"what the container has is still there: klee commit {record.name} NAME",
            )
        before = Snapshot(origin.dataset, origin.id)
        async with self._frozen(record) as (present, mountpoints):
            found = [
                FileChange(
                    change.kind, f"/{names.path_text(change.path)}" if change.path != "." else "/"
                )
                async for change in self._storage.diff(before, present)
            ]
        found = _without(found, {*_OF_RUNTIME, *mountpoints})
        return sorted(found, key=lambda change: change.path)

    @contextlib.asynccontextmanager
    async def _frozen(self, record: ContainerRecord) -> AsyncIterator[tuple[Snapshot, list[str]]]:
        """A container's present state, and what of it was only made to mount something on."""
        async with contextlib.AsyncExitStack() as stack:
            async with self._core.locks.hold(f"container/{record.id}"):
                present = await stack.enter_async_context(frozen(self._core, record.dataset))
                mountpoints = self._core.platform.runtime.mountpoints(record.id)
            yield present, mountpoints

    async def commit(self, reference: str, config: CommitConfig) -> str:
        """Make an image of a container's files; its id. Volumes are not part of it.

        Raises:
            InvalidInput: the tag or a change cannot be understood; nothing is made.
        """
        nametag = names.parse_nametag(config.tag) if config.tag else (None, None)
        record = lookup.container(self._core.containers, reference)
        settings = changed(self._described(record), config.changes)
        async with contextlib.AsyncExitStack() as undo:
            parent = f"{record.image_id}@{record.snapshot}"
            image = making.begin(self._core, parent=parent, base=record.snapshot)
            undo.push_async_callback(making.destroy, self._core, image)
            async with self._frozen(record) as (present, mountpoints):
                await self._storage.clone(present, image.dataset)
            root = self._storage.mountpoint(image.dataset)
            for path in reversed(mountpoints):
                with contextlib.suppress(OSError):
                    inroot.remove_empty(root, path)
            snapshot = SnapshotRecord(names.new_id(), image.id, None)
            await self._storage.snapshot(Snapshot(image.dataset, snapshot.id))
            self._core.images.snapshots.insert(snapshot)
            self._describe(image, record, config, snapshot.id)
            self._core.images.finish(
                replace(
                    image,
                    name=nametag[0],
                    tag=nametag[1],
                    snapshot=snapshot.id,
                    cmd=list(settings.cmd),
                    env=list(settings.env),
                    user=settings.user,
                    workdir=settings.workdir,
                    settings=settings.settings,
                )
            )
            undo.pop_all()
        self._core.events.emit("image", "commit", image.id, config.tag, container=record.name)
        return image.id

    def _described(self, record: ContainerRecord) -> ImageConfig:
        """What a container says of itself, and its image beyond that."""
        image = self._core.images.images.get(record.image_id)
        settings = msgspec.structs.replace(
            ImageSettings() if image is None else image.settings,
            entrypoint=record.entrypoint,
            stop_signal=record.stop_signal,
            labels=record.settings.labels,
            healthcheck=record.settings.healthcheck,
        )
        return ImageConfig(
            tuple(record.cmd), tuple(record.env), record.user, record.workdir or "/", settings
        )

    def _describe(
        self, image: ImageRecord, record: ContainerRecord, config: CommitConfig, snapshot: str
    ) -> None:
        """Write down how the image came to be, as its instructions."""
        message = " ".join(config.message.split())[:_LONGEST_MESSAGE]
        head = f"COMMIT {record.name}" + (f" # {message}" if message else "")
        texts = [head, *(" ".join(change.split()) for change in config.changes)]
        for position, text in enumerate(texts):
            taken = None if position else snapshot
            self._core.images.add_instruction(InstructionRecord(image.id, position, text, taken))


def _without(changes: list[FileChange], mountpoints: set[str]) -> list[FileChange]:
    """The changes, without mount points that were added, unless something else is below them."""
    made = [c for c in changes if c.kind == "added" and c.path in mountpoints]
    own = [c for c in changes if c.kind != "added" or c.path not in mountpoints]
    return own + [m for m in made if any(c.path.startswith(f"{m.path}/") for c in own)]
