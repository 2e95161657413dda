"""Containers: create, list, inspect, update, stop, remove, prune."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import JSONBody, QueryParameter

from kleene.daemon.routes.common import ContainerRef, Engine, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import (
    ContainerConfig,
    ContainerInspect,
    ContainerProcess,
    ContainerSummary,
)


@post(
    "/create",
    operation_id="Container.Create",
    summary="container create",
    responses=errors(404, 409),
)
async def create(engine: Engine, data: JSONBody[ContainerConfig]) -> IdResponse:
    """Create a container from an image. It is not started: create and start an execution instance."""
    return await engine.containers.create(data)


@get("/list", operation_id="Container.List", summary="container list", responses=errors(404))
async def list_(
    engine: Engine,
    all: Annotated[  # noqa: A002 - the documented name
        bool, QueryParameter(description="List the containers that do not run, too.")
    ] = False,
    filters: Annotated[list[str] | None, filters_of("container")] = None,
) -> list[ContainerSummary]:
    """List the running containers, or all; of these, those that fit the filters."""
    return await engine.lists.containers(filters or (), every=all)


@post(
    "/prune",
    status_code=200,
    operation_id="Container.Prune",
    summary="container prune",
    responses=errors(),
)
async def prune(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("prune")] = None
) -> list[str]:
    """Remove all containers that do not run and fit the filters, but those that are to persist; their ids."""
    return await engine.containers.prune(filters or ())


@delete(
    "/{container_id:str}",
    status_code=200,
    operation_id="Container.Remove",
    summary="container remove",
    responses=errors(404, 409),
)
async def remove(
    engine: Engine,
    container_id: ContainerRef,
    force: Annotated[bool, QueryParameter(description="Stop the container first.")] = False,
) -> IdResponse:
    """Remove a container that does not run, or, with ``force``, any."""
    return IdResponse(await engine.containers.remove(container_id, force=force))


@get(
    "/{container_id:str}/inspect",
    operation_id="Container.Inspect",
    summary="container inspect",
    responses=errors(404),
)
async def inspect(engine: Engine, container_id: ContainerRef) -> ContainerInspect:
    """Tell all that is known of a container, its endpoints and its mounts."""
    return await engine.containers.inspect(container_id)


@post(
    "/{container_id:str}/stop",
    status_code=200,
    operation_id="Container.Stop",
    summary="container stop",
    responses=errors(404, 409),
)
async def stop(
    engine: Engine,
    container_id: ContainerRef,
    timeout: Annotated[  # noqa: ASYNC109 - part of the API; the engine keeps it
        float | None,
        QueryParameter(
            ge=0,
            description="Seconds between the request to end and the kill; else as the container says.",
        ),
    ] = None,
) -> IdResponse:
    """Stop a container: all its execution instances are asked to end, and killed if they do not."""
    return IdResponse(await engine.containers.stop(container_id, timeout=timeout))


@post(
    "/{container_id:str}/kill",
    status_code=200,
    operation_id="Container.Kill",
    summary="container kill",
    responses=errors(404, 409),
)
async def kill(
    engine: Engine,
    container_id: ContainerRef,
    signal: Annotated[str, QueryParameter(description="Name or number of the signal.")] = "SIGKILL",
) -> IdResponse:
    """Send a signal to every process of a container."""
    return IdResponse(await engine.containers.kill(container_id, signal))


@get(
    "/{container_id:str}/top",
    operation_id="Container.Top",
    summary="container top",
    responses=errors(404, 409),
)
async def top(engine: Engine, container_id: ContainerRef) -> list[ContainerProcess]:
    """List the processes of a container."""
    return await engine.containers.top(container_id)


@post(
    "/{container_id:str}/update",
    operation_id="Container.Update",
    summary="container update",
    responses=errors(404, 409),
)
async def update(
    engine: Engine, container_id: ContainerRef, data: JSONBody[ContainerConfig]
) -> IdResponse:
    """Change a container: what is not ``null`` replaces what was; ``image`` is ignored. Limits of a
    container that runs are changed at once; the notes tell what takes effect at its next start."""
    return await engine.containers.update(container_id, data)


router = Router(
    "/containers", route_handlers=[create, list_, prune, remove, inspect, stop, kill, top, update]
)
