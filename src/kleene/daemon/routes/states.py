"""States of containers and what they use: diff, commit, statistics, execution instances."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.params import JSONBody

from kleene.daemon.routes.common import ContainerRef, Engine, errors
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import CommitConfig, ContainerStats, FileChange
from kleene.schemas.execs import ExecInfo


@get(
    "/{container_id:str}/diff",
    operation_id="Container.Diff",
    summary="container diff",
    responses=errors(404),
)
async def diff(engine: Engine, container_id: ContainerRef) -> list[FileChange]:
    """List the files in which a container, running or not, differs from its image."""
    return await engine.states.diff(container_id)


@post(
    "/{container_id:str}/commit",
    operation_id="Container.Commit",
    summary="container commit",
    responses=errors(404, 409),
)
async def commit(
    engine: Engine, container_id: ContainerRef, data: JSONBody[CommitConfig]
) -> IdResponse:
    """Make an image of the present files of a container, running or not; the image's id."""
    return IdResponse(await engine.states.commit(container_id, data))


@get("/stats", operation_id="Container.AllStats", summary="container stats", responses=errors())
async def all_stats(engine: Engine) -> list[ContainerStats]:
    """Tell what all running containers use at this moment."""
    return await engine.stats.all()


@get(
    "/{container_id:str}/stats",
    operation_id="Container.Stats",
    summary="container stats",
    responses=errors(404, 409),
)
async def stats(engine: Engine, container_id: ContainerRef) -> ContainerStats:
    """Tell what a running container uses at this moment."""
    return await engine.stats.of(container_id)


@get(
    "/{container_id:str}/execs",
    operation_id="Container.Execs",
    summary="container execs",
    responses=errors(404),
)
async def execs(engine: Engine, container_id: ContainerRef) -> list[ExecInfo]:
    """List the execution instances that run in a container, the oldest first."""
    return await engine.execs.running(container_id)


router = Router("/containers", route_handlers=[diff, commit, all_stats, stats, execs])
