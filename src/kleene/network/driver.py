"""The network contracts: links (interfaces and namespaces) and the firewall.

Links live in the kernel until they are deleted or the host restarts; the firewall's ruleset is generated
whole from the metadata and replaced in one transaction. Names of interfaces are at most 15 characters
(IFNAMSIZ, netdevice(7)) and are checked before they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Literal, Protocol

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class Bridge:
    """The host's side of a network: a bridge interface and the addresses that it has."""

    name: str
    addresses: Sequence[Interface]


@dataclass(frozen=True)
class Attachment:
    """A container's interface on a bridge.

    Attributes:
        bridge: name of the bridge, or of the user's own interface for a ``custom`` network.
        host_name: the host's end of the pair.
        container_name: the interface as the container sees it (``eth0``).
        addresses: of the container, each with the length of its subnet.
        gateways: default routes; at most one of each family.
        isolated: may not reach other isolated ports of the bridge (no inter-container connectivity).
    """

    bridge: str
    host_name: str
    container_name: str
    addresses: Sequence[Interface]
    gateways: Sequence[str]
    isolated: bool = False


class LinkDriver(Protocol):
    """Interfaces and network namespaces of one daemon."""

    async def create_bridge(self, bridge: Bridge) -> None:
        """Make the bridge if it is missing, and give it exactly these addresses; it is up then.

        Raises:
            Conflict: an interface of that name exists and is not a bridge of Kleene.
        """
        ...

    async def check_bridge(self, name: str) -> None:
        """See that the user's own interface can carry the containers of a ``custom`` network.

        Raises:
            NotFound: there is no interface of that name.
            InvalidInput: it is not a bridge.
        """
        ...

    async def delete_link(self, name: str) -> None:
        """Remove an interface; a name that does not exist is passed over.

        Raises:
            Conflict: it is a bridge, but not one of Kleene's.
        """
        ...

    async def links(self) -> list[str]:
        """Names of the host's interfaces."""
        ...

    async def default_interface(self) -> str | None:
        """The interface that has the host's default IPv4 route."""
        ...

    async def host_subnets(self) -> list[IPv4Network | IPv6Network]:
        """Subnets that the host's interfaces and routes have, the default route left out."""
        ...

    async def create_namespace(self, name: str) -> Path:
        """Make a network namespace whose loopback is up; a file that names it, for the runtime.
        One of that name that is left from before is replaced."""
        ...

    async def delete_namespace(self, name: str) -> None:
        """Remove a namespace with the interfaces in it; one that does not exist is passed over.

        The kernel takes the interfaces away when the last process of the namespace is gone, and does so
        after this returns. That is cheaper than :meth:`detach`, which waits for the kernel.
        """
        ...

    async def namespaces(self) -> list[str]:
        """Names of the namespaces that this driver made. For reconciliation."""
        ...

    async def attach(self, namespace: str, attachment: Attachment) -> None:
        """Connect a namespace to a bridge by a pair of interfaces."""
        ...

    async def detach(self, host_name: str) -> None:
        """Remove a pair by the name of its host's end; one that does not exist is passed over."""
        ...

    async def enable_forwarding(self, *, ipv6: bool) -> None:
        """Let the host route between interfaces (ip_forward in ip-sysctl)."""
        ...


ANY_INTERFACE = "*"
"""In place of the interface to translate on, for a host that has no default route."""


@dataclass(frozen=True)
class NetworkRules:
    """What the firewall does for a network.

    Attributes:
        bridge: the interface of the network.
        nat: interface that outgoing traffic is translated on; ``ANY_INTERFACE`` for whichever it leaves
            by; ``None`` for no translation.
        own: whether the bridge is Kleene's. Traffic through the user's own interface (a ``custom``
            network) is translated but never filtered, so that ``icc`` and ``internal`` do not apply.
    """

    bridge: str
    subnet: IPv4Network | None
    subnet6: IPv6Network | None
    nat: str | None
    icc: bool
    internal: bool
    own: bool = True


@dataclass(frozen=True)
class PortRules:
    """A published port, or a range of them.

    Attributes:
        interfaces: of the host on which the traffic comes in; the host's own and the containers'
            traffic to the host's addresses is redirected too.
        host_ports, container_ports: first and last, both inclusive.
    """

    interfaces: Sequence[str]
    protocol: Literal["tcp", "udp"]
    host_ports: tuple[int, int]
    container_ports: tuple[int, int]
    address: str | None
    address6: str | None


@dataclass(frozen=True)
class Ruleset:
    """All that the firewall does for one daemon."""

    networks: Sequence[NetworkRules] = ()
    ports: Sequence[PortRules] = ()


class Firewall(Protocol):
    """The firewall of one daemon; the user's own rules live beside it, untouched."""

    async def apply(self, ruleset: Ruleset) -> None:
        """Replace all rules of this daemon in one transaction; nothing changes if it raises.

        The bridges exist already: what the kernel must allow on them is set here too.
        """
        ...

    async def clear(self) -> None:
        """Remove all rules of this daemon."""
        ...
