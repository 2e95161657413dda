"""The daemon itself: its version, what it found on the host, and the description of its API."""

from __future__ import annotations

import platform
from typing import Any

from litestar import Request, get

from kleene import __version__
from kleene.daemon.routes.common import Engine, errors
from kleene.schemas.system import Info, Version
from kleene.schemas.versions import API_VERSION


@get("/version", operation_id="System.Version", summary="version", responses=errors())
async def version() -> Version:
    """Tell the versions of the daemon and of its API."""
    return Version(
        version=__version__,
        api_version=API_VERSION,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


@get("/info", operation_id="System.Info", summary="info", responses=errors())
async def info(engine: Engine) -> Info:
    """Tell what the daemon works with: storage, runtime, data directory, numbers of objects."""
    return await engine.info()


@get("/openapi.json", include_in_schema=False)
async def description(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The OpenAPI document of this API, generated from its code."""
    return request.app.openapi_schema.to_schema()


handlers = [version, info, description]
