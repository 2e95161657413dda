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
from typing import TYPE_CHECKING, Any

from kleene.client import http1, websocket
from kleene.client.address import Address
from kleene.client.failures import connection_lost, not_understood, request_failed
from kleene.client.incoming import Incoming, check_accepted
from kleene.client.incoming import Output as Output
from kleene.client.transport import Tls, connect, request_headers
from kleene.schemas.constants import CLOSE_DONE, STDIN, SUBPROTOCOL

if TYPE_CHECKING:
    from typing import Self

_CHUNK = 65536
_SWITCHING = 101


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
        self._incoming = Incoming(address, decode, self._send)
        self._backlog = bytearray()
        self._closed = False
        self._socket = connect(address, tls)
        self._again = _would_block(address.tls)
        try:
            self._open(target, config)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, target: str, config: bytes) -> None:
        # The handshake has the timeout of the connect; what follows may take as long as it likes.
        key = websocket.new_key()
        headers = websocket.upgrade_headers(key, SUBPROTOCOL)
        answer = http1.Answer(lambda: self._socket.recv(_CHUNK))
        try:
            self._socket.sendall(
                http1.head("GET", target, request_headers(self._address) + headers)
            )
            self._check_accepted(answer, key)
        except OSError as error:
            raise connection_lost(self._address, error) from error
        except http1.NotHttp as error:
            raise not_understood(self._address) from error
        self._socket.setblocking(False)
        self._send(websocket.TEXT, config)

    def _check_accepted(self, answer: http1.Answer, key: str) -> None:
        if answer.read_final_head() != _SWITCHING:
            raise request_failed(self._address, answer.status, b"".join(answer.body()))
        check_accepted(self._address, answer, key)

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._closed or self._incoming.ended

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
            self._send(websocket.BINARY, bytes((STDIN,)) + data[start : start + _CHUNK])

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
            yield from self._incoming.events(data)

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
        with contextlib.suppress(OSError):
            self._socket.send(websocket.close_frame(CLOSE_DONE))
        self._socket.close()
        self._closed = True

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
        self._send(websocket.TEXT, json.dumps(message).encode())

    def _send(self, opcode: int, data: bytes) -> None:
        if not self.ended:
            self._backlog += websocket.frame(opcode, data)
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


def _would_block(tls: bool) -> tuple[type[OSError], ...]:
    if not tls:
        return (BlockingIOError,)
    import ssl

    return (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
