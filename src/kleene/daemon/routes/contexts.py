"""Build contexts of clients on other machines: what the daemon lacks of them comes before the build."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, post, put
from litestar.params import PathParameter

from kleene.daemon.bodies import pieces
from kleene.daemon.routes.common import Engine, errors
from kleene.schemas.contexts import ContextOffer


@post(
    "/offer",
    status_code=200,
    operation_id="Context.Offer",
    summary="context offer",
    request_max_body_size=None,
    responses=errors(),
)
async def offer(request: Request[Any, Any, Any], engine: Engine) -> ContextOffer:
    """Tell what is missing of a build context.

    The body is a JSON array: 1 (the version), a name for messages, the permission bits of the context's
    own directory, and an array of its items, each directory before what is in it. An item is `[PATH, KIND,
    MODE, MTIME, SIZE, CONTENT]`; KIND is `f`, `d` or `l`, MTIME is in nanoseconds, CONTENT is the SHA-256 of
    a file in hex, the target of a link, or empty.
    """
    return await engine.contexts.offer(pieces(request))


@put(
    "/contents",
    status_code=204,
    operation_id="Context.Contents",
    summary="context contents",
    request_max_body_size=None,
    responses=errors(409),
)
async def contents(request: Request[Any, Any, Any], engine: Engine) -> None:
    """Take contents of files that were missing.

    The body is frames one after the other: the SHA-256 of the content (32 bytes), where in it the data
    begins and how many bytes it has (8 bytes each, the highest first), and the data. What came is kept if the
    connection breaks: the next offer tells how much.
    """
    await engine.contexts.receive(pieces(request))


@put(
    "/{token:str}/archive",
    status_code=204,
    operation_id="Context.Archive",
    summary="context archive",
    request_max_body_size=None,
    responses=errors(404, 409),
)
async def archive(
    request: Request[Any, Any, Any],
    engine: Engine,
    token: Annotated[
        str,
        PathParameter(description="32 hex digits that the client chose; the context's id then."),
    ],
) -> None:
    """Make a build context of a tar stream, compressed or not, which is the body of the request."""
    await engine.contexts.receive_archive(token, pieces(request))


router = Router("/contexts", route_handlers=[offer, contents, archive])
