"""Builds that are resumed: what ``--resume`` names, and a container's files as the state to go on from."""

from __future__ import annotations

from kleene.build.resuming import Resumption
from kleene.engine import lookup
from kleene.engine.core import Core
from kleene.engine.frozen import frozen
from kleene.errors import InvalidInput, NotFound
from kleene.metadata.containers import ContainerRecord


def find(core: Core, name: str) -> Resumption:
    """The build that ``IMAGE[@SNAPSHOT]`` or a container stands for.

    Raises:
        NotFound: there is neither.
        InvalidInput: no build made the image.
    """
    container = _container(core, name)
    if container is not None:
        image = core.images.images.get(container.image_id)
        assert image is not None  # it cannot be removed while it has containers
        snapshot = container.snapshot or image.snapshot or ""
    else:
        image, found = lookup.image(core.images, name)
        snapshot = found.id if "@" in name else ""
    records = tuple(core.images.instructions(image.id))
    if not records:
        raise InvalidInput(
            f"image '{name}' was not built from a Dockerfile",
            hint="resume a build that failed: klee lsi shows it as NAME:failed",
        )
    present = core.images.present({record.snapshot_id or "" for record in records} | {snapshot})
    if snapshot and snapshot not in present:
        raise NotFound(
            f"the state that container '{name}' was made from was pruned",
            hint="build without --resume",
        )
    return Resumption(
        name, records, frozenset(present), snapshot, container.id if container else ""
    )


def _container(core: Core, name: str) -> ContainerRecord | None:
    """The container of this name, if no image is meant: an image's name may be one's too."""
    try:
        lookup.image(core.images, name)
    except (NotFound, InvalidInput) as error:
        try:
            return lookup.container(core.containers, name)
        except NotFound:
            raise error from None
    return None


async def clone(core: Core, container_id: str, dataset: str) -> None:
    """Make a dataset of a container's files as they are now."""
    record = core.containers.containers.get(container_id)
    if record is None or record.state != "ready":
        raise NotFound(
            f"no such container: '{container_id}'", hint="list what there is: klee lsc -a"
        )
    async with frozen(core, record.dataset) as present:
        await core.platform.storage.clone(present, dataset)
