"""Tables, ages, and text that must not reach a terminal as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kleene.cli.output import Column, age, duration, print_table, printable, style

COLUMNS = (Column("ID", "cyan"), Column("COMMAND", width=10))
ROWS = [["a1", "sleep 3600000"], ["b234", "\x1b[2Jevil"]]


def test_simple_table(capfd: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, fancy=False)
    assert capfd.readouterr().out == ("ID     COMMAND\na1     sleep 3...\nb234   \\x1b[2J...\n")


def test_fancy_table_has_a_line_and_colours(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_table(COLUMNS, ROWS[:1], fancy=True)  # captured, so click takes the colours away
    assert capfd.readouterr().out == (" ID   COMMAND   \n" + "─" * 17 + "\n a1   sleep 3...\n")
    assert style("x", fg="cyan") == "\x1b[36mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("x", fg="cyan") == "x"


def test_empty_table_has_its_titles(capfd: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [], fancy=False)
    assert capfd.readouterr().out == "ID   COMMAND\n"


def test_control_characters_become_escapes() -> None:
    assert printable("plain æ") == "plain æ"
    assert printable("a\x1b]0;t\x07\n\u202eb") == "a\\x1b]0;t\\x07\\n\\u202eb"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (-5, "less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "1 minute"),
        (7199, "1 hour"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (15 * 86400, "2 weeks"),
        (61 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_age() -> None:
    now = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert age("2024-05-01T11:58:00Z", now) == "2 minutes ago"
    assert age("2024-05-01T11:58:00.123456+00:00", now) == "1 minute ago"
    assert age("2024-05-01T11:58:00", now) == "2 minutes ago"
    assert age((now - timedelta(days=3)).isoformat(), now) == "3 days ago"
    assert age("once upon a time", now) == "once upon a time"
