"""Subnets and addresses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.errors import Conflict, InvalidInput
from kleene.network import ipam

NET = IPv4Network("10.213.1.0/29")


@pytest.mark.parametrize(
    ("parse", "text", "said", "hint"),
    [
        (ipam.parse_subnet4, "10.1.2.3/24", "has bits set after its prefix", "write 10.1.2.0/24"),
        (ipam.parse_subnet6, "fd00::5/64", "has bits set after its prefix", "write fd00::/64"),
        (ipam.parse_subnet4, "10.1.2.0", "has no prefix length", "write it as 10.13.37.0/24"),
        (ipam.parse_subnet6, "fd00::", "has no prefix length", "write it as"),
        (ipam.parse_subnet4, "10.1.2.0/33", "is not valid", "write it as"),
        (ipam.parse_subnet4, "10.1.2.0/255.255.255.0", "is not valid", "write it as"),
        (ipam.parse_subnet4, "10.1.2.0/٢٤", "is not valid", "write it as"),
        (ipam.parse_subnet4, "10.1.2/24", "is not valid", "write it as"),
        (ipam.parse_subnet6, "fd00::%eth0/64", "is not valid", "write it as"),
        (ipam.parse_subnet4, "web/24", "is not valid", "write it as"),
        (ipam.parse_subnet4, "", "has no prefix length", "write it as"),
        (ipam.parse_subnet4, "fd00::/64", "is not IPv4", "write --subnet6 fd00::/64"),
        (ipam.parse_subnet6, "10.1.2.0/24", "is not IPv6", "write --subnet 10.1.2.0/24"),
        (ipam.parse_subnet4, "10.1.2.0/31", "has no room", "at most 30"),
        (ipam.parse_subnet6, "fd00::/127", "has no room", "at most 126"),
        (ipam.parse_subnet4, "224.0.0.0/24", "multicast", "for example 10.0.0.0/24"),
        (ipam.parse_subnet4, "127.1.0.0/16", "loopback", "for example 10.0.0.0/16"),
        (ipam.parse_subnet6, "fe80::/64", "link-local", "for example fd6b:"),
        (ipam.parse_subnet4, "0.0.0.0/0", "unspecified", "for example 10.0.0.0/8"),
        (ipam.parse_subnet4, "126.0.0.0/7", "loopback", "for example 10.0.0.0/8"),
        (ipam.parse_subnet6, "::/0", "unspecified", "for example fd6b:"),
        (ipam.parse_subnet6, "::ffff:10.0.0.0/112", "IPv4-mapped", "for example fd6b:"),
    ],
)
def test_a_subnet_that_cannot_be_used_says_what_to_write(
    parse: Callable[[str], ipam.Subnet], text: str, said: str, hint: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse(text)
    assert hint in (caught.value.hint or "")


def test_good_subnets_are_read() -> None:
    assert ipam.parse_subnet4("10.13.37.0/24") == IPv4Network("10.13.37.0/24")
    assert ipam.parse_subnet4("10.0.0.0/30").num_addresses == 4
    assert str(ipam.parse_subnet6("FD00:0013::/64")) == "fd00:13::/64"


@given(st.text(alphabet="0123456789abcdef.:/%- \x00٣", max_size=24))
def test_no_text_is_a_surprise(text: str) -> None:
    for parse in (ipam.parse_subnet4, ipam.parse_subnet6):
        with contextlib.suppress(InvalidInput):
            assert str(parse(text)) == str(ip_network(text))


def test_an_overlap_names_the_other_and_a_free_one() -> None:
    taken = [
        ("the host", ip_network("192.168.1.0/24")),
        ("network 'web'", ip_network("10.0.0.0/16")),
        ("network 'six'", ip_network("fd00::/16")),
    ]
    with pytest.raises(
        Conflict, match=r"'10\.0\.3\.0/24' overlaps 10\.0\.0\.0/16 of network 'web'"
    ) as caught:
        ipam.check_overlap(ip_network("10.0.3.0/24"), taken)
    assert caught.value.hint == "use another subnet, for example 10.1.0.0/24"
    with pytest.raises(Conflict, match="network 'six'"):
        ipam.check_overlap(ip_network("fd00:1::/64"), taken)
    ipam.check_overlap(ip_network("10.1.0.0/24"), taken)
    ipam.check_overlap(ip_network("fd6b::/64"), taken)


def test_free_subnets_end() -> None:
    everything = [*ipam.POOLS4]
    assert ipam.free_subnet(NET, everything) is None
    with pytest.raises(Conflict) as caught:
        ipam.check_overlap(NET, [(str(pool), pool) for pool in everything])
    assert caught.value.hint == "use another subnet"
    assert str(ipam.free_subnet(NET, everything[:1])) == "172.16.0.0/29"
    assert ipam.free_subnet(ip_network("0.0.0.0/4"), []) is None


subnets = st.builds(
    lambda base, length: ip_network((base, length), strict=False),
    st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("10.0.255.255"))),
    st.integers(14, 30),
)


@given(st.lists(subnets, max_size=12), st.integers(9, 30))
def test_a_free_subnet_is_free_and_the_lowest(taken: list[ipam.Subnet], length: int) -> None:
    like = IPv4Network((0, length))
    free = ipam.free_subnet(like, taken)
    assert free is not None and free.prefixlen == length
    assert not any(ipam.overlaps(free, other) for other in taken)
    size = free.num_addresses
    lowest = int(IPv4Address("10.0.0.0"))
    for start in range(lowest, min(int(free.network_address), lowest + 64 * size), size):
        assert any(ipam.overlaps(IPv4Network((start, length)), other) for other in taken)


def test_addresses_are_given_from_the_lowest_until_the_subnet_is_full() -> None:
    gateway = ipam.first_address(NET)
    assert str(gateway) == "10.213.1.1"
    taken: set[ipam.Address] = set()
    for _ in range(5):
        taken.add(ipam.next_address(NET, gateway, taken))
    assert sorted(str(a) for a in taken) == [f"10.213.1.{n}" for n in range(2, 7)]
    with pytest.raises(Conflict, match=r"'10\.213\.1\.0/29' is full: all its 6 addresses"):
        ipam.next_address(NET, gateway, taken)
    taken.remove(ip_address("10.213.1.4"))
    assert str(ipam.next_address(NET, gateway, taken)) == "10.213.1.4"
    assert str(ipam.next_address(NET, None, set())) == "10.213.1.1"
    elsewhere = ip_address("10.213.1.6")
    assert str(ipam.next_address(NET, elsewhere, {ip_address("10.213.1.1")})) == "10.213.1.2"


def test_ipv6_has_no_broadcast_address() -> None:
    net = ip_network("fd00::/126")
    taken = {ip_address("fd00::2")}
    assert str(ipam.next_address(net, ipam.first_address(net), taken)) == "fd00::3"
    assert ipam.check_address("fd00::3", net, None, ()) == IPv6Address("fd00::3")


def test_large_subnets_cost_no_more_than_small_ones() -> None:
    start = time.perf_counter()
    for text in ("10.0.0.0/8", "fd00::/64"):
        net = ip_network(text)
        taken = {net.network_address + n for n in range(1, 1000)}
        assert ipam.next_address(net, None, taken) == net.network_address + 1000
        ipam.check_overlap(net, [("x", ip_network("192.168.0.0/16"))])
    assert ipam.free_subnet(IPv4Network("10.0.0.0/30"), [ip_network("10.0.0.0/9")]) is not None
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("web", InvalidInput, "is not an IP address"),
        ("10.213.2.2", InvalidInput, "is not in subnet"),
        ("fd00::2", InvalidInput, "is not in subnet"),
        ("10.213.1.0", InvalidInput, "is the address of subnet"),
        ("10.213.1.7", InvalidInput, "is the broadcast address"),
        ("10.213.1.1", Conflict, "is the gateway"),
        ("10.213.1.3", Conflict, "is used by another container"),
    ],
)
def test_an_address_that_cannot_be_had(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ipam.check_address(text, NET, ip_address("10.213.1.1"), [ip_address("10.213.1.3")])


def test_addresses_and_gateways_are_read() -> None:
    assert str(ipam.check_address("10.213.1.6", NET, ip_address("10.213.1.1"), ())) == "10.213.1.6"
    assert str(ipam.parse_gateway("10.213.1.6", NET)) == "10.213.1.6"
    with pytest.raises(InvalidInput, match=r"gateway '10\.213\.2\.1' is not in subnet") as caught:
        ipam.parse_gateway("10.213.2.1", NET)
    assert caught.value.hint == "use one from 10.213.1.1 to 10.213.1.6"
