"""Addresses of the API's sockets: ``http[s]://IP[:PORT]`` and ``http[s]:///PATH``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from kleene.errors import InvalidInput

_WANTED = "write http:///PATH/TO/SOCKET, http://IP:PORT, or these with https"


@dataclass(frozen=True)
class Address:
    """Where a socket listens: a path, or an IP address and a port."""

    tls: bool
    path: Path | None = None
    ip: IPv4Address | IPv6Address | None = None
    port: int = 0

    def __str__(self) -> str:
        scheme = "https" if self.tls else "http"
        if self.path is not None:
            return f"{scheme}://{self.path}"
        host = f"[{self.ip}]" if isinstance(self.ip, IPv6Address) else str(self.ip)
        return f"{scheme}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read an address. A missing port is that of the scheme, as in any URL.

    Raises:
        InvalidInput: it has another form.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"socket '{text}' is not valid: {error}", hint=_WANTED) from error
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise InvalidInput(f"socket '{text}' is not valid", hint=_WANTED)
    tls = parts.scheme == "https"
    if parts.netloc:
        return Address(tls, ip=_ip(text, parts.hostname), port=port or (443 if tls else 80))
    if not parts.path.startswith("/") or parts.path.endswith("/"):
        raise InvalidInput(f"socket '{text}' has no path", hint=_WANTED)
    return Address(tls, path=Path(parts.path))


def _ip(text: str, host: str | None) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host or "")
    except ValueError as error:
        raise InvalidInput(f"socket '{text}' has no IP address", hint=_WANTED) from error
