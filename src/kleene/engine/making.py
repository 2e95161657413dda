"""An image in the making: its row before it exists on disk, and what becomes of both.

Shared by builds and base images. A row in state ``making`` is no user's business; it is finished or undone.
"""

from __future__ import annotations

from kleene import names
from kleene.engine.core import Core, now
from kleene.metadata.images import ImageRecord


def begin(core: Core, *, parent: str = "", base: str | None = None) -> ImageRecord:
    """Write the row of a new image.

    Args:
        parent: ``ID@SNAPSHOT`` that it starts from.
        base: that snapshot's id: it stays while the image is in the making, whoever removes its owner.
    """
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
        snapshot=base,
        parent=parent,
    )
    core.images.images.insert(record)
    return record


async def destroy(core: Core, record: ImageRecord) -> None:
    """Take away an image's dataset with its snapshots, then its row."""
    await core.platform.storage.destroy(record.dataset)
    core.images.images.delete(record.id)


async def collect(core: Core) -> None:
    """Take away the datasets of removed images that nothing refers to any more."""
    while unreferenced := core.images.unreferenced():
        for record in unreferenced:
            await destroy(core, record)
    core.images.drop_manifests()
