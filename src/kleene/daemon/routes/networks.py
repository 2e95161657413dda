"""Networks: create, list, inspect, remove, prune; and the connections of containers to them."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import JSONBody

from kleene.daemon.routes.common import ContainerRef, Engine, NetworkRef, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.networks import EndPointConfig, Network, NetworkConfig, NetworkInspect


@post("/create", operation_id="Network.Create", summary="network create", responses=errors(409))
async def create(engine: Engine, data: JSONBody[NetworkConfig]) -> IdResponse:
    """Create a network and its interface on the host."""
    return IdResponse(await engine.networks.create(data))


@get("/list", operation_id="Network.List", summary="network list", responses=errors())
async def list_(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("network")] = None
) -> list[Network]:
    """List the networks."""
    return await engine.lists.networks(filters or ())


@get(
    "/{network_id:str}/inspect",
    operation_id="Network.Inspect",
    summary="network inspect",
    responses=errors(404),
)
async def inspect(engine: Engine, network_id: NetworkRef) -> NetworkInspect:
    """Tell all that is known of a network and its endpoints."""
    return await engine.networks.inspect(network_id)


@post(
    "/connect",
    status_code=204,
    operation_id="Network.Connect",
    summary="network connect",
    responses=errors(404, 409),
)
async def connect(engine: Engine, data: JSONBody[EndPointConfig]) -> None:
    """Connect a container to a network. A container that runs is connected at once."""
    await engine.networks.connect(data)


@post(
    "/{network_id:str}/disconnect/{container_id:str}",
    status_code=204,
    operation_id="Network.Disconnect",
    summary="network disconnect",
    responses=errors(404, 409),
)
async def disconnect(engine: Engine, network_id: NetworkRef, container_id: ContainerRef) -> None:
    """Disconnect a container from a network, whether it runs or not."""
    await engine.networks.disconnect(network_id, container_id)


@post(
    "/prune",
    status_code=200,
    operation_id="Network.Prune",
    summary="network prune",
    responses=errors(),
)
async def prune(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("prune")] = None
) -> list[str]:
    """Remove all networks that no container is connected to and that fit the filters; their ids."""
    return await engine.networks.prune(filters or ())


@delete(
    "/{network_id:str}",
    status_code=200,
    operation_id="Network.Remove",
    summary="network remove",
    responses=errors(404, 409),
)
async def remove(engine: Engine, network_id: NetworkRef) -> IdResponse:
    """Remove a network. Containers that are connected to it are disconnected."""
    return IdResponse(await engine.networks.remove(network_id))


router = Router(
    "/networks", route_handlers=[create, list_, inspect, connect, disconnect, prune, remove]
)
