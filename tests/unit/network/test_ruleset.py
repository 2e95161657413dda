"""The firewall's script: golden files in ``tests/golden/nft``, and what may not reach it.

``KLEENE_GOLDEN=write`` in the environment writes the files anew, for their differences to be read.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from kleene.errors import InvalidInput
from kleene.network.driver import ANY_INTERFACE, NetworkRules, PortRules, Ruleset
from kleene.network.ruleset import bridges_of_local_ports, render, render_removal

GOLDEN = Path(__file__).parents[2] / "golden/nft"

WEB = NetworkRules("kleene0", IPv4Network("10.213.1.0/24"), None, "eth0", True, False)
DUAL = NetworkRules(
    "kleene1", IPv4Network("10.213.2.0/24"), IPv6Network("fd00:213:2::/64"), "eth0", False, False
)
INTERNAL = NetworkRules("kleene2", IPv4Network("10.213.3.0/24"), None, "eth0", True, True)
ROUTED = NetworkRules("kleene3", IPv4Network("10.213.4.0/24"), None, None, True, False)
ANYWHERE = NetworkRules("kleene4", IPv4Network("10.213.5.0/24"), None, ANY_INTERFACE, True, False)
CUSTOM = NetworkRules(
    "br0", IPv4Network("10.213.6.0/24"), None, ANY_INTERFACE, True, False, own=False
)
HTTP = PortRules(["eth0"], "tcp", (8080, 8080), (80, 80), "10.213.1.2", None)
DNS = PortRules(["eth0", "eth1"], "udp", (53, 53), (53, 53), "10.213.2.2", "fd00:213:2::2")
PASSIVE = PortRules(["eth0"], "tcp", (5000, 5010), (5000, 5010), "10.213.1.3", None)
SHIFTED = PortRules([], "tcp", (9000, 9002), (80, 82), "10.213.2.2", "fd00:213:2::2")
NOWHERE = PortRules(["eth0"], "tcp", (7000, 7000), (7000, 7000), None, None)

CASES = {
    "empty": Ruleset(),
    "one-network": Ruleset([WEB]),
    "kinds-of-networks": Ruleset([WEB, DUAL, INTERNAL, ROUTED, ANYWHERE, CUSTOM]),
    "published-ports": Ruleset([WEB, DUAL], [HTTP, DNS, PASSIVE, SHIFTED, NOWHERE]),
    "custom-only": Ruleset([CUSTOM], [HTTP]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_script_is_the_golden_one(case: str) -> None:
    script = render("0a1b2c", CASES[case])
    file = GOLDEN / f"{case}.nft"
    if os.environ.get("KLEENE_GOLDEN") == "write":
        file.write_text(script)
    assert script == file.read_text()


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.nft")} == set(CASES)


def test_a_script_names_no_table_but_its_own() -> None:
    for case in CASES.values():
        tables = [line for line in render("0a1b2c", case).splitlines() if "table" in line]
        assert all("table inet kleene_0a1b2c" in line for line in tables)
    assert render_removal("0a1b2c").count("kleene_0a1b2c") == 2


def test_overlapping_ports_of_one_container_are_one_element() -> None:
    ports = [
        PortRules([], "tcp", (first, last), (first, last), "10.213.1.2", None)
        for first, last in ((80, 90), (85, 95), (80, 80), (96, 96), (200, 201))
    ]
    script = render("0a1b2c", Ruleset([WEB], ports))
    assert "elements = { 10.213.1.2 . tcp . 80-96, 10.213.1.2 . tcp . 200-201 }" in script


@pytest.mark.parametrize("name", ["", 'a"b', "a b", "eth*", "a\nb", "{", "sixteen-letters-", "a;b"])
def test_names_of_interfaces_cannot_break_out(name: str) -> None:
    network = NetworkRules(name, WEB.subnet, None, "eth0", True, False)
    towards = NetworkRules("kleene0", WEB.subnet, None, name, True, False)
    port = PortRules([name], "tcp", (1, 1), (1, 1), "10.213.1.2", None)
    for ruleset in (Ruleset([network]), Ruleset([towards]), Ruleset([WEB], [port])):
        with pytest.raises(InvalidInput):
            render("0a1b2c", ruleset)


@pytest.mark.parametrize(
    "port",
    [
        PortRules([], "tcp", (1, 1), (1, 1), "10.213.1.2; drop", None),
        PortRules([], "tcp", (1, 1), (1, 1), "fd00::1", None),
        PortRules([], "tcp", (1, 1), (1, 1), None, "10.213.1.2"),
        PortRules([], "sctp", (1, 1), (1, 1), "10.213.1.2", None),  # type: ignore[arg-type]
        PortRules([], "tcp", (0, 1), (1, 2), "10.213.1.2", None),
        PortRules([], "tcp", (65535, 65536), (1, 2), "10.213.1.2", None),
        PortRules([], "tcp", (2, 1), (2, 1), "10.213.1.2", None),
        PortRules([], "tcp", (1, 2), (1, 1), "10.213.1.2", None),
        PortRules([], "tcp", (1, 1), (1, 2), "10.213.1.2", None),
    ],
)
def test_ports_that_make_no_sense_are_refused(port: PortRules) -> None:
    with pytest.raises(InvalidInput):
        render("0a1b2c", Ruleset([WEB], [port]))


@pytest.mark.parametrize("instance", ["", "a b", "x;y", "ABC", "a" * 33])
def test_an_instance_that_names_no_table_is_refused(instance: str) -> None:
    with pytest.raises(InvalidInput):
        render(instance, Ruleset())


def test_only_bridges_with_published_ports_take_the_hosts_loopback() -> None:
    assert bridges_of_local_ports(Ruleset([WEB, DUAL, CUSTOM], [HTTP])) == (
        ["kleene0"],
        ["kleene1"],
    )
    assert bridges_of_local_ports(Ruleset([WEB])) == ([], ["kleene0"])
