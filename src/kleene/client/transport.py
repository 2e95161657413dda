"""Sockets to a daemon, and HTTP/1.1 on them.

A :class:`HttpConnection` owns one socket, kept between requests and closed with it. ``ssl`` is imported
for TLS addresses only.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, NamedTuple

from kleene import __version__
from kleene.client import http1
from kleene.client.address import Address, UnusableSetting
from kleene.client.failures import (
    cannot_connect,
    connection_lost,
    not_understood,
    request_failed,
)
from kleene.schemas.versions import API_VERSION, HEADER

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT = 10.0
_CHUNK = 65536
_CONTINUE = 100
UPLOAD = [
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
        UnusableSetting: a TLS file cannot be used.
    """
    context = tls_context(tls) if address.tls else None
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


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What ``tls`` says, loaded. Raises UnusableSetting if a file cannot be used."""
    import ssl

    if tls.key is not None and tls.cert is None:
        raise UnusableSetting("--tlskey needs --tlscert", hint="name the certificate of the key")
    try:
        context = ssl.create_default_context(cafile=tls.cacert)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        named = ", ".join(f"'{f}'" for f in (tls.cacert, tls.cert, tls.key) if f)
        reason = error.strerror or str(error)
        raise UnusableSetting(
            f"cannot load the TLS files {named}: {reason.lower()}",
            hint="they must be PEM files that you may read",
        ) from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def request_headers(address: Address) -> list[tuple[str, str]]:
    """What every request says."""
    return [("Host", address.host), ("User-Agent", f"klee/{__version__}"), (HEADER, API_VERSION)]


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
        self._reusable = False

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
            sock.sendall(self.encode(method, target, body))
            if meanwhile is not None:
                meanwhile()
            answer = http1.Answer(lambda: sock.recv(_CHUNK))
            answer.read_final_head()
            response = Response(answer.status, b"".join(answer.body()))
        except OSError as error:
            self.close()
            raise connection_lost(self._address, error) from error
        except http1.NotHttp as error:
            self.close()
            raise not_understood(self._address) from error
        except BaseException:
            self.close()
            raise
        self._reusable = answer.complete
        return response

    def upload(self, target: str, chunks: Iterable[bytes]) -> None:
        """PUT a body of any length, once the daemon says that it wants it (RFC 9110, 10.1.1).

        Raises:
            DaemonUnreachable, DaemonFault: as :meth:`request`; and what the daemon answers if it refuses.
        """
        self.close()
        sock = self._ready_socket()
        answer = http1.Answer(lambda: sock.recv(_CHUNK))
        try:
            sock.sendall(self.head("PUT", target, UPLOAD))
            if answer.read_head() == _CONTINUE:
                _send_body(sock, chunks, heed=not self._address.tls)
                answer.read_final_head()
            body = b"".join(answer.body())
        except OSError as error:
            raise connection_lost(self._address, error) from error
        except http1.NotHttp as error:
            raise not_understood(self._address) from error
        finally:
            self.close()
        if not 200 <= answer.status < 300:
            raise request_failed(self._address, answer.status, body)

    def download(self, target: str) -> Generator[bytes, None, None]:
        """GET a body of any length.

        Raises:
            DaemonUnreachable, DaemonFault: as :meth:`request`; and what the daemon answers if it refuses.
        """
        self.close()
        sock = self._ready_socket()
        answer = http1.Answer(lambda: sock.recv(_CHUNK))
        try:
            sock.sendall(self.encode("GET", target, None))
            if answer.read_final_head() != 200:
                body = b"".join(answer.body())
                raise request_failed(self._address, answer.status, body)
            yield from answer.body()
        except (OSError, http1.NotHttp) as error:
            raise connection_lost(self._address) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ready_socket(self) -> socket.socket:
        # A daemon that ended an idle connection has made it readable: nothing else is due on it.
        sock, reusable, self._reusable = self._socket, self._reusable, False
        if sock is not None and reusable and not select.select([sock], [], [], 0)[0]:
            return sock
        self.close()
        self._socket = connect(self._address, self._tls)
        self._socket.settimeout(self._timeout)
        return self._socket

    def encode(self, method: str, target: str, body: bytes | None) -> bytes:
        """A whole request."""
        headers = [("Content-Length", str(len(body or b"")))]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        return self.head(method, target, headers) + (body or b"")

    def head(self, method: str, target: str, headers: list[tuple[str, str]]) -> bytes:
        """A request up to its body."""
        common = [*request_headers(self._address), ("Accept", "application/json")]
        return http1.head(method, target, common + headers)


def _send_body(sock: socket.socket, chunks: Iterable[bytes], *, heed: bool) -> None:
    """Send a body. ``heed``: stop at an early answer (with TLS, what is readable need not be one)."""
    send = _sent_unless_answered if heed else _sent
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
        for data in chunks:
            # An empty chunk would be the end.
            if data and not send(sock, http1.chunk(data)):
                return
        send(sock, http1.chunk(b""))


def _sent(sock: socket.socket, data: bytes) -> bool:
    sock.sendall(data)
    return True


def _sent_unless_answered(sock: socket.socket, data: bytes) -> bool:
    """Send all of it. False: there is an answer, or the other side has ended the connection.

    That may come while nothing can be sent: who has said all need not read on.
    """
    left = memoryview(data)
    while left:
        readable, writable, _ = select.select([sock], [sock], [], sock.gettimeout())
        if readable:
            return False
        if not writable:
            raise TimeoutError("timed out")
        left = left[sock.send(left, socket.MSG_DONTWAIT) :]
    return True
