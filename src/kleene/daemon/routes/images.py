"""Images: list, inspect, tag, remove, history, blame, diff.

They are built and created by streams: ``streams``. They are pruned in ``space``.

The reference of an image may hold slashes, which :mod:`kleene.daemon.paths` folds into one segment.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from litestar.params import QueryParameter

from kleene.daemon.paths import unfold
from kleene.daemon.routes.common import Engine, ImageRef, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.history import Blame, HistoryStep, StateChange
from kleene.schemas.images import Image


@get("/list", operation_id="Image.List", summary="image list", responses=errors(404))
async def list_(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("image")] = None
) -> list[Image]:
    """List the images, those without a tag too."""
    return await engine.lists.images(filters or ())


@get(
    "/{image_id:str}/inspect",
    operation_id="Image.Inspect",
    summary="image inspect",
    responses=errors(404),
)
async def inspect(
    engine: Engine,
    image_id: ImageRef,
    size: Annotated[bool, QueryParameter(description="Measure it on disk.")] = False,
) -> Image:
    """Tell all that is known of an image: its configuration, its instructions and their snapshots."""
    image = await engine.images.inspect(unfold(image_id))
    if not size:
        return image
    return msgspec.structs.replace(image, size=await engine.space.of_image(unfold(image_id)))


@post(
    "/{image_id:str}/tag",
    status_code=200,
    operation_id="Image.Tag",
    summary="image tag",
    responses=errors(404, 409),
)
async def tag(
    engine: Engine,
    image_id: ImageRef,
    nametag: Annotated[
        str, QueryParameter(description="NAME[:TAG]; the tag is latest if left out.")
    ],
) -> IdResponse:
    """Give an image a new name and tag. The image that had them is left untagged."""
    return IdResponse(await engine.images.tag(unfold(image_id), nametag))


@get(
    "/{image_id:str}/history",
    operation_id="Image.History",
    summary="image history",
    responses=errors(404),
)
async def history(engine: Engine, image_id: ImageRef) -> list[HistoryStep]:
    """Tell the steps of the build that made an image: time, size, cache key, snapshot, environment."""
    return await engine.history.steps(unfold(image_id))


@get(
    "/{image_id:str}/blame",
    operation_id="Image.Blame",
    summary="image blame",
    responses=errors(404),
)
async def blame(
    engine: Engine,
    image_id: ImageRef,
    path: Annotated[str, QueryParameter(description="Absolute path in the image.")],
) -> Blame:
    """Tell which step wrote a file of an image, or removed it. Links on the way are followed in the image."""
    return await engine.history.blame(unfold(image_id), path)


_State = Annotated[str, QueryParameter(description="IMAGE[@SNAPSHOT].")]


@get("/diff", operation_id="Image.Diff", summary="image diff", responses=errors(404))
async def diff(engine: Engine, older: _State, newer: _State) -> list[StateChange]:
    """Tell what differs between two states of images, by path.

    Of states of one line of builds the storage tells what was written; others are compared by content.
    """
    return await engine.history.diff(older, newer)


@delete(
    "/{image_id:str}",
    status_code=200,
    operation_id="Image.Remove",
    summary="image remove",
    responses=errors(404, 409),
)
async def remove(engine: Engine, image_id: ImageRef) -> IdResponse:
    """Remove an image that no container uses."""
    return IdResponse(await engine.images.remove(unfold(image_id)))


router = Router("/images", route_handlers=[list_, inspect, tag, history, blame, diff, remove])
