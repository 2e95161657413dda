"""Datagrams that go where a published port used to lead.

The kernel asks the firewall about the first packet between two sockets only and remembers the answer while
packets follow (nf_conntrack-sysctl). A UDP sender that never pauses would so keep sending to a container
that is gone, or to the host itself, after its port was published. Numbers are those of the kernel's header
<linux/netfilter/nfnetlink_conntrack.h>.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from kleene.network import netlink, rtnl
from kleene.network.driver import PortRules, Ruleset
from kleene.network.netlink import Netlink

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_STATUS = 1, 2, 3
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_SRC, _CTA_IP_DST = {4: 1, 16: 3}, {4: 2, 16: 4}
_CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 1, 3
_NESTED = 0x8000
_IPS_DST_NAT = 1 << 5
_HEAD = struct.Struct("=BBH")

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Flow:
    """UDP between two sockets.

    Attributes:
        key: what the kernel knows the flow by.
        destination, port: where the sender sends to.
        receiver: who in fact receives it.
        redirected: whether the destination was translated.
    """

    key: bytes
    destination: _Address
    port: int
    receiver: _Address
    redirected: bool


def forget_stale(ruleset: Ruleset) -> None:
    """Have the kernel ask anew about UDP that the ruleset would send elsewhere now.

    Raises:
        OSError: the kernel refuses.
    """
    with Netlink() as host:
        local = frozenset(address.ip for address in rtnl.addresses(host))
    with Netlink(_NETLINK_NETFILTER) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            for flow in _flows(kernel, family):
                if is_stale(flow, ruleset, local):
                    _forget(kernel, family, flow)


def is_stale(flow: Flow, ruleset: Ruleset, local: frozenset[_Address]) -> bool:
    """Whether a flow goes elsewhere than the ruleset says: to a container that its port no longer leads to,
    or to the host by a port that is published since. To take one for stale that is not does no harm: the
    answer will be the same."""
    if flow.destination not in local:
        return False
    if receivers := _receivers(ruleset.ports, flow.port):
        return flow.receiver not in receivers
    return flow.redirected and any(
        flow.receiver in subnet
        for network in ruleset.networks
        for subnet in (network.subnet, network.subnet6)
        if subnet is not None
    )


def _receivers(ports: Sequence[PortRules], number: int) -> set[_Address]:
    """Addresses that a UDP port of the host leads to."""
    return {
        ip_address(address)
        for port in ports
        if port.protocol == "udp" and port.host_ports[0] <= number <= port.host_ports[1]
        for address in (port.address, port.address6)
        if address
    }


def _flows(kernel: Netlink, family: int) -> Iterator[Flow]:
    """All UDP that the kernel remembers."""
    for body in kernel.dump(_GET, _HEAD.pack(family, 0, 0)):
        found = netlink.attributes(body, _HEAD.size)
        key = found.get(_CTA_TUPLE_ORIG, b"")
        sent, answered = _tuple(key), _tuple(found.get(_CTA_TUPLE_REPLY, b""))
        if sent is None or answered is None:
            continue
        (status,) = struct.unpack("!I", found.get(_CTA_STATUS, bytes(4)))
        _, destination, port = sent
        yield Flow(key, destination, port, answered[0], bool(status & _IPS_DST_NAT))


def _tuple(packed: bytes) -> tuple[_Address, _Address, int] | None:
    """Source, destination and its port; ``None`` for other protocols."""
    parts = netlink.attributes(packed)
    addresses = netlink.attributes(parts.get(_CTA_TUPLE_IP, b""))
    proto = netlink.attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    if proto.get(_CTA_PROTO_NUM, b"")[:1] != bytes([socket.IPPROTO_UDP]):
        return None
    for length, source in _CTA_IP_SRC.items():
        if source in addresses:
            (port,) = struct.unpack("!H", proto[_CTA_PROTO_DST_PORT][:2])
            destination = addresses[_CTA_IP_DST[length]]
            return ip_address(addresses[source]), ip_address(destination), int(port)
    return None


def _forget(kernel: Netlink, family: int, flow: Flow) -> None:
    """A flow that ended meanwhile needs nothing."""
    key = netlink.attribute(_CTA_TUPLE_ORIG | _NESTED, flow.key)
    try:
        kernel.request(_DELETE, _HEAD.pack(family, 0, 0) + key)
    except FileNotFoundError:
        return
