"""A daemon that answers what a test tells it to: HTTP by h11, WebSocket by wsproto, in threads.

It lasts as long as its ``with`` block. What it was asked is in ``requests``; an error in one of its threads
is raised at the end of the block.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

SUBPROTOCOL = "kleene.stream.v1"
PATIENCE = 20.0


class Asked(NamedTuple):
    """A request that came in."""

    method: str
    target: str
    body: Any


class Peer:
    """The daemon's side of a stream."""

    def __init__(self, sock: socket.socket, websocket: WSConnection) -> None:
        self.socket = sock
        self._websocket = websocket
        self._text = ""

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        self.send(TextMessage(data=json.dumps({"type": kind, **fields})))

    def output(self, data: bytes, stream: int = 1) -> None:
        """Send output."""
        self.send(BytesMessage(data=bytes([stream]) + data))

    def send(self, event: Any) -> None:
        """Send any frame."""
        self.socket.sendall(self._websocket.send(event))

    def receive(self) -> Any:
        """The next message or input from the client; ``None`` when it has closed."""
        while True:
            for event in self._websocket.events():
                if isinstance(event, TextMessage):
                    self._text += event.data
                    if event.message_finished:
                        text, self._text = self._text, ""
                        return json.loads(text)
                elif isinstance(event, BytesMessage):
                    return bytes(event.data)
                elif isinstance(event, CloseConnection):
                    return None
            data = self.socket.recv(65536)
            if not data:
                return None
            self._websocket.receive_data(data)


Script = Callable[[Peer, Any], None]


class ScriptedDaemon:
    """A daemon on a unix socket, or with ``tls`` on a TCP port of the loopback."""

    def __init__(self, path: Path, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._answers: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        self._streams: dict[str, tuple[Script, str | None]] = {}
        self._errors: list[BaseException] = []
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.requests: list[Asked] = []
        self.connections = 0
        if tls is None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self.host = f"http://{path}"
        else:
            self._listener = socket.socket(socket.AF_INET)
            self._listener.bind(("127.0.0.1", 0))
            self.host = f"https://localhost:{self._listener.getsockname()[1]}"
        self._listener.listen()

    def answer(self, method: str, target: str, value: Any, status: int = 200) -> None:
        """Answer a request with JSON, or with bytes as they are; several calls answer in turn."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._answers.setdefault((method, target), []).append((status, body))

    def stream(self, target: str, script: Script, subprotocol: str | None = SUBPROTOCOL) -> None:
        """Accept a stream and give it, with its configuration, to ``script``."""
        self._streams[target] = (script, subprotocol)

    def __enter__(self) -> ScriptedDaemon:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        if self._errors and error is None:
            raise self._errors[0]

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=self._guard, args=(function, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except (ConnectionError, ssl.SSLError, h11.RemoteProtocolError):
            pass
        except BaseException as error:
            self._errors.append(error)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            if select.select([self._listener], [], [], 0.02)[0]:
                connection, _ = self._listener.accept()
                connection.settimeout(PATIENCE)
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        with self._tls.wrap_socket(raw, server_side=True) if self._tls else raw as connection:
            http = h11.Connection(h11.SERVER)
            head = b""
            while not self._stopping.is_set():
                event = http.next_event()
                if event is h11.NEED_DATA:
                    if not select.select([connection], [], [], 0.02)[0]:
                        continue
                    data = connection.recv(65536)
                    head += data
                    http.receive_data(data)
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                    if any(name == b"upgrade" for name, _ in event.headers):
                        self._upgrade(connection, head)
                        return
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._reply(connection, http, request, body)
                    head = b""
                    http.start_next_cycle()
                else:
                    return

    def _reply(
        self, connection: socket.socket, http: h11.Connection, request: h11.Request, body: bytes
    ) -> None:
        method, target = request.method.decode(), request.target.decode()
        self.requests.append(Asked(method, target, json.loads(body) if body else None))
        answers = self._answers.get((method, target))
        unexpected = (404, json.dumps({"message": f"unscripted {method} {target}"}).encode())
        status, data = (
            unexpected if not answers else (answers.pop(0) if len(answers) > 1 else answers[0])
        )
        length = [] if status in (204, 304) else [("Content-Length", str(len(data)))]
        out = http.send(h11.Response(status_code=status, headers=length)) or b""
        if length:
            out += http.send(h11.Data(data)) or b""
        connection.sendall(out + (http.send(h11.EndOfMessage()) or b""))

    def _upgrade(self, connection: socket.socket, head: bytes) -> None:
        websocket = WSConnection(ConnectionType.SERVER)
        websocket.receive_data(head)
        request = next(e for e in websocket.events() if isinstance(e, Request))
        peer = Peer(connection, websocket)
        if request.target not in self._streams:
            peer.send(RejectConnection(status_code=404, has_body=True))
            peer.send(RejectData(data=b'{"message": "no such stream"}'))
            return
        script, subprotocol = self._streams[request.target]
        peer.send(AcceptConnection(subprotocol=subprotocol))
        config = peer.receive()
        self.requests.append(Asked("WEBSOCKET", request.target, config))
        script(peer, config)
