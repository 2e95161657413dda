"""Clients of another version: those that cannot work with this daemon are told so, whatever they ask.

A client says by a header which version of the API it was made for; one that says nothing speaks the
documented API, which always works. ``/version`` is answered to all.
"""

from __future__ import annotations

import msgspec
from litestar.enums import ScopeType
from litestar.types import Scope, Send

from kleene.schemas.common import ErrorResponse
from kleene.schemas.versions import API_VERSION, HEADER, fit, is_newer

STATUS = 400
_OPEN = ("/version", "/openapi.json")


def client_version(scope: Scope) -> str | None:
    """What the client of a request says it was made for."""
    wanted = HEADER.encode()
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == wanted), None)


def misfit(path: str, version: str | None) -> ErrorResponse | None:
    """Why a client cannot be served; ``None`` if it can."""
    if version is None or path in _OPEN or fit(version, API_VERSION):
        return None
    return ErrorResponse(
        f"klee and kleened do not fit: they speak versions '{version[:20]}' and '{API_VERSION}' of the API",
        hint=outdated(version),
    )


def outdated(version: str) -> str:
    """What to do about a client of another version."""
    which = "kleened, the daemon" if is_newer(version, API_VERSION) else "klee, the client"
    return f"update {which}; both versions: klee version"


async def refuse(scope: Scope, send: Send, answer: ErrorResponse) -> None:
    """Answer a request, or the handshake of a stream, with ``answer``."""
    prefix = ""
    if scope["type"] == ScopeType.WEBSOCKET:
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1002, "reason": answer.message[:123]})
            return
        prefix = "websocket."
    headers = [(b"content-type", b"application/json")]
    start = {"type": f"{prefix}http.response.start", "status": STATUS, "headers": headers}
    body = {"type": f"{prefix}http.response.body", "body": msgspec.json.encode(answer)}
    await send(start)  # type: ignore[arg-type]
    await send(body)  # type: ignore[arg-type]
