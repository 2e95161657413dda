"""Clients of an ASGI application in the same process: one for requests, one for streams."""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Any, cast

import httpx
import jsonschema
import msgspec
from litestar import Litestar

from kleene.schemas.stream import SUBPROTOCOL
from kleene.schemas.versions import API_VERSION, HEADER

_LIMIT = 10.0


class Api:
    """Sends requests, and checks that each answer is one that the OpenAPI document describes."""

    def __init__(self, app: Litestar, document: dict[str, Any]) -> None:
        self._document = document
        transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
        self.raw = httpx.AsyncClient(
            transport=transport, base_url="http://kleened", headers={HEADER: API_VERSION}
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.raw.aclose()

    async def send(self, method: str, path: str, body: object = None, **params: object) -> Any:
        """The decoded answer of a request that succeeds."""
        answer = await self.request(method, path, body, **params)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def request(
        self, method: str, path: str, body: object = None, **params: object
    ) -> httpx.Response:
        """An answer, checked: its status and its body are those of the operation."""
        content = body if isinstance(body, bytes) else None
        answer = await self.raw.request(
            method,
            path,
            json=body if content is None and body is not None else None,
            content=content,
            params={name: str(value) for name, value in params.items()},
        )
        self._check(method, path, answer)
        return answer

    def _check(self, method: str, path: str, answer: httpx.Response) -> None:
        operation = self._operation(method, path.partition("?")[0])
        described = operation["responses"].get(str(answer.status_code))
        assert described is not None, f"{method} {path} -> {answer.status_code}: {answer.text}"
        if "content" not in described:
            assert answer.content == b""
            return
        assert answer.headers["content-type"] == "application/json"
        schema = described["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": self._document["components"]})

    def _operation(self, method: str, path: str) -> Any:
        """The operation of the document, whole words before placeholders."""
        found = [
            operations[method.lower()]
            for template, operations in sorted(self._document["paths"].items())
            if method.lower() in operations and _pattern(template).fullmatch(path)
        ]
        assert found, f"{method} {path} is not in the document"
        return found[0]


class Stream:
    """A WebSocket client; what it is sent waits until :meth:`receive` is called."""

    def __init__(self, app: Litestar, path: str, *, typed: bool) -> None:
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)
        self._gone = False
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"kleened")],
            "subprotocols": [SUBPROTOCOL] if typed else [],
            "client": None,
            "server": None,
            "state": {},
            "extensions": {},
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))  # type: ignore[arg-type]
        self.subprotocol: str | None = None
        self.close: tuple[int, str] | None = None

    async def connect(self) -> None:
        self._incoming.put_nowait({"type": "websocket.connect"})
        accepted = await self._next()
        assert accepted["type"] == "websocket.accept"
        self.subprotocol = accepted["subprotocol"]

    def send(self, frame: object) -> None:
        """Send bytes and text as they are, everything else as JSON."""
        event: dict[str, Any] = {"type": "websocket.receive"}
        if isinstance(frame, bytes):
            event["bytes"] = frame
        else:
            event["text"] = frame if isinstance(frame, str) else msgspec.json.encode(frame).decode()
        self._incoming.put_nowait(event)

    def leave(self) -> None:
        """Go away without a word."""
        self._gone = True
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1005})
        while not self._outgoing.empty():
            self._outgoing.get_nowait()

    async def receive(self) -> str | bytes | None:
        """The next frame; ``None`` at the end, whose code and reason are then in ``close``."""
        event = await self._next()
        if event["type"] == "websocket.close":
            self.close = (event["code"], event["reason"])
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": event["code"]})
            return None
        if event.get("bytes") is not None:
            return bytes(event["bytes"])
        return str(event["text"])

    async def rest(self) -> list[str | bytes]:
        """All frames up to the end."""
        frames = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
        return frames

    def unread(self) -> int:
        """How many frames the application has not read."""
        return self._incoming.qsize()

    async def finish(self) -> None:
        """The application must be done with the connection, and without an exception."""
        if not self.task.done():
            self.leave()
        await asyncio.wait_for(self.task, _LIMIT)

    async def _next(self) -> dict[str, Any]:
        getting = asyncio.ensure_future(self._outgoing.get())
        await asyncio.wait([getting, self.task], timeout=_LIMIT, return_when="FIRST_COMPLETED")
        assert getting.done(), "the application sent nothing"
        return getting.result()

    async def _receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def _send(self, event: dict[str, Any]) -> None:
        if self._gone:
            raise OSError("the client is gone")
        await self._outgoing.put(event)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", ".+", template))
