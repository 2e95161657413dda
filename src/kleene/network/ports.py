"""Published ports: what a user may ask for, and whose ports collide. Pure.

A port, or a range of them, of the host is redirected to as many ports of a container, in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kleene.errors import Conflict, InvalidInput
from kleene.network.interfaces import check_interface_name

Protocol = Literal["tcp", "udp"]
Range = tuple[int, int]
"""First and last port, both inclusive."""

_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class PublishedRange:
    """Ports of the host and the ports of a container that they are redirected to.

    Attributes:
        interfaces: of the host, on which traffic comes in.
        container: as many ports as ``host``.
    """

    interfaces: tuple[str, ...]
    protocol: Protocol
    host: Range
    container: Range

    def __str__(self) -> str:
        return f"{_shown(self.host)}/{self.protocol}"


def parse_published(
    interfaces: Iterable[str], host_port: str, container_port: str, protocol: str
) -> PublishedRange:
    """Read a published port as it is on the wire.

    Args:
        host_port: ``PORT`` or ``FIRST:LAST``.
        container_port: ``PORT``, or ``FIRST:*`` beside a range of host ports.

    Raises:
        InvalidInput: a part is not of this form, or the ports do not fit the range 1 to 65535.
    """
    names = tuple(dict.fromkeys(check_interface_name(name) for name in interfaces))
    host = _parse_range(host_port)
    first = _parse_container(container_port, host)
    last = first + host[1] - host[0]
    if last > 65535:
        raise InvalidInput(
            f"ports '{host_port}' do not fit in the container from port {first} on",
            hint=f"begin at port {65535 - (host[1] - host[0])} or lower in the container",
        )
    return PublishedRange(names, _parse_protocol(protocol), host, (first, last))


def collide(one: PublishedRange, other: PublishedRange) -> bool:
    """Whether some packet from outside would be meant for both."""
    return (
        one.protocol == other.protocol
        and not set(one.interfaces).isdisjoint(other.interfaces)
        and one.host[0] <= other.host[1]
        and other.host[0] <= one.host[1]
    )


def check_published(
    wanted: Iterable[PublishedRange], published: Iterable[tuple[str, PublishedRange]]
) -> None:
    """See that no port is published twice, neither within ``wanted`` nor by another container.

    Args:
        published: name of the container, and what it has published.

    Raises:
        Conflict: one is.
    """
    held = list(published)
    own: list[PublishedRange] = []
    for port in wanted:
        if any(collide(port, other) for other in own):
            raise Conflict(f"port {port} is published twice", hint="publish a host port once")
        own.append(port)
        for container, other in held:
            if collide(port, other):
                raise Conflict(
                    f"port {port} is already published by container '{container}'",
                    hint=f"choose another host port, or remove that container: klee rmc {container}",
                )


def _shown(ports: Range) -> str:
    """``80`` or ``80-90``."""
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _parse_port(text: str) -> int:
    """A number from 1 to 65535."""
    if _PORT.fullmatch(text) is None or not 1 <= int(text) <= 65535:
        raise InvalidInput(f"port '{text}' is not valid", hint="a port is a number from 1 to 65535")
    return int(text)


def _parse_range(text: str) -> Range:
    """``PORT`` or ``FIRST:LAST``."""
    first, colon, last = text.partition(":")
    ports = (_parse_port(first), _parse_port(last if colon else first))
    if ports[0] > ports[1]:
        raise InvalidInput(
            f"port range '{text}' ends before it begins", hint=f"write {ports[1]}:{ports[0]}"
        )
    return ports


def _parse_container(text: str, host: Range) -> int:
    """The container's first port, from ``PORT`` or ``FIRST:*``."""
    first, colon, rest = text.partition(":")
    port = _parse_port(first)
    if colon and rest != "*":
        raise InvalidInput(
            f"container port '{text}' is not valid", hint=f"write {first}:* beside a range"
        )
    if not colon and host[0] != host[1]:
        raise InvalidInput(
            f"container port '{text}' is one port, but the host's are {_shown(host)}",
            hint=f"write {text}:* for as many ports of the container",
        )
    return port


def _parse_protocol(text: str) -> Protocol:
    """``tcp`` or ``udp``."""
    if text == "tcp":
        return "tcp"
    if text == "udp":
        return "udp"
    raise InvalidInput(f"protocol '{text}' is not known", hint="use tcp or udp")
