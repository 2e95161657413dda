"""Volumes: create, list, inspect, remove, prune."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import JSONBody

from kleene.daemon.routes.common import Engine, VolumeName, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.volumes import Volume, VolumeConfig, VolumeInspect


@post("/create", operation_id="Volume.Create", summary="volume create", responses=errors())
async def create(engine: Engine, data: JSONBody[VolumeConfig]) -> IdResponse:
    """Create a volume. One that exists already is left as it is."""
    return IdResponse(await engine.volumes.create(data))


@get("/list", operation_id="Volume.List", summary="volume list", responses=errors(404))
async def list_(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("volume")] = None
) -> list[Volume]:
    """List the volumes."""
    return await engine.lists.volumes(filters or ())


@get(
    "/{volume_name:str}/inspect",
    operation_id="Volume.Inspect",
    summary="volume inspect",
    responses=errors(404),
)
async def inspect(engine: Engine, volume_name: VolumeName) -> VolumeInspect:
    """Tell all that is known of a volume and where it is mounted."""
    return await engine.volumes.inspect(volume_name)


@post(
    "/prune",
    status_code=200,
    operation_id="Volume.Prune",
    summary="volume prune",
    responses=errors(),
)
async def prune(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("prune")] = None
) -> list[str]:
    """Remove all volumes that no container mounts and that fit the filters; their names."""
    return await engine.volumes.prune(filters or ())


@delete(
    "/{volume_name:str}",
    status_code=200,
    operation_id="Volume.Remove",
    summary="volume remove",
    responses=errors(404, 409),
)
async def remove(engine: Engine, volume_name: VolumeName) -> IdResponse:
    """Remove a volume that no container mounts."""
    return IdResponse(await engine.volumes.remove(volume_name))


router = Router("/volumes", route_handlers=[create, list_, inspect, prune, remove])
