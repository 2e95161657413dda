"""One WebSocket connection, and coroutines that end together with it.

Sending waits until the client takes what was sent, so a slow client slows down what it watches. Frames from
the client are kept up to a limit; then no more are read until there is room.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Generic, NoReturn, TypeVar

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from kleene.errors import KleeneError
from kleene.schemas.stream import SUBPROTOCOL

T = TypeVar("T")

MAX_FRAME = 256 * 1024
"""Bytes of output in one frame. The published client takes no more than 1 MiB, and a byte of output that is
not UTF-8 takes three as text."""

_log = logging.getLogger(__name__)

_HELD = 1024 * 1024
"""Bytes of input that are held for a process that does not read."""

_ITEM_COST = 64
"""Bytes that an item counts for beyond its length, so that empty frames are limited too."""


class ClientGone(Exception):
    """The client closed the connection, or it broke."""


class Link:
    """A WebSocket as the streams use it: whole frames, and one exception for its end."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self._socket = socket
        self.typed = SUBPROTOCOL in socket.scope["subprotocols"]

    async def accept(self) -> None:
        """Take the connection, with our own subprotocol if the client offers it."""
        await self._socket.accept(subprotocols=SUBPROTOCOL if self.typed else None)

    async def receive(self) -> str | bytes:
        """The next frame, text or binary.

        Raises:
            ClientGone: there is none.
        """
        try:
            message = await self._socket.receive()
        except WebSocketDisconnect as error:
            raise ClientGone from error
        if message["type"] != "websocket.receive":
            raise ClientGone
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, frame: str | bytes) -> None:
        """Send a text or a binary frame; returns when there is room for more.

        Raises:
            ClientGone: nobody is there to take it.
        """
        try:
            await self._socket.send_data(frame, "text" if isinstance(frame, str) else "binary")
        except (OSError, WebSocketDisconnect) as error:
            raise ClientGone from error

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection.

        Args:
            reason: at most 123 bytes as UTF-8 (RFC 6455 section 5.5).
        """
        try:
            await self._socket.close(code, reason)
        except (OSError, WebSocketDisconnect) as error:
            raise ClientGone from error


class Bounded(Generic[T]):
    """A queue whose writers wait while the items in it are more than ``_HELD`` bytes together."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[tuple[T, int]] = asyncio.Queue()
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, item: T) -> None:
        await self._room.wait()
        cost = _ITEM_COST + (len(item) if isinstance(item, bytes) else 0)
        self._held += cost
        if self._held >= _HELD:
            self._room.clear()
        self._items.put_nowait((item, cost))

    async def get(self) -> T:
        item, cost = await self._items.get()
        self._held -= cost
        if self._held < _HELD:
            self._room.set()
        return item


async def race(main: Coroutine[Any, Any, T], *watchers: Coroutine[Any, Any, NoReturn]) -> T:
    """Run ``main`` until it ends or a watcher raises; then cancel the others and wait for them.

    Returns what ``main`` returned, or raises what the first to end raised.
    """
    body = asyncio.ensure_future(main)
    guards = [asyncio.ensure_future(watcher) for watcher in watchers]
    everyone: list[asyncio.Future[Any]] = [body, *guards]
    try:
        await asyncio.wait(everyone, return_when=asyncio.FIRST_COMPLETED)
        first = [guard for guard in guards if guard.done() and not body.done()]
    finally:
        for task in everyone:
            task.cancel()
        await asyncio.gather(*everyone, return_exceptions=True)
    if first and (error := first[0].exception()):
        _note_trouble(body)
        raise error
    return body.result()


def _note_trouble(cancelled: asyncio.Future[Any]) -> None:
    """Log what went wrong while something cancelled was undone: nobody else will hear of it."""
    if cancelled.cancelled() or (error := cancelled.exception()) is None:
        return
    if not isinstance(error, KleeneError):
        _log.error("cancelled, and failed in that", exc_info=error)
