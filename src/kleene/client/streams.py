"""The typed stream of a build, an image creation or a process, over WebSocket.

A :class:`Stream` owns its socket until it is closed. The socket does not block: input waits in
``backlog`` until the daemon takes it, so that a program that writes while it is written to cannot
lock up with us. The protocol is described in ``kleene.schemas.stream``.
"""

from __future__ import annotations

import contextlib
import json
import select
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from kleene.client.address import Address
from kleene.client.failures import DaemonFault, connection_lost, not_understood, request_failed
from kleene.client.transport import Tls, connect
from kleene.errors import KleeneError
from kleene.schemas.constants import CLOSE_DONE, STDIN, STDOUT, SUBPROTOCOL

if TYPE_CHECKING:
    from typing import Self

_CHUNK = 65536
_LAST = ("closing", "failed")


class Output(NamedTuple):
    """Bytes that a process wrote, on ``STDOUT`` or ``STDERR``."""

    stream: int
    data: bytes


class Stream:
    """What the daemon tells of a running operation, and what is told to it.

    Iterating gives :class:`Output` and messages in the order they came, to the last one: ``closing`` or
    ``failed``. A message is what ``decode`` makes of its JSON text.

    Raises (when made, read or iterated):
        DaemonUnreachable: the connection could not be made, or ended too early.
        KleeneError: the daemon refused the stream, and why.
    """

    def __init__(
        self,
        address: Address,
        tls: Tls,
        target: str,
        config: bytes,
        decode: Callable[[str], Any] = json.loads,
    ) -> None:
        self._address = address
        self._decode = decode
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._backlog = bytearray()
        self._channel: int | None = None
        self._text: list[str] = []
        self._reject: tuple[int, bytearray] | None = None
        self._accepted = False
        self.ended = False
        self._socket = connect(address, tls)
        self._again = _would_block(address.tls)
        try:
            self._open(target, config)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, target: str, config: bytes) -> None:
        # The handshake has the timeout of the connect; what follows may take as long as it likes.
        request = Request(host=self._address.host, target=target, subprotocols=[SUBPROTOCOL])
        try:
            self._socket.sendall(self._websocket.send(request))
            while not self._accepted:
                self._take(self._socket.recv(_CHUNK))
                for _ in self._events():
                    raise not_understood(self._address)
        except OSError as error:
            raise connection_lost(self._address, error) from error
        self._socket.setblocking(False)
        self._send(TextMessage(data=config.decode()))

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self._socket.fileno()

    @property
    def backlog(self) -> int:
        """How many bytes wait to be written: if any, wait until the socket is writable and ``flush``."""
        return len(self._backlog)

    def write(self, data: bytes) -> None:
        """Give ``data`` to the process's standard input."""
        # The daemon takes frames of up to 1 MiB.
        for start in range(0, len(data), _CHUNK):
            self._send(BytesMessage(data=bytes((STDIN,)) + data[start : start + _CHUNK]))

    def end_input(self) -> None:
        """Close the process's standard input."""
        self._tell({"type": "end_of_input"})

    def resize(self, rows: int, columns: int) -> None:
        """Tell the size of the terminal, in characters."""
        self._tell({"type": "resize", "rows": rows, "columns": columns})

    def signal(self, name: str) -> None:
        """Send the process a signal, such as ``SIGINT``."""
        self._tell({"type": "signal", "name": name})

    def flush(self) -> None:
        """Write as much of the backlog as the socket takes."""
        try:
            while self._backlog:
                del self._backlog[: self._socket.send(self._backlog[:_CHUNK])]
        except self._again:
            return
        except OSError as error:
            # The daemon's last message may still be readable: reading tells of the end.
            self._backlog.clear()
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                raise connection_lost(self._address, error) from error

    def read(self) -> Iterator[Any]:
        """What has arrived, without waiting for more."""
        for data in self._receive():
            self._take(data)
            yield from self._events()

    def __iter__(self) -> Iterator[Any]:
        while not self.ended:
            self.wait()
            yield from self.read()

    def wait(self) -> None:
        """Sleep until something arrives; the backlog is written meanwhile."""
        poll = select.poll()
        poll.register(self, select.POLLIN | (select.POLLOUT if self._backlog else 0))
        poll.poll()
        self.flush()

    def close(self) -> None:
        """Say goodbye and close the socket. Before the last message, this cancels a build."""
        # A daemon that went away or closed first needs no goodbye.
        with contextlib.suppress(OSError, LocalProtocolError):
            self._socket.send(self._websocket.send(CloseConnection(code=CLOSE_DONE)))
        self._socket.close()
        self.ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, message: dict[str, Any]) -> None:
        self._send(TextMessage(data=json.dumps(message)))

    def _send(self, event: Event) -> None:
        if not self.ended:
            self._backlog += self._websocket.send(event)
            self.flush()

    def _receive(self) -> Iterator[bytes]:
        # TLS may hold decrypted bytes that no poll tells of: read until it has none.
        try:
            yield self._socket.recv(_CHUNK)
            while not self.ended and getattr(self._socket, "pending", int)():
                yield self._socket.recv(_CHUNK)
        except self._again:
            return
        except ConnectionResetError:
            yield b""
        except OSError as error:
            raise connection_lost(self._address, error) from error

    def _take(self, data: bytes) -> None:
        try:
            self._websocket.receive_data(data or None)
        except RemoteProtocolError as error:
            raise not_understood(self._address) from error

    def _events(self) -> Iterator[Any]:
        try:
            for event in self._websocket.events():
                yield from self._on_event(event)
                if self.ended:
                    return
        except RemoteProtocolError as error:
            raise not_understood(self._address) from error

    def _on_event(self, event: Event) -> Iterator[Any]:
        if isinstance(event, BytesMessage):
            yield from self._on_bytes(event)
        elif isinstance(event, TextMessage):
            yield from self._on_text(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            raise self._closed_early(event)
        elif isinstance(event, AcceptConnection):
            self._on_accept(event)
        elif isinstance(event, RejectConnection):
            self._on_reject(event)
        elif isinstance(event, RejectData):
            self._on_reject_data(event)

    def _on_bytes(self, event: BytesMessage) -> Iterator[Output]:
        data = bytes(event.data)
        if self._channel is None and data:
            self._channel, data = data[0], data[1:]
        if data:
            yield Output(STDOUT if self._channel is None else self._channel, data)
        if event.message_finished:
            self._channel = None

    def _on_text(self, event: TextMessage) -> Iterator[Any]:
        self._text.append(event.data)
        if not event.message_finished:
            return
        text, self._text = "".join(self._text), []
        try:
            plain = json.loads(text)
            kind = plain["type"]
            message = plain if self._decode is json.loads else self._decode(text)
        except (ValueError, KeyError, TypeError) as error:
            raise not_understood(self._address) from error
        self.ended = kind in _LAST
        yield message

    def _on_accept(self, event: AcceptConnection) -> None:
        if event.subprotocol != SUBPROTOCOL:
            raise DaemonFault(
                f"the daemon at '{self._address.where}' does not speak '{SUBPROTOCOL}'",
                hint="its version does not fit this klee: klee version",
            )
        self._accepted = True

    def _on_reject(self, event: RejectConnection) -> None:
        self._reject = (event.status_code, bytearray())
        if not event.has_body:
            raise request_failed(self._address, event.status_code, b"")

    def _on_reject_data(self, event: RejectData) -> None:
        status, body = self._reject or (500, bytearray())
        body += event.data
        if event.body_finished:
            raise request_failed(self._address, status, bytes(body))

    def _closed_early(self, event: CloseConnection) -> KleeneError:
        if event.code == 1006 or not event.reason:
            return connection_lost(self._address)
        return DaemonFault(f"the daemon ended the stream: {event.reason}")


def _would_block(tls: bool) -> tuple[type[OSError], ...]:
    if not tls:
        return (BlockingIOError,)
    import ssl

    return (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
