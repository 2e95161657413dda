"""What Kleene asks rtnetlink to do: bridges, pairs of interfaces, addresses, routes.

Each function takes the :class:`Netlink` of the namespace that it is to work in, and raises ``OSError`` with
the kernel's reason. Nothing here knows of containers or of daemons.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from kleene.network import netlink
from kleene.network.driver import Interface
from kleene.network.netlink import Netlink, attribute, nested, number, text

# <linux/if_link.h>
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 10, 18
_IFLA_IFALIAS, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 20, 28, 29
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_IFLA_BRPORT_ISOLATED = 33
_SKIP_STATISTICS = 1 << 3
# <linux/if_addr.h>
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 0x02
# <linux/rtnetlink.h>
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE = 1, 4, 5, 6, 9, 15
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _TYPE_UNICAST = 254, 4, 0, 1

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_UP = 0x1


@dataclass(frozen=True)
class Link:
    """An interface.

    Attributes:
        kind: ``bridge``, ``veth``, …; empty for hardware and the loopback.
        address: its hardware address, six bytes for all that Kleene makes.
    """

    index: int
    name: str
    kind: str
    address: bytes


@dataclass(frozen=True)
class Route:
    """A route of the main table; ``index`` is the interface's, 0 if it leads nowhere."""

    destination: IPv4Network | IPv6Network
    index: int
    metric: int


def find(kernel: Netlink, name: str) -> Link | None:
    """The interface of that name."""
    extra = number(_IFLA_EXT_MASK, _SKIP_STATISTICS)
    try:
        (body,) = kernel.request(netlink.RTM_GETLINK, _link() + text(_IFLA_IFNAME, name) + extra)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return _read_link(body)


def every(kernel: Netlink) -> list[Link]:
    """All interfaces of the namespace."""
    body = _link() + number(_IFLA_EXT_MASK, _SKIP_STATISTICS)
    return [_read_link(answer) for answer in kernel.dump(netlink.RTM_GETLINK, body)]


def add_bridge(kernel: Netlink, name: str, address: bytes) -> None:
    """Make a bridge, down, without spanning tree (the kernel's default): its ports forward at once.

    Args:
        address: given, it stays; else the bridge would take on that of one or the other of its ports, and
            containers would send to the old one.
    """
    info = nested(_IFLA_LINKINFO, text(_INFO_KIND, "bridge"))
    body = _link() + text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, address) + info
    kernel.request(netlink.RTM_NEWLINK, body, netlink.CREATE)


def add_pair(kernel: Netlink, name: str, bridge: Link, namespace: int, inner_name: str) -> None:
    """Make a pair of interfaces (veth(4)), both down: one a port of the bridge, the other in the namespace
    that the file descriptor ``namespace`` stands for."""
    inner = _link() + text(_IFLA_IFNAME, inner_name) + number(_IFLA_NET_NS_FD, namespace)
    info = nested(
        _IFLA_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, nested(_VETH_INFO_PEER, inner))
    )
    body = _link() + text(_IFLA_IFNAME, name) + number(_IFLA_MASTER, bridge.index) + info
    kernel.request(netlink.RTM_NEWLINK, body, netlink.CREATE)


def set_port(kernel: Netlink, name: str, *, isolated: bool) -> None:
    """Bring a port of a bridge up. An isolated one exchanges frames with the bridge itself and ports that
    are not isolated (bridge(8)); it becomes so before the first frame passes."""
    port = nested(_INFO_SLAVE_DATA, attribute(_IFLA_BRPORT_ISOLATED, bytes([isolated])))
    info = nested(_IFLA_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), port)
    kernel.request(netlink.RTM_NEWLINK, _link() + text(_IFLA_IFNAME, name) + info)
    kernel.request(netlink.RTM_NEWLINK, _link(flags=_UP) + text(_IFLA_IFNAME, name))


def set_up(kernel: Netlink, index: int) -> None:
    """Bring an interface up."""
    kernel.request(netlink.RTM_NEWLINK, _link(index, _UP))


def set_alias(kernel: Netlink, index: int, alias: str) -> None:
    """Note something on an interface, for people who list them."""
    kernel.request(netlink.RTM_SETLINK, _link(index) + text(_IFLA_IFALIAS, alias))


def delete(kernel: Netlink, name: str) -> None:
    """Remove an interface; of a pair both. The kernel takes some 20 ms for it."""
    kernel.request(netlink.RTM_DELLINK, _link() + text(_IFLA_IFNAME, name))


def addresses(kernel: Netlink, index: int | None = None) -> list[Interface]:
    """Addresses of one interface, or of all; those of IPv6's link-local scope are left out."""
    return [
        address
        for owner, address in _addresses(kernel)
        if (index is None or owner == index)
        and not (address.version == 6 and address.is_link_local)
    ]


def set_addresses(kernel: Netlink, index: int, wanted: Iterable[Interface]) -> None:
    """Give an interface these addresses and no others."""
    held, kept = set(addresses(kernel, index)), set(wanted)
    for address in held - kept:
        kernel.request(netlink.RTM_DELADDR, _address(index, address))
    for address in kept - held:
        add_address(kernel, index, address)


def add_address(kernel: Netlink, index: int, address: Interface) -> None:
    """Give an interface one more address. IPv6's is usable at once: no other host is asked for it first,
    since who has which address is known."""
    body = _address(index, address)
    if isinstance(address, IPv4Interface):
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    kernel.request(netlink.RTM_NEWADDR, body, netlink.CREATE)


def add_default_route(kernel: Netlink, index: int, gateway: str) -> None:
    """Route all else to ``gateway``; a default route that another interface has already stays."""
    address = ip_address(gateway)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    head = (family, 0, 0, 0, _TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0)
    body = _ROUTE.pack(*head) + attribute(_RTA_GATEWAY, address.packed) + number(_RTA_OIF, index)
    try:
        kernel.request(netlink.RTM_NEWROUTE, body, netlink.CREATE)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def routes(kernel: Netlink) -> list[Route]:
    """Routes of the main table to somewhere."""
    found: list[Route] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for answer in kernel.dump(netlink.RTM_GETROUTE, body):
            found.extend(_read_route(answer))
    return found


def _link(index: int = 0, flags: int = 0) -> bytes:
    """The fixed part of a link's message: ``flags`` are switched on, the others left."""
    return _LINK.pack(0, 0, index, flags, flags)


def _read_link(body: bytes) -> Link:
    _, _, index, _, _ = _LINK.unpack_from(body)
    found = netlink.attributes(body, _LINK.size)
    info = netlink.attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index,
        netlink.as_text(found.get(_IFLA_IFNAME, b"")),
        netlink.as_text(info.get(_INFO_KIND, b"")),
        found.get(_IFLA_ADDRESS, b""),
    )


def _address(index: int, address: Interface) -> bytes:
    """The message that names an address of an interface."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    flags = 0 if address.version == 4 else _IFA_F_NODAD
    head = _ADDRESS.pack(family, address.network.prefixlen, flags, 0, index)
    packed = address.ip.packed
    return head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)


def _addresses(kernel: Netlink) -> Iterator[tuple[int, Interface]]:
    """Each address with the index of its interface."""
    for body in kernel.dump(netlink.RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
        family, prefixlen, _, _, index = _ADDRESS.unpack_from(body)
        found = netlink.attributes(body, _ADDRESS.size)
        packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
        if family in (socket.AF_INET, socket.AF_INET6) and packed:
            yield index, ip_interface((packed, prefixlen))


def _read_route(body: bytes) -> Iterator[Route]:
    """The route, if it is one of the main table that leads somewhere."""
    family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    found = netlink.attributes(body, _ROUTE.size)
    if _RTA_TABLE in found:
        table = netlink.as_number(found[_RTA_TABLE])
    if table != _TABLE_MAIN or kind != _TYPE_UNICAST:
        return
    packed = found.get(_RTA_DST, bytes(4 if family == socket.AF_INET else 16))
    index = netlink.as_number(found[_RTA_OIF]) if _RTA_OIF in found else _first_hop(found)
    metric = netlink.as_number(found[_RTA_PRIORITY]) if _RTA_PRIORITY in found else 0
    yield Route(ip_network((packed, length)), index, metric)


def _first_hop(found: netlink.Attributes) -> int:
    """The interface of the first of several ways (struct rtnexthop)."""
    hops = found.get(_RTA_MULTIPATH, b"")
    return int(struct.unpack_from("=HBBi", hops)[3]) if len(hops) >= 8 else 0
