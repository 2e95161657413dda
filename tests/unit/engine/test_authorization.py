"""Who logs in at which server with what."""

from __future__ import annotations

import pytest

from kleene.engine.authorization import for_file, for_repositories
from kleene.errors import InvalidInput


def test_a_file_has_the_secret_of_its_host() -> None:
    secrets = {
        "HTTP_AUTH_TOKEN_a.example": b"one\n",
        "HTTP_AUTH_HEADER_b.example": b"Basic dTpw",
        "HTTP_AUTH_TOKEN_b.example": b"two",
        "HTTP_AUTH_TOKEN_c.example:8080": b"three",
    }
    assert for_file("https://a.example/x", secrets) == "Bearer one"
    assert for_file("https://u:p@a.example:444/x", secrets) == "Bearer one"
    assert for_file("https://b.example/x", secrets) == "Basic dTpw"
    assert for_file("http://c.example:8080/", secrets) == "Bearer three"
    assert for_file("http://c.example/", secrets) == ""
    assert for_file("https://x.a.example/x", secrets) == ""


def test_repositories_have_secrets_for_a_host_and_for_all() -> None:
    found = for_repositories(
        {"GIT_AUTH_TOKEN": b"t", "GIT_AUTH_HEADER.h.example": b"Bearer x", "OTHER": b"o"}
    )
    assert found == {"": "Basic eC1hY2Nlc3MtdG9rZW46dA==", "h.example": "Bearer x"}
    assert for_repositories({"GIT_AUTH_TOKENS": b"t", "GIT_AUTH_TOKEN.": b"t"}) == {}


@pytest.mark.parametrize("data", [b"a\r\nX: y", b"a\0b", "\u00e9".encode()])
def test_a_secret_adds_no_header_of_its_own(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot be the value of a header"):
        for_file("https://h/x", {"HTTP_AUTH_TOKEN_h": data})
    with pytest.raises(InvalidInput, match="cannot be the value of a header"):
        for_repositories({"GIT_AUTH_TOKEN": data})
