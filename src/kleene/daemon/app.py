"""The ASGI application: the routes over one engine, and errors as the API tells them."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import urlsplit

from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import (
    HTTPException,
    PermissionDeniedException,
    SerializationException,
    ValidationException,
)
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.types import Receive, Scope, Send

from kleene.daemon.docs_page import DocsPage
from kleene.daemon.documented import nearest_status
from kleene.daemon.facade import EngineFacade
from kleene.daemon.handshake import client_version, misfit, outdated, refuse
from kleene.daemon.inputs import explain
from kleene.daemon.paths import fold
from kleene.daemon.problems import problem_of
from kleene.daemon.routes import (
    archives,
    containers,
    contexts,
    execs,
    images,
    networks,
    space,
    states,
    stored_files,
    streams,
    system,
    volume_states,
    volumes,
)
from kleene.daemon.streams import Streams
from kleene.errors import InvalidInput
from kleene.schemas.common import ErrorResponse
from kleene.schemas.versions import API_VERSION, is_newer


class Api(Litestar):
    """The application; folds references of images in paths before they are routed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if (answer := misfit(scope["path"], client_version(scope))) is not None:
            await refuse(scope, send, answer)
            return
        if scope["type"] == ScopeType.HTTP:
            scope["path"] = fold(scope["method"], scope["path"])
        await super().__call__(scope, receive, send)


def create_app(engine: EngineFacade, streams_open: Streams | None = None) -> Litestar:
    """The API over ``engine``.

    Args:
        streams_open: where the open streams are counted, so that they can be ended (:class:`Streams`).
    """
    open_ = streams_open or Streams()
    return Api(
        route_handlers=[
            archives.router,
            containers.router,
            contexts.router,
            execs.router,
            images.router,
            networks.router,
            volumes.router,
            volume_states.router,
            states.router,
            stored_files.router,
            *space.handlers,
            *streams.handlers,
            *system.handlers,
        ],
        dependencies={
            "engine": Provide(lambda: engine, sync_to_thread=False),
            "streams": Provide(lambda: open_, sync_to_thread=False),
        },
        exception_handlers={Exception: answer_error},
        guards=[refuse_other_sites],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Kleene",
            version=API_VERSION,
            description="The API of kleened.",
            path="/docs",
            render_plugins=[DocsPage()],
            use_handler_docstrings=True,
        ),
    )


def refuse_other_sites(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse what a web page of another site makes a browser send to a TCP socket (RFC 6454).

    Raises:
        PermissionDeniedException: the request has an origin that is not this server.
    """
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host"):
        raise PermissionDeniedException(f"requests from pages of '{origin}' are refused")


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorResponse]:
    """The answer to a request that failed."""
    if isinstance(error, SerializationException) or isinstance(
        error.__cause__, SerializationException
    ):
        error = InvalidInput("the request's body is not valid JSON", details=_reason(error))
    elif isinstance(error, ValidationException):
        error = _invalid(request, error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        answer = ErrorResponse(_stated(request, error), _remedy(request, error))
        return _response(error.status_code, answer, error.headers)
    problem = problem_of(error)
    return _response(_status(request, problem.status), problem.answer, None)


def _status(request: Request[Any, Any, Any], status: int) -> int:
    """The status of an error, as the client knows it."""
    if status >= 500 or client_version(request.scope) is not None:
        return status
    handler = request.scope.get("route_handler")
    return nearest_status(getattr(handler, "operation_id", None), status)


def _response(
    status: int, answer: ErrorResponse, headers: dict[str, str] | None
) -> Response[ErrorResponse]:
    return Response(answer, status_code=status, headers=headers, media_type="application/json")


def _reason(error: BaseException) -> str:
    return re.sub(r"^\d+: ", "", str(error))


def _stated(request: Request[Any, Any, Any], error: HTTPException) -> str:
    if error.status_code == 404:
        return f"path '{request.url.path}' does not exist"
    if error.status_code == 405:
        return f"method '{request.method}' is not possible on path '{request.url.path}'"
    return error.detail


def _remedy(request: Request[Any, Any, Any], error: HTTPException) -> str | None:
    """A path that this daemon does not have may be one that the client's version knows."""
    version = client_version(request.scope)
    if error.status_code in (404, 405) and version is not None and is_newer(version, API_VERSION):
        return outdated(version)
    return None


def _invalid(request: Request[Any, Any, Any], error: ValidationException) -> InvalidInput:
    """The mistakes that Litestar found in a request, one a line."""
    found = cast(list[dict[str, str]], error.extra or [])
    lines = [_mistake(request, each) for each in found] or [_missing(error.detail)]
    return InvalidInput(lines[0], details="\n".join(lines[1:]) or None)


def _mistake(request: Request[Any, Any, Any], found: dict[str, str]) -> str:
    key = found.get("key", "")
    if found.get("source") != "body":
        said = explain(f"{found['message']} - at `$.{key}`", None)
        return said.replace("field", "parameter", 1).removesuffix(", not text")
    if found["message"] == "'data'":
        return "the request has no body"
    body = request.route_handler.parsed_fn_signature.parameters["data"].annotation
    return explain(f"{found['message']} - at `$.{'' if key == 'data' else key}`", body)


def _missing(detail: str) -> str:
    """The one mistake that Litestar only tells in words."""
    missing = re.match(r"Missing required query parameter '(.+?)' for path", detail)
    return f"parameter '{missing[1]}' is missing" if missing else detail
