"""Published ports."""

from __future__ import annotations

import pytest

from kleene.errors import Conflict, InvalidInput
from kleene.network.ports import PublishedRange, check_published, parse_published


def port(host: str, inner: str, *interfaces: str, protocol: str = "tcp") -> PublishedRange:
    return parse_published(interfaces or ("eth0",), host, inner, protocol)


def test_ports_and_ranges_are_read() -> None:
    assert port("8080", "80") == PublishedRange(("eth0",), "tcp", (8080, 8080), (80, 80))
    assert port("8000:8010", "80:*").container == (80, 90)
    assert port("8080", "80:*").container == (80, 80)
    assert port("53", "53", "eth0", "eth1", "eth0", protocol="udp").interfaces == ("eth0", "eth1")
    assert str(port("8000:8010", "80:*")) == "8000-8010/tcp"
    assert str(port("65535", "65535")) == "65535/tcp"


@pytest.mark.parametrize(
    ("host", "inner", "said"),
    [
        ("0", "80", "port '0' is not valid"),
        ("65536", "80", "port '65536' is not valid"),
        ("8080", "", "port '' is not valid"),
        ("http", "80", "port 'http' is not valid"),
        ("-1", "80", "port '-1' is not valid"),
        ("٨٠", "80", "is not valid"),
        ("90:80", "80:*", "ends before it begins"),
        ("80:", "80:*", "port '' is not valid"),
        ("80:90", "80", "is one port, but the host's are 80-90"),
        ("80:90", "80:90", "container port '80:90' is not valid"),
        ("80:90", "65530:*", "do not fit"),
    ],
)
def test_ports_that_cannot_be_published(host: str, inner: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        port(host, inner)
    assert caught.value.hint


def test_other_parts_are_checked() -> None:
    with pytest.raises(InvalidInput, match="protocol 'sctp' is not known"):
        port("80", "80", protocol="sctp")
    with pytest.raises(InvalidInput, match="interface name 'a b' is not valid"):
        port("80", "80", "a b")


def test_a_port_has_one_owner() -> None:
    published = [("api", port("8000:8010", "80:*"))]
    with pytest.raises(
        Conflict, match="port 8005/tcp is already published by container 'api'"
    ) as caught:
        check_published([port("8005", "80")], published)
    assert "klee rmc api" in (caught.value.hint or "")
    with pytest.raises(Conflict, match="published twice"):
        check_published([port("90", "80"), port("80:99", "1000:*")], [])


def test_what_does_not_meet_does_not_collide() -> None:
    published = [("api", port("8000:8010", "80:*"))]
    free = [
        port("8011", "80"),
        port("7999", "80"),
        port("8005", "80", protocol="udp"),
        port("8005", "80", "eth1"),
    ]
    check_published(free, published)
