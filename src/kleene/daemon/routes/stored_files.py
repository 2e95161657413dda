"""Secrets and configs: create, list, inspect, remove."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import JSONBody, PathParameter

from kleene.daemon.routes.common import Engine, errors, filters_of
from kleene.schemas.common import IdResponse
from kleene.schemas.secrets import Config, ConfigInspect, Secret, StoredFileConfig

_SecretName = Annotated[str, PathParameter(description="Name of a secret.")]
_ConfigName = Annotated[str, PathParameter(description="Name of a config.")]


@post(
    "/secrets/create",
    operation_id="Secret.Create",
    summary="secret create",
    responses=errors(409),
)
async def create_secret(engine: Engine, data: JSONBody[StoredFileConfig]) -> IdResponse:
    """Keep a secret, encrypted; its name. Nothing tells its content but the containers that it is for."""
    return IdResponse(await engine.secrets.create(data))


@get("/secrets/list", operation_id="Secret.List", summary="secret list", responses=errors(404))
async def list_secrets(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("secret")] = None
) -> list[Secret]:
    """List the secrets, without their content."""
    return await engine.lists.secrets(filters or ())


@get(
    "/secrets/{secret_name:str}/inspect",
    operation_id="Secret.Inspect",
    summary="secret inspect",
    responses=errors(404),
)
async def inspect_secret(engine: Engine, secret_name: _SecretName) -> Secret:
    """Tell all of a secret but its content."""
    return await engine.secrets.inspect(secret_name)


@delete(
    "/secrets/{secret_name:str}",
    status_code=200,
    operation_id="Secret.Remove",
    summary="secret remove",
    responses=errors(404, 409),
)
async def remove_secret(engine: Engine, secret_name: _SecretName) -> IdResponse:
    """Remove a secret that no container is given."""
    return IdResponse(await engine.secrets.remove(secret_name))


@post(
    "/configs/create",
    operation_id="Config.Create",
    summary="config create",
    responses=errors(409),
)
async def create_config(engine: Engine, data: JSONBody[StoredFileConfig]) -> IdResponse:
    """Keep a config; its name."""
    return IdResponse(await engine.configs.create(data))


@get("/configs/list", operation_id="Config.List", summary="config list", responses=errors(404))
async def list_configs(
    engine: Engine, filters: Annotated[list[str] | None, filters_of("config")] = None
) -> list[Config]:
    """List the configs."""
    return await engine.lists.configs(filters or ())


@get(
    "/configs/{config_name:str}/inspect",
    operation_id="Config.Inspect",
    summary="config inspect",
    responses=errors(404),
)
async def inspect_config(engine: Engine, config_name: _ConfigName) -> ConfigInspect:
    """Tell all of a config, its content too."""
    return await engine.configs.inspect(config_name)


@delete(
    "/configs/{config_name:str}",
    status_code=200,
    operation_id="Config.Remove",
    summary="config remove",
    responses=errors(404, 409),
)
async def remove_config(engine: Engine, config_name: _ConfigName) -> IdResponse:
    """Remove a config that no container is given."""
    return IdResponse(await engine.configs.remove(config_name))


router = Router(
    "/",
    route_handlers=[
        create_secret,
        list_secrets,
        inspect_secret,
        remove_secret,
        create_config,
        list_configs,
        inspect_config,
        remove_config,
    ],
)
