"""Serving the API on its sockets: one server for all plain ones, and one for each that has TLS.

Lasts from the moment the daemon is ready until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Generator, Mapping, Sequence

import uvicorn
from litestar import Litestar

from kleene.daemon.addresses import Address
from kleene.daemon.config import Listener
from kleene.daemon.streams import Streams
from kleene.daemon.tls import LiveTls, tls_context

PING_INTERVAL = 20.0
"""Seconds between pings on an idle stream, so that nothing in between takes it for dead. A client that does
not answer is not cut off: it may have more input waiting than its process reads. TCP finds out if it died."""

_STREAMS_LIMIT = 20.0
_REQUESTS_LIMIT = 5
_MAX_FRAME = 4 * 1024 * 1024  # a build's configuration has its secrets in it

_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """One that leaves signals to the daemon: there may be several."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    app: Litestar,
    streams: Streams,
    listeners: Sequence[tuple[Listener, socket.socket]],
    stop: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
    certificates: Mapping[Address, LiveTls] | None = None,
) -> None:
    """Answer on the sockets until ``stop``: then end the streams, and let requests end.

    Args:
        certificates: TLS that is exchanged while serving; for sockets without it, it is loaded here.
        ready: set when connections are answered.
    """
    plain = [made for listener, made in listeners if not listener.address.tls]
    servers = [(_server(app, None), plain)] if plain else []
    servers += [
        (_server(app, _tls(listener, certificates or {})), [made])
        for listener, made in listeners
        if listener.address.tls
    ]
    running = [asyncio.create_task(server.serve(sockets)) for server, sockets in servers]
    stopping = asyncio.create_task(stop.wait())
    try:
        await _started([server for server, _ in servers], running)
        if ready is not None:
            ready.set()
        await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await _end([server for server, _ in servers], streams, running)


def _tls(listener: Listener, certificates: Mapping[Address, LiveTls]) -> ssl.SSLContext:
    live = certificates.get(listener.address)
    return live.context if live is not None else tls_context(listener)


async def _started(servers: Sequence[uvicorn.Server], running: list[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers):
        await asyncio.sleep(0.005)
        for task in running:
            if task.done():
                task.result()


async def _end(
    servers: Sequence[uvicorn.Server], streams: Streams, running: list[asyncio.Task[None]]
) -> None:
    """Take no more connections, then end the streams, then the requests."""
    for server in servers:
        for listener in getattr(server, "servers", []):
            listener.close()
    await streams.stop(_STREAMS_LIMIT)
    for server in servers:
        server.should_exit = True
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, BaseException):
            _log.error("server ended with an error", exc_info=result)


def _server(app: Litestar, context: ssl.SSLContext | None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        ws="wsproto",
        http="h11",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_REQUESTS_LIMIT,
        ws_max_size=_MAX_FRAME,
        ws_ping_interval=PING_INTERVAL,
        ws_ping_timeout=None,
        # Output seldom leaves the host, and compressing it costs more than it saves there.
        ws_per_message_deflate=False,
    )
    config.load()
    config.ssl = context
    return _Server(config)
