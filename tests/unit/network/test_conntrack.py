"""Which UDP flows the kernel shall forget."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

import pytest

from kleene.network.conntrack import Flow, is_stale
from kleene.network.driver import NetworkRules, PortRules, Ruleset

LOCAL = frozenset([ip_address("198.18.0.1"), ip_address("fd99::1")])
NETWORK = NetworkRules("kleene0", IPv4Network("10.213.1.0/24"), None, "eth0", True, False)
PORTS = [
    PortRules(["eth0"], "udp", (53, 55), (53, 55), "10.213.1.2", "fd00:213:1::2"),
    PortRules(["eth0"], "tcp", (80, 80), (80, 80), "10.213.1.3", None),
]


def flow(destination: str, port: int, receiver: str) -> Flow:
    redirected = destination != receiver
    return Flow(b"", ip_address(destination), port, ip_address(receiver), redirected)


@pytest.mark.parametrize(
    ("destination", "port", "receiver", "stale"),
    [
        ("198.18.0.1", 54, "10.213.1.2", False),
        ("fd99::1", 54, "fd00:213:1::2", False),
        ("198.18.0.1", 54, "10.213.1.3", True),
        ("198.18.0.1", 54, "10.99.0.3", True),
        ("198.18.0.1", 54, "198.18.0.1", True),
        ("198.18.0.1", 56, "10.213.1.2", True),
        ("198.18.0.1", 80, "10.213.1.3", True),
        ("198.18.0.1", 56, "198.18.0.1", False),
        ("198.18.0.1", 56, "10.99.0.3", False),
        ("192.0.2.53", 53, "192.0.2.53", False),
    ],
)
def test_what_goes_elsewhere_is_stale(
    destination: str, port: int, receiver: str, stale: bool
) -> None:
    assert is_stale(flow(destination, port, receiver), Ruleset([NETWORK], PORTS), LOCAL) is stale


def test_nothing_is_stale_without_networks() -> None:
    assert not is_stale(flow("198.18.0.1", 54, "10.213.1.2"), Ruleset(), LOCAL)
