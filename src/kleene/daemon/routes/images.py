"""Images: list, inspect, tag, remove, prune. They are built and created by streams: ``streams``.

The reference of an image may hold slashes, which :mod:`kleene.daemon.paths` folds into one segment.
"""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import QueryParameter

from kleene.daemon.paths import unfold
from kleene.daemon.routes.common import Engine, ImageRef, errors
from kleene.schemas.common import IdResponse
from kleene.schemas.images import Image


@get("/list", operation_id="Image.List", summary="image list", responses=errors())
async def list_(engine: Engine) -> list[Image]:
    """List all images, those without a tag too."""
    return await engine.images.list()


@get(
    "/{image_id:str}/inspect",
    operation_id="Image.Inspect",
    summary="image inspect",
    responses=errors(404),
)
async def inspect(engine: Engine, image_id: ImageRef) -> Image:
    """Tell all that is known of an image: its configuration, its instructions and their snapshots."""
    return await engine.images.inspect(unfold(image_id))


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


@post(
    "/prune",
    status_code=200,
    operation_id="Image.Prune",
    summary="image prune",
    responses=errors(),
)
async def prune(
    engine: Engine,
    all: Annotated[  # noqa: A002 - the documented name
        bool, QueryParameter(description="Remove the images that have a tag, too.")
    ] = False,
) -> list[str]:
    """Remove all images that no container uses; their ids."""
    return await engine.images.prune(all)


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


router = Router("/images", route_handlers=[list_, inspect, tag, prune, remove])
