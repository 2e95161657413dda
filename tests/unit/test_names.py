"""Names, ids and references as users type them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene import names
from kleene.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "name", "tag", "snapshot", "nametag"),
    [
        ("web", "web", None, None, "web:latest"),
        ("web:1.0", "web", "1.0", None, "web:1.0"),
        ("web:1.0@6b3c821605d4", "web", "1.0", "6b3c821605d4", "web:1.0"),
        ("48fa55889b0f@2028", "48fa55889b0f", None, "2028", "48fa55889b0f:latest"),
        ("team/web-app", "team/web-app", None, None, "team/web-app:latest"),
        ("localhost:5000/web", "localhost:5000/web", None, None, "localhost:5000/web:latest"),
        (
            "reg.example.com:5000/a/b:1",
            "reg.example.com:5000/a/b",
            "1",
            None,
            "reg.example.com:5000/a/b:1",
        ),
        ("[::1]:5000/web:1@6b3c", "[::1]:5000/web", "1", "6b3c", "[::1]:5000/web:1"),
        ("localhost:5000", "localhost", "5000", None, "localhost:5000"),
        ("library/web/x", "library/web/x", None, None, "library/web/x:latest"),
    ],
)
def test_reference_parts(
    text: str, name: str, tag: str | None, snapshot: str | None, nametag: str
) -> None:
    reference = names.parse_image_reference(text)
    assert (reference.name, reference.tag, reference.snapshot) == (name, tag, snapshot)
    assert reference.nametag == nametag
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("docker.io/library/web:1", "web:1"),
        ("index.docker.io/library/web", "web"),
        ("docker.io/team/web", "team/web"),
        ("docker.io/web@6b3c", "web@6b3c"),
        ("library/web", "web"),
    ],
)
def test_dockers_own_registry_is_left_out(text: str, short: str) -> None:
    assert names.parse_image_reference(text) == names.parse_image_reference(short)


def test_a_digest_names_no_image_here() -> None:
    for text in ("web@sha256:" + "a" * 64, "h:5000/web:1@sha512:" + "0" * 128):
        with pytest.raises(InvalidInput, match="cannot be found by the digest 'sha") as caught:
            names.parse_image_reference(text)
        assert f"write '{text.partition('@')[0]}' alone" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "web:",
        "web@",
        "web@xyz",
        "-web",
        "web:-1",
        "a b",
        "web:1:2",
        "../x",
        "a//b",
        "h:5000/",
        "h:x/y",
    ],
)
def test_bad_reference_says_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        names.parse_image_reference(text)
    assert f"'{text}'" in caught.value.message
    assert caught.value.hint


def test_a_name_has_an_end() -> None:
    with pytest.raises(InvalidInput, match="too long") as caught:
        names.parse_nametag("x" * 256)
    assert caught.value.hint == "use at most 255 characters"
    names.parse_nametag("x" * 255)


def test_nametag_refuses_a_snapshot() -> None:
    assert names.parse_nametag("web") == ("web", "latest")
    with pytest.raises(InvalidInput, match="names a snapshot"):
        names.parse_nametag("web:1@6b3c")


def test_candidates_prefer_the_whole_id() -> None:
    ids = ["aa0000000000", "aa1111111111", "bb0000000000"]
    assert names.candidates("aa", ids) == ids[:2]
    assert names.candidates("aa0000000000", ids) == ids[:1]
    assert names.candidates("zz", ids) == []


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "a/b", "x" * 200, "", "a\n"])
def test_bad_container_names(name: str) -> None:
    with pytest.raises(InvalidInput):
        names.check_container_name(name)


def test_container_name_may_begin_with_a_slash() -> None:
    assert names.check_container_name("/web_1") == "web_1"


def test_invented_names_are_valid_and_new() -> None:
    taken: set[str] = set()
    for _ in range(300):
        name = names.invent_container_name(taken)
        assert name not in taken
        assert names.check_container_name(name) == name
        taken.add(name)


@given(st.text(max_size=60))
def test_parsing_any_text_raises_only_invalid_input(text: str) -> None:
    try:
        reference = names.parse_image_reference(text)
    except InvalidInput:
        return
    assert text.endswith(str(reference))


@given(st.binary(max_size=20))
def test_any_path_is_told_as_text(path: bytes) -> None:
    text = names.path_text(os.fsdecode(path))
    assert text.encode().decode() == text
    if rb"\x" not in path:
        assert os.fsencode(names.path_of_text(text)) == path
