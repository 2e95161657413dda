"""What every LinkDriver promises, with packets that pass or do not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.network.driver import Attachment, Bridge
from kleene.network.links_linux import LinuxLinks
from tests.support.netlab import BLOCKED, Lab, a_lab, nftables_available
from tests.support.required import require

pytestmark = pytest.mark.slow

BRIDGE = Bridge("klt0", [ip_interface("10.213.1.1/24"), ip_interface("fd00:213:1::1/64")])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    require("nftables", nftables_available(), "needs root and the package nftables")
    with a_lab(tmp_path) as lab:
        yield lab


@pytest.fixture
def links(lab: Lab, tmp_path: Path) -> Iterator[LinuxLinks]:
    links = LinuxLinks(tmp_path / "run", "aaaaaa")
    yield links
    for name in lab.run(links.namespaces()):
        lab.run(links.delete_namespace(name))


def attach(lab: Lab, links: LinuxLinks, number: int, *, isolated: bool = False) -> Path:
    """A namespace ``n<number>`` with the addresses that end in it."""
    file = lab.run(links.create_namespace(f"n{number}"))
    addresses = [ip_interface(f"10.213.1.{number}/24"), ip_interface(f"fd00:213:1::{number}/64")]
    gateways = [str(address.ip) for address in BRIDGE.addresses]
    attachment = Attachment(BRIDGE.name, f"klv{number}", "eth0", addresses, gateways, isolated)
    lab.run(links.attach(f"n{number}", attachment))
    return file


def until_gone(lab: Lab, links: LinuxLinks, name: str) -> None:
    """The kernel clears a namespace away after its file is gone."""

    deadline = time.monotonic() + 10
    while name in lab.run(links.links()):
        assert time.monotonic() < deadline, f"'{name}' is still there"
        time.sleep(0.01)


def test_a_container_and_the_host_reach_each_other(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    container = attach(lab, links, 2)
    inner = lab.listen("0.0.0.0", 80, container)
    host = lab.listen("0.0.0.0", 81)
    assert lab.tcp(inner, "10.213.1.2", 80) == "10.213.1.1"
    assert lab.tcp(host, "10.213.1.1", 81, container) == "10.213.1.2"
    assert lab.tcp(inner, "127.0.0.1", 80, container) == "127.0.0.1"


def test_the_first_packet_passes_at_once_also_by_ipv6(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    one = attach(lab, links, 2)
    server = lab.listen("::", 80, one)
    other = attach(lab, links, 3)
    # A lost first packet would be repeated after a second, a check for double addresses takes as long.
    start = time.monotonic()
    assert lab.tcp(server, "fd00:213:1::2", 80, other, patience=0.9) == "fd00:213:1::3"
    assert lab.tcp(server, "fd00:213:1::2", 80, patience=0.9) == "fd00:213:1::1"
    assert time.monotonic() - start < 0.9


def test_isolated_ports_reach_the_host_but_not_each_other(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    one, two = (attach(lab, links, n, isolated=True) for n in (2, 3))
    open_one = attach(lab, links, 4)
    server = lab.listen("0.0.0.0", 80, one)
    assert lab.tcp(server, "10.213.1.2", 80, two, patience=BLOCKED) is None
    assert lab.tcp(server, "10.213.1.2", 80) == "10.213.1.1"
    assert lab.tcp(server, "10.213.1.2", 80, open_one) == "10.213.1.4"


def test_a_container_has_its_addresses_and_routes_only(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    container = attach(lab, links, 2)
    interfaces = lab.tool("ip", "-br", "addr", namespace=container)
    assert {line.split()[0].split("@")[0] for line in interfaces.splitlines()} == {"lo", "eth0"}
    assert "10.213.1.2/24" in interfaces and "fd00:213:1::2/64" in interfaces
    routes = lab.tool("ip", "route", namespace=container)
    assert "default via 10.213.1.1 dev eth0" in routes
    assert "default via fd00:213:1::1 dev eth0" in lab.tool(
        "ip", "-6", "route", namespace=container
    )


def test_a_second_network_leaves_the_default_route(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    lab.run(links.create_bridge(Bridge("klt1", [ip_interface("10.213.2.1/24")])))
    container = attach(lab, links, 2)
    second = Attachment("klt1", "klw2", "eth1", [ip_interface("10.213.2.2/24")], ["10.213.2.1"])
    lab.run(links.attach("n2", second))
    server = lab.listen("0.0.0.0", 80, container)
    assert lab.tcp(server, "10.213.2.2", 80) == "10.213.2.1"
    assert (
        lab.tool("ip", "route", "show", "default", namespace=container).split()[2] == "10.213.1.1"
    )
    lab.run(links.detach("klw2"))
    assert "eth1" not in lab.tool("ip", "link", namespace=container)
    lab.run(links.detach("klw2"))


def test_a_bridge_is_made_once_and_given_just_its_addresses(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    container = attach(lab, links, 2)
    lab.run(links.create_bridge(Bridge("klt0", [ip_interface("10.213.1.9/24")])))
    shown = lab.tool("ip", "addr", "show", "dev", "klt0")
    assert "10.213.1.9/24" in shown
    assert "10.213.1.1/24" not in shown and "fd00:213:1::1/64" not in shown
    server = lab.listen("0.0.0.0", 80, container)
    assert lab.tcp(server, "10.213.1.2", 80) == "10.213.1.9"


def test_the_hardware_address_of_a_bridge_does_not_change_with_its_ports(
    lab: Lab, links: LinuxLinks
) -> None:
    def address() -> str:
        return lab.tool("ip", "-br", "link", "show", "dev", "klt0").split()[2]

    lab.run(links.create_bridge(BRIDGE))
    before = address()
    for number in range(2, 8):
        attach(lab, links, number)
    assert address() == before


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_a_foreign_interface_is_left_alone(lab: Lab, links: LinuxLinks, kind: str) -> None:
    lab.tool("ip", "link", "add", "klt0", "type", kind)
    with pytest.raises(Conflict, match="'klt0' exists already"):
        lab.run(links.create_bridge(BRIDGE))
    if kind == "bridge":
        with pytest.raises(Conflict):
            lab.run(links.delete_link("klt0"))
    assert "klt0" in lab.run(links.links())


def test_the_bridge_of_another_daemon_is_foreign(
    lab: Lab, links: LinuxLinks, tmp_path: Path
) -> None:
    lab.run(LinuxLinks(tmp_path / "other", "bbbbbb").create_bridge(BRIDGE))
    with pytest.raises(Conflict):
        lab.run(links.create_bridge(BRIDGE))


def test_a_bridge_can_be_removed_twice(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    lab.run(links.delete_link("klt0"))
    assert "klt0" not in lab.run(links.links())
    lab.run(links.delete_link("klt0"))


def test_a_users_own_bridge_carries_containers_and_nothing_else_does(
    lab: Lab, links: LinuxLinks
) -> None:
    lab.tool("ip", "link", "add", "br0", "type", "bridge")
    lab.tool("ip", "addr", "add", "10.213.3.1/24", "dev", "br0")
    lab.tool("ip", "link", "set", "br0", "up")
    lab.tool("ip", "link", "add", "d0", "type", "veth")
    lab.run(links.check_bridge("br0"))
    with pytest.raises(InvalidInput, match="'d0' is not a bridge"):
        lab.run(links.check_bridge("d0"))
    with pytest.raises(NotFound, match="'d1' does not exist"):
        lab.run(links.check_bridge("d1"))
    container = lab.run(links.create_namespace("n1"))
    inner = [ip_interface("10.213.3.2/24")]
    with pytest.raises(InvalidInput):
        lab.run(links.attach("n1", Attachment("d0", "klv1", "eth0", inner, [])))
    lab.run(links.attach("n1", Attachment("br0", "klv1", "eth0", inner, ["10.213.3.1"])))
    server = lab.listen("0.0.0.0", 80, container)
    assert lab.tcp(server, "10.213.3.2", 80) == "10.213.3.1"


def test_a_namespace_takes_its_interfaces_with_it(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    attach(lab, links, 2)
    assert lab.run(links.namespaces()) == ["n2"]
    lab.run(links.delete_namespace("n2"))
    assert lab.run(links.namespaces()) == []
    until_gone(lab, links, "klv2")
    lab.run(links.delete_namespace("n2"))


def test_a_container_can_come_again_at_once(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    for _ in range(5):
        container = attach(lab, links, 2)
    server = lab.listen("0.0.0.0", 80, container)
    assert lab.tcp(server, "10.213.1.2", 80) == "10.213.1.1"


def test_what_a_crash_left_of_a_namespace_is_replaced(
    lab: Lab, links: LinuxLinks, tmp_path: Path
) -> None:
    (tmp_path / "run/netns").mkdir(parents=True)
    (tmp_path / "run/netns/n2").touch()
    assert lab.run(links.namespaces()) == ["n2"]
    lab.run(links.create_bridge(BRIDGE))
    attach(lab, links, 2)


def test_a_failed_attach_leaves_nothing(lab: Lab, links: LinuxLinks) -> None:
    lab.run(links.create_bridge(BRIDGE))
    lab.run(links.create_namespace("n2"))
    with pytest.raises(NotFound, match="'nowhere'"):
        lab.run(links.attach("n2", Attachment("nowhere", "klv2", "eth0", [], [])))
    with pytest.raises(NotFound, match="'n3'"):
        lab.run(links.attach("n3", Attachment("klt0", "klv2", "eth0", [], [])))
    # A gateway that is not in the subnet is found out last.
    late = Attachment("klt0", "klv2", "eth0", [ip_interface("10.213.1.2/24")], ["192.0.2.1"])
    with pytest.raises(HostUnavailable, match="gateway"):
        lab.run(links.attach("n2", late))
    assert "klv2" not in lab.run(links.links())


@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a/b", "a b", "eth*", 'x"y', ".."])
def test_names_that_are_none_are_refused(lab: Lab, links: LinuxLinks, name: str) -> None:
    with pytest.raises(InvalidInput):
        lab.run(links.create_bridge(Bridge(name, [])))
    with pytest.raises(InvalidInput):
        lab.run(links.attach("n2", Attachment("klt0", name, "eth0", [], [])))
    if "/" in name or name in ("", ".."):
        with pytest.raises(InvalidInput):
            lab.run(links.create_namespace(name))


def test_the_hosts_routes_are_known(lab: Lab, links: LinuxLinks) -> None:
    assert lab.run(links.default_interface()) is None
    lab.connect_outside()
    lab.tool(*"ip route add 10.214.0.0/16 via 198.18.0.2".split())
    lab.tool(*"ip route add 0.0.0.0/1 via 198.18.0.2".split())
    lab.tool(*"ip route add default via 198.18.0.2 dev up0 metric 50".split())
    assert lab.run(links.default_interface()) == "up0"
    subnets = lab.run(links.host_subnets())
    expected = {IPv4Network(n) for n in ("198.18.0.0/24", "10.214.0.0/16", "127.0.0.0/8")}
    assert expected | {IPv6Network("fd99::/64")} <= set(subnets)
    assert all(subnet.prefixlen > 1 for subnet in subnets)
    assert len(subnets) == len(set(subnets))


def test_the_preferred_of_two_default_routes_counts(lab: Lab, links: LinuxLinks) -> None:
    lab.connect_outside()
    lab.tool(*"ip link add d0 type veth".split())
    lab.tool(*"ip addr add 10.214.1.1/24 dev d0".split())
    lab.tool(*"ip link set d0 up".split())
    lab.tool(*"ip route del default".split())
    lab.tool(*"ip route add default via 198.18.0.2 metric 200".split())
    lab.tool(*"ip route add default via 10.214.1.2 metric 100".split())
    assert lab.run(links.default_interface()) == "d0"


def test_forwarding_keeps_the_hosts_own_ipv6_routes(lab: Lab, links: LinuxLinks) -> None:
    lab.connect_outside()
    lab.run(links.enable_forwarding(ipv6=True))
    root = "/proc/sys/net"
    assert lab.tool("cat", f"{root}/ipv4/ip_forward").strip() == "1"
    assert lab.tool("cat", f"{root}/ipv6/conf/all/forwarding").strip() == "1"
    assert lab.tool("cat", f"{root}/ipv6/conf/up0/accept_ra").strip() == "2"


def test_connecting_a_container_is_quick(lab: Lab, links: LinuxLinks) -> None:
    """The bound is loose, for machines that are busy; what it takes is measured by the bench."""
    lab.run(links.create_bridge(BRIDGE))
    seconds = []
    for number in range(2, 22):
        start = time.monotonic()
        attach(lab, links, number)
        seconds.append(time.monotonic() - start)
    print(f"namespace and attachment: {statistics.median(seconds) * 1000:.1f} ms")
    assert statistics.median(seconds) < 0.1
