"""Sockets to a daemon, and HTTP/1.1 on them.

A :class:`HttpConnection` owns one socket, kept between requests and closed with it. ``ssl`` is imported
for TLS addresses only.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

from kleene import __version__
from kleene.client.address import Address
from kleene.client.failures import (
    cannot_connect,
    connection_lost,
    not_understood,
    request_failed,
)
from kleene.errors import InvalidInput

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT = 10.0
_CHUNK = 65536
_UPLOAD = [
    ("Transfer-Encoding", "chunked"),
    ("Expect", "100-continue"),
    ("Content-Type", "application/x-tar"),
]


class Tls(NamedTuple):
    """How TLS is done.

    Attributes:
        verify: whether the daemon's certificate is checked.
        cacert: file with the authorities to trust; ``None`` trusts those of the system.
        cert: file with the client's certificate.
        key: file with its key; ``None`` if ``cert`` has it too.
    """

    verify: bool = True
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None


class Response(NamedTuple):
    """An answer: its status and its whole body."""

    status: int
    body: bytes


def connect(address: Address, tls: Tls) -> socket.socket:
    """A connected socket, with TLS where the address says so.

    Raises:
        DaemonUnreachable: nobody listens, access is denied, the name is unknown, TLS failed.
        InvalidInput: a TLS file cannot be used.
    """
    context = _tls_context(tls) if address.tls else None
    try:
        sock = _open_socket(address)
        try:
            return context.wrap_socket(sock, server_hostname=address.host) if context else sock
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise cannot_connect(address, error) from error


def _open_socket(address: Address) -> socket.socket:
    if address.path is None:
        return socket.create_connection((address.host, address.port), CONNECT_TIMEOUT)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(CONNECT_TIMEOUT)
    try:
        sock.connect(address.path)
    except BaseException:
        sock.close()
        raise
    return sock


def _tls_context(tls: Tls) -> ssl.SSLContext:
    import ssl

    if tls.key is not None and tls.cert is None:
        raise InvalidInput("--tlskey needs --tlscert", hint="name the certificate of the key")
    try:
        context = ssl.create_default_context(cafile=tls.cacert)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        named = ", ".join(f"'{f}'" for f in (tls.cacert, tls.cert, tls.key) if f)
        reason = error.strerror or str(error)
        raise InvalidInput(
            f"cannot load the TLS files {named}: {reason.lower()}",
            hint="they must be PEM files that you may read",
        ) from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpConnection:
    """One connection to a daemon, used for one request after the other.

    Args:
        timeout: seconds to wait for the daemon whenever it is its turn; ``None`` waits for ever.
    """

    def __init__(self, address: Address, tls: Tls, timeout: float | None) -> None:
        self._address = address
        self._tls = tls
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._http = h11.Connection(h11.CLIENT)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Response:
        """Send a request and read its answer.

        Args:
            meanwhile: called when the request is on its way: work to do while the daemon does its own.

        Raises:
            DaemonUnreachable: no connection could be made, or it ended before the answer did.
            DaemonFault: the answer is not HTTP.
        """
        sock = self._ready_socket()
        try:
            sock.sendall(self._encode(method, target, body))
            if meanwhile is not None:
                meanwhile()
            response = self._read_response(sock)
        except OSError as error:
            self.close()
            raise connection_lost(self._address, error) from error
        except h11.RemoteProtocolError as error:
            self.close()
            raise not_understood(self._address) from error
        except BaseException:
            self.close()
            raise
        return response

    def upload(self, target: str, chunks: Iterable[bytes]) -> None:
        """PUT a body of any length, once the daemon says that it wants it (RFC 9110, 10.1.1).

        Raises:
            DaemonUnreachable, DaemonFault: as :meth:`request`; and what the daemon answers if it refuses.
        """
        self.close()
        sock = self._ready_socket()
        try:
            sock.sendall(self._head("PUT", target, _UPLOAD))
            event = self._next(sock)
            if isinstance(event, h11.InformationalResponse):
                self._send_body(sock, chunks)
            response = self._read_response(sock, event)
        except OSError as error:
            raise connection_lost(self._address, error) from error
        except h11.RemoteProtocolError as error:
            raise not_understood(self._address) from error
        finally:
            self.close()
        if not 200 <= response.status < 300:
            raise request_failed(self._address, response.status, response.body)

    def _send_body(self, sock: socket.socket, chunks: Iterable[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
            for chunk in chunks:
                sock.sendall(self._http.send(h11.Data(chunk)) or b"")
            sock.sendall(self._http.send(h11.EndOfMessage()) or b"")

    def download(self, target: str) -> Generator[bytes, None, None]:
        """GET a body of any length.

        Raises:
            DaemonUnreachable, DaemonFault: as :meth:`request`; and what the daemon answers if it refuses.
        """
        self.close()
        sock = self._ready_socket()
        try:
            sock.sendall(self._encode("GET", target, None))
            event = self._next(sock)
            if not isinstance(event, h11.Response) or event.status_code != 200:
                response = self._read_response(sock, event)
                raise request_failed(self._address, response.status, response.body)
            while isinstance(event := self._next(sock), h11.Data):
                yield bytes(event.data)
        except (OSError, h11.RemoteProtocolError) as error:
            raise connection_lost(self._address) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ready_socket(self) -> socket.socket:
        if self._socket is not None and self._can_be_reused(self._socket):
            self._http.start_next_cycle()
            return self._socket
        self.close()
        self._http = h11.Connection(h11.CLIENT)
        self._socket = connect(self._address, self._tls)
        self._socket.settimeout(self._timeout)
        return self._socket

    def _can_be_reused(self, sock: socket.socket) -> bool:
        # A daemon that ended an idle connection has made it readable: nothing else is due on it.
        idle = not select.select([sock], [], [], 0)[0]
        return idle and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _encode(self, method: str, target: str, body: bytes | None) -> bytes:
        headers = [("Content-Length", str(len(body or b"")))]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        data = self._head(method, target, headers)
        if body:
            data += self._http.send(h11.Data(body)) or b""
        return data + (self._http.send(h11.EndOfMessage()) or b"")

    def _head(self, method: str, target: str, headers: list[tuple[str, str]]) -> bytes:
        common = [
            ("Host", self._address.host),
            ("User-Agent", f"klee/{__version__}"),
            ("Accept", "application/json"),
        ]
        return (
            self._http.send(h11.Request(method=method, target=target, headers=common + headers))
            or b""
        )

    def _next(self, sock: socket.socket) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = sock.recv(_CHUNK)
            if not data and self._http.their_state is not h11.SEND_BODY:
                raise ConnectionResetError
            self._http.receive_data(data)
        return event

    def _read_response(self, sock: socket.socket, first: object = None) -> Response:
        status, body = 0, bytearray()
        event = first or self._next(sock)
        while not isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            event = self._next(sock)
        return Response(status, bytes(body))
