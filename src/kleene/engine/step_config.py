"""What a container gets that begins in the middle of a build: what a RUN there would have."""

from __future__ import annotations

from dataclasses import replace

from kleene.errors import NotFound
from kleene.metadata.images import ImageRecord, ImageStore, InstructionRecord, SnapshotRecord


def as_of(
    store: ImageStore, image: ImageRecord, snapshot: SnapshotRecord, number: int | None
) -> ImageRecord:
    """The image with the environment, user and working directory of a step.

    Args:
        snapshot: what the container begins as. Unless it is what the image itself is, its step counts.
        number: the step that counts, whatever the snapshot.

    Raises:
        NotFound: the image has no step of this number.
    """
    if number is not None:
        step = store.step(image.id, number)
        if step is None:
            raise NotFound(
                f"image '{image.id}' has no step {number}", hint=f"klee image history {image.id}"
            )
    elif snapshot.id == image.snapshot:
        return image
    else:
        step = _step_to(store, image, snapshot)
    if step is None:
        return image
    return replace(image, env=store.environment(step), user=step.user, workdir=step.cwd)


def _step_to(
    store: ImageStore, image: ImageRecord, snapshot: SnapshotRecord
) -> InstructionRecord | None:
    steps = store.instructions(image.id)
    return next((step for step in steps if step.snapshot_id == snapshot.id), None)
