"""Execution instances: create and stop. They are started by a stream: ``streams``."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from kleene.daemon.routes.common import Engine, errors
from kleene.schemas.common import IdResponse
from kleene.schemas.execs import ExecConfig


@post("/create", operation_id="Exec.Create", summary="exec create", responses=errors(404, 409))
async def create(engine: Engine, data: JSONBody[ExecConfig]) -> IdResponse:
    """Create an execution instance in a container. ``/exec/start`` starts it."""
    return IdResponse(await engine.execs.create(data))


@post(
    "/{exec_id:str}/stop",
    status_code=200,
    operation_id="Exec.Stop",
    summary="exec stop",
    responses=errors(404, 409),
)
async def stop(
    engine: Engine,
    exec_id: Annotated[str, PathParameter(description="Id of an execution instance.")],
    force_stop: Annotated[
        bool, QueryParameter(description="Kill the process instead of asking it to end.")
    ] = False,
    stop_container: Annotated[
        bool, QueryParameter(description="Stop the whole container with it.")
    ] = False,
) -> IdResponse:
    """Stop an execution instance and forget it."""
    stopped = await engine.execs.stop(exec_id, force=force_stop, stop_container=stop_container)
    return IdResponse(stopped)


router = Router("/exec", route_handlers=[create, stop])
