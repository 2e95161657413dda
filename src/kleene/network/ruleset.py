"""The firewall of one daemon as a script for ``nft -f``. Pure.

The script is one transaction: it replaces the table ``kleene_<instance>`` whole, and touches no other. Syntax
and priorities: nft(8). What the rules do, for the networks whose bridge is Kleene's:

- A container reaches the containers of its network (unless ``icc`` is off) and the outside (unless
  ``internal``), never a container of another network, but for ports that are published.
- From outside nothing reaches a container but what comes in by a published port.
- Outgoing traffic bears the address of the interface that it leaves by, where the network has ``nat``.

The host's own traffic to containers is not filtered, nor is theirs to the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from kleene.errors import InvalidInput
from kleene.network.driver import ANY_INTERFACE, NetworkRules, PortRules, Ruleset
from kleene.network.interfaces import check_interface_name

_INSTANCE = re.compile(r"[a-z0-9_]{1,32}")
_INDENT = "    "


def table_name(instance: str) -> str:
    """The table of one daemon.

    Raises:
        InvalidInput: ``instance`` has other characters than lower-case letters, digits and ``_``.
    """
    if _INSTANCE.fullmatch(instance) is None:
        raise InvalidInput(f"instance '{instance}' cannot name a firewall table")
    return f"kleene_{instance}"


def render_removal(instance: str) -> str:
    """The script that takes the table away; adding it first lets it succeed when there is none."""
    name = table_name(instance)
    return f"add table inet {name}\ndelete table inet {name}\n"


def render(instance: str, ruleset: Ruleset) -> str:
    """The script that makes the table be ``ruleset``.

    Raises:
        InvalidInput: a name, an address or a port cannot be written in a script.
    """
    networks = ruleset.networks
    ports = [_checked(port) for port in ruleset.ports if port.address or port.address6]
    script = render_removal(instance)
    if not networks and not ports:
        return script
    own = [network for network in networks if network.own]
    parts = [
        *_sets(own, ports),
        _chain("loopback", "filter hook prerouting priority raw", _loopback(own)),
        _chain("forward", "filter hook forward priority filter", _forward(own, ports)),
        _chain("published", None, _published(own, ports)),
        _chain("prerouting", "nat hook prerouting priority dstnat", _prerouting(own, ports)),
        _chain("output", "nat hook output priority -100", _output(ports)),
        _chain("postrouting", "nat hook postrouting priority srcnat", _postrouting(networks)),
    ]
    body = "\n".join(part for part in parts if part)
    return f"{script}table inet {table_name(instance)} {{\n{body}}}\n"


def bridges_of_local_ports(ruleset: Ruleset) -> tuple[list[str], list[str]]:
    """Kleene's bridges to which the host's own traffic to 127.0.0.0/8 is redirected, and the others."""
    addresses = [IPv4Address(port.address) for port in ruleset.ports if port.address]
    reached: list[str] = []
    others: list[str] = []
    for network in ruleset.networks:
        if network.own:
            subnet = network.subnet
            is_reached = subnet is not None and any(a in subnet for a in addresses)
            (reached if is_reached else others).append(network.bridge)
    return reached, others


def _sets(own: Sequence[NetworkRules], ports: Sequence[PortRules]) -> Iterator[str]:
    """What the rules look up, so that their number does not grow with the networks'."""
    if not own:
        return
    yield _set("bridges", "ifname", [_quoted(n.bridge) for n in own])
    together = [n for n in own if n.icc]
    apart = [n for n in own if not n.icc]
    internal = [n for n in own if n.internal]
    yield _set("together", "ifname . ifname", [_pair(n) for n in together])
    yield _set("apart", "ifname . ifname", [_pair(n) for n in apart])
    yield _set("internal", "ifname", [_quoted(n.bridge) for n in internal])
    for version, type_ in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        if elements := _reachable(ports, version):
            key = f"{type_} . inet_proto . inet_service"
            yield _set(f"reachable{version}", key, elements, "flags interval")


def _loopback(own: Sequence[NetworkRules]) -> Iterator[str]:
    """Guard for route_localnet (ip-sysctl), which the host's own use of published ports needs: with it,
    a container could reach what listens on the host's 127.0.0.1. On the wire no such address is right:
    the answers to redirected connections still bear the bridge's."""
    if own:
        yield "iifname @bridges ip daddr 127.0.0.0/8 drop"
        yield "iifname @bridges ip saddr 127.0.0.0/8 drop"


def _forward(own: Sequence[NetworkRules], ports: Sequence[PortRules]) -> Iterator[str]:
    """From the most particular to the general; what no bridge of ours takes part in is left alone."""
    if not own:
        return
    yield "iifname != @bridges oifname != @bridges return"
    yield "ct state established,related accept"
    # A bridge's own traffic passes here only where br_netfilter is loaded; elsewhere the ports'
    # isolation holds containers apart.
    yield "iifname . oifname @together accept"
    yield "iifname . oifname @apart ct status dnat accept"
    yield "iifname . oifname @apart drop"
    yield "iifname @internal drop"
    yield "ct status dnat accept"
    if any(port.address for port in ports):
        yield "iifname @bridges ip daddr . meta l4proto . th dport @reachable4 accept"
    if any(port.address6 for port in ports):
        yield "iifname @bridges ip6 daddr . meta l4proto . th dport @reachable6 accept"
    yield "oifname @bridges drop"


def _published(own: Sequence[NetworkRules], ports: Sequence[PortRules]) -> Iterator[str]:
    """For traffic to the host's addresses from the host itself and from containers. What leads to a
    user's own interface leaves 127.0.0.1 alone: nothing could come back from there."""
    subnets = [network.subnet for network in own if network.subnet is not None]
    for port in ports:
        address = _address(port, 4)
        is_own = any(IPv4Address(address) in subnet for subnet in subnets) if address else True
        guard = "" if is_own else "ip daddr != 127.0.0.0/8 "
        yield from (f"{guard if ' ipv4 ' in rule else ''}{rule}" for rule in _redirect(port))


def _prerouting(own: Sequence[NetworkRules], ports: Sequence[PortRules]) -> Iterator[str]:
    """Only what is meant for the host itself: it may be a router for others."""
    if not ports:
        return
    yield "fib daddr type != local return"
    if own:
        yield "iifname @bridges goto published"
    for port in ports:
        if port.interfaces:
            names = ", ".join(_quoted(name) for name in port.interfaces)
            yield from (f"iifname {{ {names} }} {rule}" for rule in _redirect(port))


def _output(ports: Sequence[PortRules]) -> Iterator[str]:
    """``::1`` cannot be redirected: IPv6 knows no way to let it leave the loopback interface."""
    if ports:
        yield "fib daddr type != local return"
        yield "ip6 daddr ::1 return"
        yield "goto published"


def _postrouting(networks: Sequence[NetworkRules]) -> Iterator[str]:
    """A redirected connection whose answer would not come back by the host gets the host's address:
    the host's own, and those between two containers of one subnet."""
    if any(network.own for network in networks):
        yield "fib saddr type local oifname @bridges ct status dnat masquerade"
    for network in networks:
        for family, subnet in (("ip", network.subnet), ("ip6", network.subnet6)):
            if subnet is not None:
                yield f"{family} saddr {subnet} {family} daddr {subnet} ct status dnat masquerade"
                if network.nat is not None and not network.internal:
                    yield f"{family} saddr {subnet} {_egress(network)} masquerade"


def _egress(network: NetworkRules) -> str:
    """Where outgoing traffic is translated."""
    if network.nat == ANY_INTERFACE:
        others = "@bridges" if network.own else _quoted(network.bridge)
        return f"oifname != {others}"
    return f"oifname {_quoted(network.nat or '')}"


def _redirect(port: PortRules) -> Iterator[str]:
    """The rules for one published port, for each family that the container has."""
    for version, family, proto in ((4, "ip", "ipv4"), (6, "ip6", "ipv6")):
        if address := _address(port, version):
            match = f"meta nfproto {proto} {port.protocol} dport {_range(port.host_ports)}"
            yield f"{match} dnat {family} to {_target(port, address, version)}"


def _target(port: PortRules, address: str, version: int) -> str:
    """Where a published port leads. nft cannot shift a range by an offset: there each port is named."""
    shown = f"[{address}]" if version == 6 else address
    if port.host_ports == port.container_ports:
        return shown
    if port.host_ports[0] == port.host_ports[1]:
        return f"{shown}:{_range(port.container_ports)}"
    hosts, inner = _numbers(port.host_ports), _numbers(port.container_ports)
    pairs = (f"{a} : {address} . {b}" for a, b in zip(hosts, inner, strict=True))
    return f"{port.protocol} dport map {{ {', '.join(pairs)} }}"


def _numbers(ports: tuple[int, int]) -> range:
    return range(ports[0], ports[1] + 1)


def _reachable(ports: Sequence[PortRules], version: int) -> list[str]:
    """Addresses and ports of containers that are published; elements of a set may not overlap."""
    wanted = sorted(
        (address, port.protocol, port.container_ports)
        for port in ports
        if (address := _address(port, version))
    )
    merged: list[tuple[str, str, tuple[int, int]]] = []
    for address, protocol, (first, last) in wanted:
        if merged and merged[-1][:2] == (address, protocol) and first <= merged[-1][2][1] + 1:
            start, end = merged.pop()[2]
            first, last = start, max(end, last)
        merged.append((address, protocol, (first, last)))
    return [f"{address} . {protocol} . {_range(span)}" for address, protocol, span in merged]


def _set(name: str, type_: str, elements: Sequence[str], *properties: str) -> str:
    """A set; without elements too, since rules name it."""
    lines = [f"type {type_}", *properties]
    if elements:
        lines.append(f"elements = {{ {', '.join(dict.fromkeys(elements))} }}")
    return _block(f"set {name}", lines)


def _chain(name: str, hook: str | None, rules: Iterable[str]) -> str:
    """A chain; nothing if it has no rules."""
    lines = list(rules)
    if not lines:
        return ""
    return _block(f"chain {name}", [f"type {hook}; policy accept;", *lines] if hook else lines)


def _block(head: str, lines: Iterable[str]) -> str:
    inner = "".join(f"{_INDENT * 2}{line}\n" for line in lines)
    return f"{_INDENT}{head} {{\n{inner}{_INDENT}}}\n"


def _quoted(interface: str) -> str:
    return f'"{check_interface_name(interface)}"'


def _pair(network: NetworkRules) -> str:
    return f"{_quoted(network.bridge)} . {_quoted(network.bridge)}"


def _checked(port: PortRules) -> PortRules:
    """The port, if its parts can be written in a script and are of one length."""
    if port.protocol not in ("tcp", "udp"):
        raise InvalidInput(f"protocol '{port.protocol}' is not known", hint="use tcp or udp")
    host, inner = _range(port.host_ports), _range(port.container_ports)
    if len(_numbers(port.host_ports)) != len(_numbers(port.container_ports)):
        raise InvalidInput(f"ports {host} of the host cannot lead to ports {inner} of a container")
    return port


def _range(ports: tuple[int, int]) -> str:
    first, last = int(ports[0]), int(ports[1])
    if not 1 <= first <= last <= 65535:
        raise InvalidInput(f"ports {first} to {last} are not a range within 1 to 65535")
    return str(first) if first == last else f"{first}-{last}"


def _address(port: PortRules, version: int) -> str:
    """The container's address of one family, as the script has it; empty if it has none."""
    text = port.address if version == 4 else port.address6
    if not text:
        return ""
    try:
        return str(IPv4Address(text) if version == 4 else IPv6Address(text))
    except ValueError as error:
        raise InvalidInput(f"address '{text}' is not an IPv{version} address") from error
