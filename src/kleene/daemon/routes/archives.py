"""Files of a container as tar streams: one out of it, and one into it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, get, put
from litestar.params import QueryParameter
from litestar.response import Stream

from kleene.daemon.bodies import TAR, pieces, tar_stream
from kleene.daemon.routes.common import ContainerRef, Engine, errors

_Path = Annotated[str, QueryParameter(description="Absolute path in the container.")]


@get(
    "/{container_id:str}/archive",
    operation_id="Container.Archive",
    summary="container archive",
    media_type=TAR,
    responses=errors(404),
)
async def read(
    engine: Engine,
    container_id: ContainerRef,
    path: _Path,
    follow: Annotated[
        bool, QueryParameter(description="Of a link, get what it points to, under the link's name.")
    ] = False,
) -> Stream:
    """Get a file or directory of a container, running or not, as a tar stream.

    The entry at the top has the last name of ``path``; of a link it is the link itself, unless ``follow``.
    A stream that cannot be completed ends without its last chunk.
    """
    return tar_stream(await engine.copies.read(container_id, path, follow=follow))


@put(
    "/{container_id:str}/archive",
    status_code=204,
    operation_id="Container.Extract",
    summary="container extract",
    request_max_body_size=None,
    responses=errors(404, 409),
)
async def write(
    request: Request[Any, Any, Any],
    engine: Engine,
    container_id: ContainerRef,
    path: _Path,
    name: Annotated[
        str,
        QueryParameter(
            description="Name of the entry at the top of the archive: it may be renamed to the last name of "
            "'path', if there is no directory of that name. '.' for the content of a directory."
        ),
    ] = "",
    directory: Annotated[
        bool, QueryParameter(description="Whether that entry is a directory.")
    ] = False,
) -> None:
    """Extract a tar stream, compressed or not, in a directory of a container, running or not.

    The stream is the body of the request. Owners are kept by number; device nodes are left out.
    """
    await engine.copies.write(container_id, path, pieces(request), name=name, directory=directory)


router = Router("/containers", route_handlers=[read, write])
