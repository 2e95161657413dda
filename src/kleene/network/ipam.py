"""Addresses: which subnet a network gets, and which address of it a container gets.

Pure. Nothing here walks over a subnet, so that a ``/8`` or a ``/64`` costs no more than a ``/24``: the work
grows with the number of addresses and subnets that are taken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from kleene.errors import Conflict, InvalidInput

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

POOLS4 = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""Where free IPv4 subnets are proposed from: private addresses, RFC 1918."""

POOLS6 = (IPv6Network("fd6b:6c65:656e:6500::/56"), IPv6Network("fd00::/8"))
"""Where free IPv6 subnets are proposed from: unique local addresses, RFC 4193."""

_SPECIAL = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "IPv4-mapped": ("::ffff:0:0/96",),
}
"""What no container can have, RFC 6890."""

_PREFIXLEN = re.compile(r"[0-9]{1,3}")


def parse_subnet4(text: str) -> IPv4Network:
    """Read an IPv4 subnet in CIDR form.

    Raises:
        InvalidInput: not one, host bits are set, or it cannot hold a gateway and a container.
    """
    subnet = _parse(text, "10.13.37.0/24")
    if not isinstance(subnet, IPv4Network):
        raise InvalidInput(f"subnet '{text}' is not IPv4", hint=f"write --subnet6 {text}")
    return subnet


def parse_subnet6(text: str) -> IPv6Network:
    """Read an IPv6 subnet in CIDR form.

    Raises:
        InvalidInput: not one, host bits are set, or it cannot hold a gateway and a container.
    """
    subnet = _parse(text, "fd00:13:37::/64")
    if not isinstance(subnet, IPv6Network):
        raise InvalidInput(f"subnet '{text}' is not IPv6", hint=f"write --subnet {text}")
    return subnet


def check_overlap(subnet: Subnet, taken: Iterable[tuple[str, Subnet]]) -> None:
    """See that a new subnet shares no address with one that is in use.

    Args:
        taken: who has the subnet, as it is to be named (``network 'web'``, ``the host``), and the subnet.

    Raises:
        Conflict: one overlaps; the hint names a free one of the same size.
    """
    others = list(taken)
    for owner, other in others:
        if overlaps(subnet, other):
            free = free_subnet(subnet, [s for _, s in others])
            hint = f"use another subnet, for example {free}" if free else "use another subnet"
            raise Conflict(f"subnet '{subnet}' overlaps {other} of {owner}", hint=hint)


def overlaps(one: Subnet, other: Subnet) -> bool:
    """Whether two subnets share an address."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def free_subnet(like: Subnet, taken: Iterable[Subnet]) -> Subnet | None:
    """The lowest private subnet as large as ``like`` that nobody has; ``None`` if there is none."""
    others = [s for s in taken if s.version == like.version]
    for pool in POOLS4 if like.version == 4 else POOLS6:
        if found := _free_in(pool, like.prefixlen, others):
            return ip_network(found)
    return None


def first_address(subnet: Subnet) -> Address:
    """The address that a gateway has unless the user names another."""
    return subnet.network_address + 1


def parse_gateway(text: str, subnet: Subnet) -> Address:
    """Read the address of a gateway that the user names.

    Raises:
        InvalidInput: not an address, or not one that a host of the subnet may have.
    """
    return _parse_host(text, subnet, "gateway")


def next_address(subnet: Subnet, gateway: Address | None, taken: Collection[Address]) -> Address:
    """The lowest address of the subnet that nobody has.

    Raises:
        Conflict: the subnet is full.
    """
    used = set(taken)
    if gateway is not None:
        used.add(gateway)
    last = _last_host(subnet)
    candidate = first_address(subnet)
    while candidate <= last:  # type: ignore[operator]  # both are of the subnet's family
        if candidate not in used:
            return candidate
        candidate += 1
    raise Conflict(
        f"subnet '{subnet}' is full: all its {int(last) - int(subnet.network_address)} addresses are in use",
        hint="remove containers that are not needed, or create a network with a larger subnet",
    )


def check_address(
    text: str, subnet: Subnet, gateway: Address | None, taken: Collection[Address]
) -> Address:
    """Read an address that the user asks for.

    Raises:
        InvalidInput: not an address, or not one that a host of the subnet may have.
        Conflict: the gateway or another container has it.
    """
    address = _parse_host(text, subnet, "address")
    if address == gateway:
        raise Conflict(f"address '{text}' is the gateway of subnet {subnet}", hint=_FREE)
    if address in taken:
        raise Conflict(f"address '{text}' is used by another container", hint=_FREE)
    return address


_FREE = "use another address, or leave it out to be given a free one"


def _parse(text: str, example: str) -> Subnet:
    """A subnet that can be used, of either family."""
    written, slash, prefixlen = text.partition("/")
    if not slash:
        raise InvalidInput(f"subnet '{text}' has no prefix length", hint=f"write it as {example}")
    try:
        # ip_network() would take a netmask, a scope and non-ASCII digits too.
        if _PREFIXLEN.fullmatch(prefixlen) is None or "%" in written:
            raise ValueError(prefixlen)
        subnet = ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidInput(
            f"subnet '{text}' is not valid", hint=f"write it as {example}"
        ) from error
    if subnet.network_address != ip_address(written):
        raise InvalidInput(f"subnet '{text}' has bits set after its prefix", hint=f"write {subnet}")
    _check_use(subnet)
    return subnet


def _check_use(subnet: Subnet) -> None:
    """Refuse what no container could live in."""
    if subnet.max_prefixlen - subnet.prefixlen < 2:
        raise InvalidInput(
            f"subnet '{subnet}' has no room for a gateway and a container",
            hint=f"use a prefix length of at most {subnet.max_prefixlen - 2}",
        )
    for kind, ranges in _SPECIAL.items():
        if any(overlaps(subnet, ip_network(each)) for each in ranges):
            free = free_subnet(subnet, ()) or (POOLS4 if subnet.version == 4 else POOLS6)[0]
            raise InvalidInput(
                f"subnet '{subnet}' has {kind} addresses in it",
                hint=f"use a private one, for example {free}",
            )


def _parse_host(text: str, subnet: Subnet, kind: str) -> Address:
    """An address that a host of the subnet may have."""
    last = _last_host(subnet)
    within = f"use one from {first_address(subnet)} to {last}"
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidInput(f"{kind} '{text}' is not an IP address", hint=within) from error
    if address not in subnet:
        raise InvalidInput(f"{kind} '{text}' is not in subnet {subnet}", hint=within)
    if address == subnet.network_address:
        raise InvalidInput(f"{kind} '{text}' is the address of subnet {subnet} itself", hint=within)
    if address != last and address == subnet.broadcast_address:
        raise InvalidInput(
            f"{kind} '{text}' is the broadcast address of subnet {subnet}", hint=within
        )
    return address


def _last_host(subnet: Subnet) -> Address:
    """IPv6 has no broadcast address: its last address is a host's."""
    last = subnet.broadcast_address
    return last - 1 if subnet.version == 4 else last


def _free_in(pool: Subnet, prefixlen: int, taken: Sequence[Subnet]) -> str | None:
    """Leap from one taken subnet to the next place that is aligned, until nothing is in the way."""
    if prefixlen < pool.prefixlen:
        return None
    size = 1 << (pool.max_prefixlen - prefixlen)
    start, end = int(pool.network_address), int(pool.broadcast_address)
    spans = sorted((int(s.network_address), int(s.broadcast_address)) for s in taken)
    for low, high in spans:
        if low < start + size and high >= start:
            start = -(-(high + 1) // size) * size
    if start + size - 1 > end:
        return None
    return f"{type(pool.network_address)(start)}/{prefixlen}"
