"""States of volumes: quota, snapshots, restore, clone, and tar streams."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, delete, get, post, put
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.response import Stream

from kleene.daemon.bodies import TAR, pieces, tar_stream
from kleene.daemon.routes.common import Engine, VolumeName, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.volumes import (
    VolumeCloneConfig,
    VolumeSnapshot,
    VolumeSnapshotConfig,
    VolumeUpdate,
)

_Snapshot = Annotated[str, QueryParameter(description="Name of a snapshot of the volume.")]


@post(
    "/{volume_name:str}/update",
    status_code=200,
    operation_id="Volume.Update",
    summary="volume update",
    responses=errors(404, 409),
)
async def update(
    engine: Engine, volume_name: VolumeName, data: JSONBody[VolumeUpdate]
) -> IdResponse:
    """Change how much a volume may hold."""
    return IdResponse(await engine.volume_states.update(volume_name, data))


@get(
    "/{volume_name:str}/snapshots",
    operation_id="Volume.Snapshots",
    summary="volume snapshots",
    responses=errors(404),
)
async def snapshots(
    engine: Engine,
    volume_name: VolumeName,
    filters: Annotated[list[str] | None, filters_of("snapshot")] = None,
) -> list[VolumeSnapshot]:
    """List the snapshots of a volume, oldest first."""
    return await engine.lists.snapshots(volume_name, filters or ())


@post(
    "/{volume_name:str}/snapshots",
    operation_id="Volume.Snapshot",
    summary="volume snapshot",
    responses=errors(404, 409),
)
async def snapshot(
    engine: Engine, volume_name: VolumeName, data: JSONBody[VolumeSnapshotConfig]
) -> IdResponse:
    """Keep the present state of a volume, while containers use it too; the snapshot's name."""
    return IdResponse(await engine.volume_states.snapshot(volume_name, data.name))


@delete(
    "/{volume_name:str}/snapshots/{snapshot_name:str}",
    status_code=200,
    operation_id="Volume.RemoveSnapshot",
    summary="volume remove snapshot",
    responses=errors(404, 409),
)
async def remove_snapshot(
    engine: Engine,
    volume_name: VolumeName,
    snapshot_name: Annotated[str, PathParameter(description="Name of a snapshot of the volume.")],
) -> IdResponse:
    """Remove a snapshot of a volume; its name. Volumes that were cloned from it stay."""
    return IdResponse(await engine.volume_states.remove_snapshot(volume_name, snapshot_name))


@post(
    "/{volume_name:str}/restore",
    status_code=200,
    operation_id="Volume.Restore",
    summary="volume restore",
    responses=errors(404, 409),
)
async def restore(engine: Engine, volume_name: VolumeName, snapshot: _Snapshot) -> IdResponse:
    """Make a volume what it was. What it is now is lost; all of its snapshots stay."""
    return IdResponse(await engine.volume_states.restore(volume_name, snapshot))


@post(
    "/{volume_name:str}/clone",
    operation_id="Volume.Clone",
    summary="volume clone",
    responses=errors(404, 409),
)
async def clone(
    engine: Engine, volume_name: VolumeName, data: JSONBody[VolumeCloneConfig]
) -> IdResponse:
    """Make a new volume that begins as another one is, or as one of its snapshots; its name."""
    return IdResponse(await engine.volume_states.clone(volume_name, data))


@get(
    "/{volume_name:str}/archive",
    operation_id="Volume.Export",
    summary="volume export",
    media_type=TAR,
    responses=errors(404),
)
async def export(engine: Engine, volume_name: VolumeName, snapshot: _Snapshot = "") -> Stream:
    """Get what is in a volume at this moment, or in one of its snapshots, as a tar stream.

    A stream that cannot be completed ends without its last chunk.
    """
    return tar_stream(await engine.volume_archives.export(volume_name, snapshot))


@put(
    "/{volume_name:str}/archive",
    status_code=204,
    operation_id="Volume.Import",
    summary="volume import",
    request_max_body_size=None,
    responses=errors(404, 409),
)
async def import_(request: Request[Any, Any, Any], engine: Engine, volume_name: VolumeName) -> None:
    """Fill a volume that is new or empty from a tar stream, compressed or not.

    The stream is the body of the request. Owners are kept by number; device nodes are left out. If it
    fails, nothing of it is left.
    """
    await engine.volume_archives.import_(volume_name, pieces(request))


router = Router(
    "/volumes",
    route_handlers=[update, snapshots, snapshot, remove_snapshot, restore, clone, export, import_],
)
