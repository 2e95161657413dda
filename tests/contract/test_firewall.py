"""What every Firewall promises, with packets that pass or do not.

A host with two networks and an outside: ``10.213.1.0/24`` on ``klt1`` and ``10.213.2.0/24`` on ``klt2``, in
each the containers ``.2`` and ``.3``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path
from typing import Literal

import pytest

from kleene.errors import CommandFailed, HostUnavailable, InvalidInput
from kleene.host import process
from kleene.network import ruleset
from kleene.network.driver import (
    ANY_INTERFACE,
    Attachment,
    Bridge,
    NetworkRules,
    PortRules,
    Ruleset,
)
from kleene.network.links_linux import LinuxLinks
from kleene.network.nftables import NftablesFirewall
from tests.support.netlab import BLOCKED, Lab, a_lab, nftables_available
from tests.support.required import require

pytestmark = pytest.mark.slow


def network(
    number: int, *, nat: str | None = "up0", icc: bool = True, internal: bool = False
) -> NetworkRules:
    subnet, subnet6 = IPv4Network(f"10.213.{number}.0/24"), IPv6Network(f"fd00:213:{number}::/64")
    return NetworkRules(f"klt{number}", subnet, subnet6, nat, icc, internal)


def port(
    network: int,
    container: int,
    host: int | tuple[int, int],
    inner: int | tuple[int, int],
    protocol: Literal["tcp", "udp"] = "tcp",
    interfaces: Sequence[str] = ("up0",),
) -> PortRules:
    return PortRules(
        interfaces,
        protocol,
        (host, host) if isinstance(host, int) else host,
        (inner, inner) if isinstance(inner, int) else inner,
        f"10.213.{network}.{container}",
        f"fd00:213:{network}::{container}",
    )


@dataclass
class Host:
    """The lab with what Kleene makes on it."""

    lab: Lab
    links: LinuxLinks
    firewall: NftablesFirewall
    outside: Path
    containers: dict[tuple[int, int], Path] = field(default_factory=dict)

    def add_network(self, number: int, *, isolated: bool = False) -> None:
        addresses = [
            ip_interface(f"10.213.{number}.1/24"),
            ip_interface(f"fd00:213:{number}::1/64"),
        ]
        self.lab.run(self.links.create_bridge(Bridge(f"klt{number}", addresses)))
        for container in (2, 3):
            name = f"n{number}-{container}"
            file = self.lab.run(self.links.create_namespace(name))
            held = [
                ip_interface(f"10.213.{number}.{container}/24"),
                ip_interface(f"fd00:213:{number}::{container}/64"),
            ]
            gateways = [str(address.ip) for address in addresses]
            end = f"klv{number}-{container}"
            attachment = Attachment(f"klt{number}", end, "eth0", held, gateways, isolated)
            self.lab.run(self.links.attach(name, attachment))
            self.containers[number, container] = file

    def apply(self, networks: Sequence[NetworkRules], *ports: PortRules) -> None:
        self.lab.run(self.firewall.apply(Ruleset(networks, ports)))

    def rules(self) -> str:
        return self.lab.tool("nft", "list", "ruleset")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    require("nftables", nftables_available(), "needs root and the package nftables")
    with a_lab(tmp_path) as lab:
        outside = lab.connect_outside()
        links = LinuxLinks(tmp_path / "run", "aaaaaa")
        lab.run(links.enable_forwarding(ipv6=True))
        host = Host(lab, links, NftablesFirewall("aaaaaa"), outside)
        host.add_network(1)
        host.add_network(2)
        yield host
        for name in lab.run(links.namespaces()):
            lab.run(links.delete_namespace(name))


@pytest.fixture(params=["routed", "br_netfilter"])
def bridged(request: pytest.FixtureRequest, host: Host) -> str:
    """Whether the rules see what passes within a bridge, as they do where Docker or Kubernetes runs."""
    value = "1" if request.param == "br_netfilter" else "0"
    try:
        for name in ("iptables", "ip6tables"):
            file = Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
            host.lab.call(lambda file=file: file.write_text(value))  # type: ignore[misc]
    except FileNotFoundError:
        if value == "1":
            pytest.skip("br_netfilter is not loaded")
    return str(request.param)


def test_outgoing_traffic_bears_the_hosts_address(host: Host) -> None:
    host.apply([network(1), network(2, nat=ANY_INTERFACE)])
    server = host.lab.listen("0.0.0.0", 80, host.outside)
    for container in host.containers.values():
        seen = host.lab.tcp(server, Lab.OUTSIDE4, 80, container)
        assert seen == Lab.UPLINK4
    server6 = host.lab.listen("::", 81, host.outside)
    assert host.lab.tcp(server6, Lab.OUTSIDE6, 81, host.containers[1, 2]) == Lab.UPLINK6
    datagrams = host.lab.listen("0.0.0.0", 53, host.outside, socket.SOCK_DGRAM)
    assert host.lab.udp(datagrams, Lab.OUTSIDE4, 53, host.containers[2, 2]) == Lab.UPLINK4


def test_without_nat_the_containers_own_address_goes_out(host: Host) -> None:
    host.apply([network(1, nat=None)])
    host.lab.tool(*"ip route add 10.213.1.0/24 via 198.18.0.1".split(), namespace=host.outside)
    server = host.lab.listen("0.0.0.0", 80, host.outside)
    assert host.lab.tcp(server, Lab.OUTSIDE4, 80, host.containers[1, 2]) == "10.213.1.2"


def test_an_internal_network_stays_inside(host: Host) -> None:
    host.apply([network(1, internal=True), network(2)], port(1, 2, 8080, 80), port(2, 2, 8081, 80))
    server = host.lab.listen("0.0.0.0", 80, host.outside)
    one, two = host.containers[1, 2], host.containers[1, 3]
    assert host.lab.tcp(server, Lab.OUTSIDE4, 80, one, BLOCKED) is None
    inner = host.lab.listen("0.0.0.0", 80, one)
    assert host.lab.tcp(inner, "10.213.1.2", 80, two) == "10.213.1.3"
    assert host.lab.tcp(inner, "10.213.1.2", 80) == "10.213.1.1"
    # It can be called by a published port, but not call others'.
    assert host.lab.tcp(inner, Lab.UPLINK4, 8080, host.outside) == Lab.OUTSIDE4
    other = host.lab.listen("0.0.0.0", 80, host.containers[2, 2])
    assert host.lab.tcp(other, Lab.UPLINK4, 8081, two, BLOCKED) is None


def test_networks_are_isolated_from_each_other(host: Host, bridged: str) -> None:
    host.apply([network(1), network(2)])
    server = host.lab.listen("0.0.0.0", 80, host.containers[2, 2])
    server6 = host.lab.listen("::", 81, host.containers[2, 2])
    caller = host.containers[1, 2]
    assert host.lab.tcp(server, "10.213.2.2", 80, caller, BLOCKED) is None
    assert host.lab.tcp(server6, "fd00:213:2::2", 81, caller, BLOCKED) is None
    assert host.lab.tcp(server, "10.213.2.2", 80, host.containers[2, 3]) == "10.213.2.3"
    assert host.lab.tcp(server6, "fd00:213:2::2", 81, host.containers[2, 3]) == "fd00:213:2::3"


def test_containers_without_icc_are_isolated_from_each_other(host: Host, bridged: str) -> None:
    host.add_network(3, isolated=True)
    host.apply([network(3, icc=False), network(1)])
    server = host.lab.listen("0.0.0.0", 80, host.containers[3, 2])
    assert host.lab.tcp(server, "10.213.3.2", 80, host.containers[3, 3], BLOCKED) is None
    assert host.lab.tcp(server, "10.213.3.2", 80) == "10.213.3.1"
    outer = host.lab.listen("0.0.0.0", 80, host.outside)
    assert host.lab.tcp(outer, Lab.OUTSIDE4, 80, host.containers[3, 3]) == Lab.UPLINK4


def test_isolation_cannot_be_gone_round_by_the_gateway(host: Host) -> None:
    """The bridge keeps isolated ports apart, but would carry what the host itself sends back."""
    host.add_network(3, isolated=True)
    host.apply([network(3, icc=False)])
    caller = host.containers[3, 3]
    host.lab.tool(*"ip route add 10.213.3.2/32 via 10.213.3.1".split(), namespace=caller)
    server = host.lab.listen("0.0.0.0", 80, host.containers[3, 2])
    assert host.lab.tcp(server, "10.213.3.2", 80, caller, BLOCKED) is None


def test_from_outside_only_published_ports_are_reached(host: Host) -> None:
    host.lab.tool(*"ip route add 10.213.1.0/24 via 198.18.0.1".split(), namespace=host.outside)
    host.apply([network(1), network(2)], port(1, 2, 8080, 80))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(server, Lab.UPLINK4, 8080, host.outside) == Lab.OUTSIDE4
    assert host.lab.tcp(server, "10.213.1.2", 80, host.outside, BLOCKED) is None
    server6 = host.lab.listen("fd00:213:1::2", 80, host.containers[1, 2])
    assert host.lab.tcp(server6, Lab.UPLINK6, 8080, host.outside) == Lab.OUTSIDE6


def test_a_port_is_published_on_its_interfaces_only(host: Host) -> None:
    host.apply([network(1)], port(1, 2, 8080, 80, interfaces=["up1"]))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(server, Lab.UPLINK4, 8080, host.outside, BLOCKED) is None
    assert host.lab.tcp(server, Lab.UPLINK4, 8080) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", Lab.UPLINK4, "10.213.1.1", "10.213.2.1"])
def test_the_host_reaches_published_ports(host: Host, address: str) -> None:
    host.apply([network(1), network(2)], port(1, 2, 8080, 80), port(1, 2, 8053, 53, "udp"))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(server, address, 8080) == "10.213.1.1"
    datagrams = host.lab.listen("0.0.0.0", 53, host.containers[1, 2], socket.SOCK_DGRAM)
    assert host.lab.udp(datagrams, address, 8053) == "10.213.1.1"


def test_the_host_reaches_published_ports_by_ipv6(host: Host) -> None:
    host.apply([network(1)], port(1, 2, 8080, 80))
    server = host.lab.listen("fd00:213:1::2", 80, host.containers[1, 2])
    assert host.lab.tcp(server, Lab.UPLINK6, 8080) == "fd00:213:1::1"
    # A local service on ::1 is not taken over.
    local = host.lab.listen("::1", 8080)
    assert host.lab.tcp(local, "::1", 8080) == "::1"


def test_containers_reach_each_others_published_ports(host: Host, bridged: str) -> None:
    host.apply([network(1), network(2)], port(1, 2, 8080, 80), port(1, 2, 8053, 53, "udp"))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    datagrams = host.lab.listen("0.0.0.0", 53, host.containers[1, 2], socket.SOCK_DGRAM)
    for address in (Lab.UPLINK4, "10.213.1.1"):
        other, same = host.containers[2, 2], host.containers[1, 3]
        assert host.lab.tcp(server, address, 8080, other) == "10.213.2.2"
        assert host.lab.tcp(server, address, 8080, same) == "10.213.1.1"
        assert host.lab.udp(datagrams, address, 8053, other) == "10.213.2.2"
        assert host.lab.udp(datagrams, address, 8053, same) == "10.213.1.1"
    assert host.lab.tcp(server, "10.213.1.2", 80, host.containers[2, 2]) == "10.213.2.2"


def test_a_container_reaches_its_own_published_port(host: Host) -> None:
    host.apply([network(1)], port(1, 2, 8080, 80))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    host.lab.call(lambda: Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("0"))
    assert host.lab.tcp(server, Lab.UPLINK4, 8080, host.containers[1, 2]) == "10.213.1.1"


def test_published_ports_of_isolated_containers(host: Host) -> None:
    host.lab.call(lambda: Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("0"))
    host.add_network(3, isolated=True)
    host.apply([network(3, icc=False)], port(3, 2, 8080, 80))
    server = host.lab.listen("0.0.0.0", 80, host.containers[3, 2])
    assert host.lab.tcp(server, Lab.UPLINK4, 8080, host.containers[3, 3]) == "10.213.3.1"
    assert host.lab.tcp(server, "10.213.3.2", 80, host.containers[3, 3], BLOCKED) is None


def test_ranges_keep_their_order(host: Host) -> None:
    host.apply(
        [network(1)],
        port(1, 2, (8000, 8002), (8000, 8002)),
        port(1, 2, (9000, 9002), (80, 82)),
        port(1, 3, (5000, 5002), (50, 52), "udp"),
    )
    for offset in range(3):
        same = host.lab.listen("0.0.0.0", 8000 + offset, host.containers[1, 2])
        shifted = host.lab.listen("0.0.0.0", 80 + offset, host.containers[1, 2])
        assert host.lab.tcp(same, Lab.UPLINK4, 8000 + offset, host.outside) == Lab.OUTSIDE4
        assert host.lab.tcp(shifted, Lab.UPLINK4, 9000 + offset, host.outside) == Lab.OUTSIDE4
        shifted6 = host.lab.listen("fd00:213:1::2", 80 + offset, host.containers[1, 2])
        assert host.lab.tcp(shifted6, Lab.UPLINK6, 9000 + offset, host.outside) == Lab.OUTSIDE6
        datagrams = host.lab.listen(
            "0.0.0.0", 50 + offset, host.containers[1, 3], socket.SOCK_DGRAM
        )
        assert host.lab.udp(datagrams, Lab.UPLINK4, 5000 + offset, host.outside) == Lab.OUTSIDE4


def test_a_container_cannot_reach_the_hosts_own_loopback(host: Host) -> None:
    """Redirecting 127.0.0.1 opens that way in the kernel; the rules must close it."""
    secret = host.lab.listen("127.0.0.1", 9999)
    host.apply([network(1)], port(1, 2, 8080, 80))
    container = host.containers[1, 3]
    host.lab.tool(*"ip addr del 127.0.0.1/8 dev lo".split(), namespace=container)
    host.lab.tool(
        *"ip route add 127.0.0.1/32 via 10.213.1.1 src 10.213.1.3".split(), namespace=container
    )
    for name in ("all", "eth0"):
        file = Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet")
        host.lab.call(lambda file=file: file.write_text("1"), container)  # type: ignore[misc]
    assert host.lab.tcp(secret, "127.0.0.1", 9999, container, BLOCKED) is None
    # Without the rules it would have come in: the test is not blind.
    host.lab.tool(*"nft flush chain inet kleene_aaaaaa loopback".split())
    assert host.lab.tcp(secret, "127.0.0.1", 9999, container) == "10.213.1.3"
    # A daemon that did not set the rules itself takes them away as safely.
    host.lab.run(NftablesFirewall("aaaaaa").clear())
    assert host.lab.tcp(secret, "127.0.0.1", 9999, container, BLOCKED) is None


def test_what_the_host_routes_for_others_is_left_alone(host: Host) -> None:
    """The host as a router: a published port is no trap for what only passes through."""
    other = host.lab.run(host.links.create_namespace("other"))
    host.lab.tool(*"ip link add up1 type veth peer name eth0 netns".split(), str(other))
    host.lab.tool(*"ip addr add 198.19.0.1/24 dev up1".split())
    host.lab.tool(*"ip link set up1 up".split())
    for line in (
        "ip addr add 198.19.0.2/24 dev eth0",
        "ip link set eth0 up",
        "ip route add default via 198.19.0.1",
    ):
        host.lab.tool(*line.split(), namespace=other)
    host.lab.tool(*"ip route add default via 198.18.0.1".split(), namespace=host.outside)
    host.apply([network(1)], port(1, 2, 8080, 80))
    server = host.lab.listen("0.0.0.0", 8080, other)
    assert host.lab.tcp(server, "198.19.0.2", 8080, host.outside) == Lab.OUTSIDE4


def test_a_users_own_bridge_is_translated_but_not_filtered(host: Host) -> None:
    host.apply(
        [NetworkRules("klt1", IPv4Network("10.213.1.0/24"), None, "up0", True, False, False)]
    )
    host.lab.tool(*"ip route add 10.213.1.0/24 via 198.18.0.1".split(), namespace=host.outside)
    server = host.lab.listen("0.0.0.0", 80, host.outside)
    assert host.lab.tcp(server, Lab.OUTSIDE4, 80, host.containers[1, 2]) == Lab.UPLINK4
    inner = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(inner, "10.213.1.2", 80, host.outside) == Lab.OUTSIDE4


def test_ports_on_a_users_own_bridge_are_published_but_for_the_loopback(host: Host) -> None:
    users = NetworkRules("klt1", IPv4Network("10.213.1.0/24"), None, "up0", True, False, False)
    host.apply([users], port(1, 2, 8080, 80))
    inner = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(inner, Lab.UPLINK4, 8080, host.outside) == Lab.OUTSIDE4
    assert host.lab.tcp(inner, Lab.UPLINK4, 8080) is not None
    local = host.lab.listen("127.0.0.1", 8080)
    assert host.lab.tcp(local, "127.0.0.1", 8080) == "127.0.0.1"


def test_nft_takes_the_golden_scripts(host: Host) -> None:
    files = sorted((Path(__file__).parents[1] / "golden/nft").glob("*.nft"))
    assert files
    for file in files:
        host.lab.tool("nft", "--check", "-f", str(file))


def test_a_replaced_ruleset_leaves_nothing_of_the_old(host: Host) -> None:
    host.apply([network(1), network(2)], port(1, 2, 8080, 80))
    host.apply([network(1)], port(1, 2, 8081, 80))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    assert host.lab.tcp(server, Lab.UPLINK4, 8080, host.outside, BLOCKED) is None
    assert host.lab.tcp(server, Lab.UPLINK4, 8081, host.outside) == Lab.OUTSIDE4
    assert "klt2" not in host.rules()


def test_established_connections_survive_a_new_ruleset(host: Host) -> None:
    host.apply([network(1)], port(1, 2, 8080, 80))
    server = host.lab.listen("0.0.0.0", 80, host.containers[1, 2])
    client = host.lab.new_socket(socket.AF_INET, socket.SOCK_STREAM, host.outside)
    client.connect((Lab.UPLINK4, 8080))
    connection, _ = server.accept()
    host.apply([network(1), network(2)], port(1, 2, 8080, 80), port(2, 2, 8081, 80))
    with connection:
        connection.sendall(b"still here")
        assert client.recv(16) == b"still here"


@pytest.mark.parametrize("address", [Lab.UPLINK4, Lab.UPLINK6])
def test_a_sender_of_datagrams_follows_the_published_port(host: Host, address: str) -> None:
    """One socket that never pauses: before publication, to one container, to another."""
    any_address, family = ("::", socket.AF_INET6) if ":" in address else ("0.0.0.0", socket.AF_INET)
    sender = host.lab.new_socket(family, socket.SOCK_DGRAM, host.outside)
    servers = {
        n: host.lab.listen(any_address, 53, host.containers[1, n], socket.SOCK_DGRAM)
        for n in (2, 3)
    }
    host.apply([network(1)])
    sender.sendto(b"too early", (address, 5353))
    for number in (2, 3, 2):
        host.apply([network(1)], port(1, number, 5353, 53, "udp"))
        sender.sendto(b"%d" % number, (address, 5353))
        assert servers[number].recv(16) == b"%d" % number
    host.apply([network(1)])
    sender.sendto(b"too late", (address, 5353))
    servers[2].settimeout(BLOCKED)
    with pytest.raises(TimeoutError):
        servers[2].recv(16)


def test_datagrams_that_go_elsewhere_are_left_alone(host: Host) -> None:
    """A container's own question to port 53 of somebody else, while that port is published."""
    server = host.lab.listen("0.0.0.0", 53, host.outside, socket.SOCK_DGRAM)
    client = host.lab.new_socket(socket.AF_INET, socket.SOCK_DGRAM, host.containers[1, 3])
    host.apply([network(1)])
    client.sendto(b"question", (Lab.OUTSIDE4, 53))
    _, peer = server.recvfrom(16)
    host.apply([network(1)], port(1, 2, 53, 53, "udp"))
    server.sendto(b"answer", peer)
    assert client.recv(16) == b"answer"


def test_a_broken_ruleset_leaves_the_old_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.apply([network(1)], port(1, 2, 8080, 80))
    before = host.rules()
    with pytest.raises(InvalidInput):
        host.apply([network(1)], port(1, 2, (8080, 8081), 80))
    # What renders well, but the kernel does not take.
    monkeypatch.setattr(ruleset, "_loopback", lambda _own: ["jump nowhere"])
    with pytest.raises(CommandFailed, match="nft"):
        host.apply([network(2)])
    assert host.rules() == before


def test_the_users_own_rules_stay(host: Host) -> None:
    host.lab.tool(*"nft add table inet mine".split())
    host.lab.tool(*"nft add chain inet mine input".split())
    host.lab.tool(*"nft add table inet kleene_bbbbbb".split())
    host.apply([network(1)])
    host.lab.run(host.firewall.clear())
    assert "table inet mine" in host.rules() and "kleene_bbbbbb" in host.rules()
    assert "kleene_aaaaaa" not in host.rules()
    host.lab.run(host.firewall.clear())


def test_an_empty_ruleset_leaves_no_table(host: Host) -> None:
    host.apply([network(1)])
    host.apply([])
    assert host.rules() == ""


def test_the_probe_changes_nothing(host: Host) -> None:
    host.lab.run(host.firewall.probe())
    assert host.rules() == ""


def test_a_missing_nft_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATH", "/nonexistent")
    with pytest.raises(HostUnavailable, match="'nft' is not installed") as caught:
        host.lab.run(host.firewall.probe())
    assert caught.value.hint == "install it: apt-get install nftables"
