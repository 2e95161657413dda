"""Where a daemon listens, as a user writes it. Pure.

``http[s]:///PATH`` and a bare ``/PATH`` name a unix socket, ``http[s]://HOST[:PORT]`` a TCP one; the
port is that of the scheme if none is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kleene.errors import InvalidInput

DEFAULT_HOST = "http:///var/run/kleened.sock"

_PORTS = {"http": 80, "https": 443}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@")
_AROUND = 30
_WANTED = "write http:///PATH for a unix socket, or http[s]://HOST[:PORT]"


class UnusableSetting(InvalidInput):
    """What says where the daemon is, or how it is reached, cannot be used.

    Attributes:
        exit_status: of a program that was told so by its command line or environment.
    """

    exit_status = 2


class Address(NamedTuple):
    """A socket of a daemon.

    Attributes:
        text: as the user wrote it.
        path: the unix socket; ``None`` for TCP.
        host: the name that TLS checks and the ``Host`` header bears.
    """

    text: str
    tls: bool
    path: str | None
    host: str = "localhost"
    port: int = 0

    @property
    def where(self) -> str:
        """The socket as messages name it."""
        return self.path if self.path is not None else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read the address of a daemon.

    Raises:
        UnusableSetting: the scheme is unknown, or there is no path, host or valid port.
    """
    if text.startswith("/"):
        return Address(text, tls=False, path=text)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _PORTS:
        raise UnusableSetting(f"host '{text}' has no known scheme", hint=_WANTED)
    if rest.startswith("/"):
        return Address(text, scheme == "https", path=rest)
    host, port = _host_and_port(text, rest.rstrip("/"))
    return Address(text, scheme == "https", None, host, port or _PORTS[scheme])


def _host_and_port(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, closed, port = rest[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise UnusableSetting(f"host '{text}' has no valid IPv6 address", hint=_WANTED)
        port = port[1:]
    else:
        host, _, port = rest.partition(":")
    if not host or not host.isascii() or any(c in host for c in "/?#@ "):
        raise UnusableSetting(f"host '{text}' names no host", hint=_WANTED)
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UnusableSetting(
            f"host '{text}' has no valid port", hint="a port is a number to 65535"
        )
    return host, int(port) if port else None


def shown(text: str) -> str:
    """``text`` from a command line, with ``\\xff`` for a byte in it that is not UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def utf8(text: str) -> bytes:
    """``text`` as it is sent.

    Raises:
        InvalidInput: it came from a command line, and had bytes in it that are no text.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        near = shown(text[max(error.start - _AROUND, 0) : error.start + _AROUND])
        raise InvalidInput(f"'{near}' is not text in UTF-8", hint="use another name") from None


def quote(segment: str) -> str:
    """``segment`` percent-encoded to stand between two slashes of a path (RFC 3986, section 3.3)."""
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in utf8(segment))


Query = Mapping[str, str | bool | Iterable[str]]


def target(*segments: str, query: Query | None = None) -> str:
    """The request target of a path's segments and a query.

    Args:
        segments: names among them come from users.
        query: booleans are ``true`` and ``false``; of several strings each is a parameter of the name.

    Raises:
        InvalidInput: a segment is empty.
    """
    if not all(segments):
        raise InvalidInput("the name of an object is empty", hint="is a shell variable not set?")
    path = "/" + "/".join(quote(s) for s in segments)
    words = [
        f"{quote(name)}={quote(word)}" for name, v in (query or {}).items() for word in _words(v)
    ]
    return f"{path}?{'&'.join(words)}" if words else path


def _words(value: str | bool | Iterable[str]) -> Iterable[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    return [value] if isinstance(value, str) else value
