"""Places in a text, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.dockerfile.excerpt import LINE_WIDTH, excerpt, nearest, quoted, visible
from kleene.dockerfile.source import DockerfileError, DockerfileWarning, Position, Source, picture


def test_positions_count_from_one() -> None:
    source = Source("Dockerfile", "ab\r\n\ncd")
    assert [source.position(offset) for offset in (0, 2, 4, 5, 7)] == [
        Position(1, 1),
        Position(1, 3),
        Position(2, 1),
        Position(3, 1),
        Position(3, 3),
    ]
    assert [source.line(number) for number in range(1, source.line_count + 1)] == ["ab", "", "cd"]


def test_rendering() -> None:
    source = Source("web.Dockerfile", "FROM a\n" * 9 + "RUN --mount=x y\n")
    start = source.text.index("--mount")
    error = DockerfileError(source, source.range(start, start + 9), "no such flag", "leave it out")
    assert error.message == "web.Dockerfile:10:5: no such flag"
    assert error.details is not None
    assert error.details.splitlines() == [
        "   |",
        "10 | RUN --mount=x y",
        "   |     ^^^^^^^^^",
    ]
    assert error.hint == "leave it out"


def test_a_range_over_several_lines_is_underlined_to_the_end_of_the_first() -> None:
    source = Source("Dockerfile", "RUN a \\\n  b\n")
    place = source.range(4, 11)
    assert picture(source, place).splitlines()[-1] == "  |     ^^^"
    warning = DockerfileWarning(source, place, "odd")
    assert str(warning) == "Dockerfile:1:5: odd"


@pytest.mark.parametrize(
    ("line", "start", "end", "shown", "carets"),
    [
        ("a b", 2, 3, "a b", "  ^"),
        ("a", 1, 1, "a", " ^"),
        ("", 0, 0, "", "^"),
        ("\ta", 1, 2, "    a", "    ^"),
        ("日本 x", 3, 4, "日本 x", "     ^"),
        ("e\u0301x", 2, 3, "e\u0301x", " ^"),
        ("\x1b[1mx", 4, 5, "\ufffd[1mx", "    ^"),
    ],
)
def test_excerpt(line: str, start: int, end: int, shown: str, carets: str) -> None:
    assert excerpt(line, start, end) == (shown, carets)


def test_long_lines_are_cut_around_the_place() -> None:
    shown, carets = excerpt("x" * 5000 + "HERE" + "y" * 5000, 5000, 5004)
    assert shown.startswith("…x") and shown.endswith("y…")
    assert len(shown) == LINE_WIDTH + 2
    assert shown[carets.index("^") : len(carets)] == "HERE"


@given(st.text(), st.integers(0, 300), st.integers(0, 300))
def test_what_is_shown_cannot_steer_a_terminal(line: str, start: int, length: int) -> None:
    start = min(start, len(line))
    shown, carets = excerpt(line, start, min(start + length, len(line)))
    assert all(ord(character) >= 32 and ord(character) != 127 for character in shown)
    assert carets.strip(" ^") == "" and carets.endswith("^")


def test_quoting_shortens() -> None:
    assert quoted("a\nb") == "'a\ufffdb'"
    assert len(quoted("x" * 1_000_000)) < 70
    assert visible("\u202eabc") == "\ufffdabc"


def test_nearest() -> None:
    assert nearest("CPOY", ["COPY", "CMD"]) == "COPY"
    assert nearest("WIBBLE", ["COPY", "CMD"]) is None
    assert nearest("x" * 1_000_000, ["COPY"]) is None


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"FROM a\nRUN \xff\n", Position(2, 5), "byte 0xff is not valid UTF-8"),
        (b"\xef\xbb\xbfRUN \xc3", Position(1, 5), "byte 0xc3 is not valid UTF-8"),
        (b"FROM a\n\n\x00", Position(3, 1), "NUL byte in a Dockerfile"),
        (b"\xed\xa0\x80", Position(1, 1), "byte 0xed is not valid UTF-8"),
    ],
)
def test_bytes_that_are_no_text(data: bytes, place: Position, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        Source.from_bytes("Dockerfile", data)
    assert (caught.value.range.start, caught.value.reason) == (place, reason)


def test_half_a_character_over_the_wire() -> None:
    with pytest.raises(DockerfileError, match="half a character"):
        Source.from_text("Dockerfile", "RUN \ud800")
