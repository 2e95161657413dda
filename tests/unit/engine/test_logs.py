"""What is made of the records of a log, and what ``--since`` may be."""

from __future__ import annotations

import pytest

from kleene.engine.logs import render
from kleene.engine.times import parse_since
from kleene.errors import InvalidInput
from kleene.runtime.driver import LogRecord, Output

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", 0),
        ("90s", NOW - 90 * SECOND),
        ("1d2h3m4s", NOW - 93784 * SECOND),
        ("1.5h250ms", NOW - 5400 * SECOND - SECOND // 4),
        ("1764000000", NOW),
        ("1764000000.000000007", NOW + 7),
        ("2025-11-24T16:00:00", NOW),
        ("2025-11-24T16:00:00Z", NOW),
        ("2025-11-24T18:00:00.5+02:00", NOW + SECOND // 2),
        ("2025-11-24", NOW - 16 * 3600 * SECOND),
    ],
)
def test_since(text: str, wanted: int) -> None:
    assert parse_since(text, NOW) == wanted


@pytest.mark.parametrize("text", ["yesterday", "5", "1w", "-1h", "2025-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time"):
        parse_since(text, NOW)


def test_records_of_one_stream_are_put_together() -> None:
    records = [
        LogRecord("stdout", b"a\n", NOW, True),
        LogRecord("stdout", b"b", NOW, True),
        LogRecord("stderr", b"e\n", NOW, True),
        LogRecord("stdout", b"c\n", NOW, False),
    ]
    plain = [Output("stdout", b"a\nb"), Output("stderr", b"e\n"), Output("stdout", b"c\n")]
    assert list(render(records, timestamps=False)) == plain


def test_times_stand_before_lines_and_nowhere_else() -> None:
    records = [
        LogRecord("stdout", b"a", NOW + 7, True),
        LogRecord("stdout", b"b\n", NOW + 8, False),
    ]
    (output,) = render(records, timestamps=True)
    assert output.data == b"2025-11-24T16:00:00.000000007Z ab\n"
