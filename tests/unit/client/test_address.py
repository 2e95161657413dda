"""Addresses of daemons, and paths of requests."""

from __future__ import annotations

import pytest

from kleene.client.address import parse_address, target
from kleene.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "tls", "path", "host", "port"),
    [
        ("http:///var/run/kleened.sock", False, "/var/run/kleened.sock", "localhost", 0),
        ("https:///run/k.sock", True, "/run/k.sock", "localhost", 0),
        ("/run/k.sock", False, "/run/k.sock", "localhost", 0),
        ("http://127.0.0.1", False, None, "127.0.0.1", 80),
        ("https://example.org", True, None, "example.org", 443),
        ("https://example.org:8085/", True, None, "example.org", 8085),
        ("http://[::1]:8080", False, None, "::1", 8080),
        ("http://[::1]", False, None, "::1", 80),
    ],
)
def test_address_is_read(text: str, tls: bool, path: str | None, host: str, port: int) -> None:
    assert parse_address(text) == (text, tls, path, host, port)


@pytest.mark.parametrize(
    "text",
    (
        "x.org ftp://x http:// http://:80 http://a:0 http://a:x http://a/b http://a:70000 http://[::1"
        " http://[::1]8080 http://a?b"
    ).split(),
)
def test_bad_address_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_address(text)
    assert refused.value.hint


def test_segments_and_queries_are_encoded() -> None:
    assert target("images", "lib/web:1@3f2a", "tag", query={"nametag": "a b&c"}) == (
        "/images/lib%2Fweb:1@3f2a/tag?nametag=a%20b%26c"
    )
    assert target("containers", "list", query={"all": True}) == "/containers/list?all=true"
    assert target("volumes", "æ\r\n") == "/volumes/%C3%A6%0D%0A"


def test_what_is_no_text_is_refused_with_what_is_around_it() -> None:
    with pytest.raises(InvalidInput, match=r"'web\\xff' is not text in UTF-8"):
        target("images", "web\udcff", "inspect")
