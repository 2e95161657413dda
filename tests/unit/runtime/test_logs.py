"""Logs as conmon writes them: exact bytes, order of time, the last lines, and what is written meanwhile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.runtime.driver import LogRecord
from kleene.runtime.logfile import LogFile
from kleene.runtime.logs import ContainerLog

CONTAINER = "c" * 12
SECOND = 1_000_000_000
START = 1_764_000_000 * SECOND


def record(moment: int, data: bytes, stream: str = "stdout") -> bytes:
    """A record of the log, ``moment`` nanoseconds after the start (all within a minute)."""
    seconds, rest = divmod(moment, SECOND)
    tag, content = ("F", data[:-1]) if data.endswith(b"\n") else ("P", data)
    # The start is 16:00:00 UTC, in a zone two hours east of it.
    time = f"2025-11-24T18:00:{seconds:02}.{rest:09}+02:00"
    return f"{time} {stream} {tag} ".encode() + content + b"\n"


def write(directory: Path, instance: str, *records: bytes, ended: bool = False) -> Path:
    """Add records to the log of an instance."""
    (directory / instance).mkdir(parents=True, exist_ok=True)
    path = directory / instance / "log"
    with path.open("ab") as file:
        file.writelines(records)
    if ended:
        (directory / instance / CONTAINER).write_text("0")
    return path


def text(records: list[LogRecord]) -> bytes:
    return b"".join(record.data for record in records)


def last(directory: Path, lines: int | None, since: int = 0) -> bytes:
    return text(list(ContainerLog(directory, CONTAINER).history(lines=lines, since=since)))


def test_a_record_in_all_its_parts(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a", record(5, b"x y\n"), record(6, b"e", "stderr"), record(7, b"\n", "stderr")
    )
    assert LogFile(path).read() == [
        LogRecord("stdout", b"x y\n", START + 5, True),
        LogRecord("stderr", b"e", START + 6, True),
        LogRecord("stderr", b"\n", START + 7, False),
    ]


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "a", b"\n", b"x\n", record(1, b"good\n"), b"t stdin F no\n")
    assert text(LogFile(path).read()) == b"good\n"


def test_a_record_that_is_being_written_waits(tmp_path: Path) -> None:
    path = write(tmp_path, "a", record(1, b"one\n"), record(2, b"two\n")[:-3])
    file = LogFile(path)
    assert text(file.read()) == b"one\n"
    assert file.read() == []
    write(tmp_path, "a", record(2, b"two\n")[-3:])
    assert text(file.read()) == b"two\n"


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=60)), max_size=30)
)
def test_all_bytes_come_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    moment = 0
    for stream, data in written:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
            write(directory, "a", record(moment := moment + 1, line, stream))
    path = write(directory, "a")
    records = LogFile(path).read()
    for stream in ("stdout", "stderr"):
        sent = b"".join(data for to, data in written if to == stream)
        assert text([record for record in records if record.stream == stream]) == sent


def test_instances_are_merged_in_the_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, "a", record(1, b"1\n"), record(4, b"4\n"), ended=True)
    write(tmp_path, "b", record(2, b"2\n"), record(3, b"3\n"), record(5, b"5\n"))
    assert last(tmp_path, None) == b"1\n2\n3\n4\n5\n"
    assert last(tmp_path, 3) == b"3\n4\n5\n"
    assert last(tmp_path, None, START + 4) == b"4\n5\n"
    assert last(tmp_path, 1, START + 4) == b"5\n"
    assert last(tmp_path, 0) == b""


def test_the_last_lines_are_whole(tmp_path: Path) -> None:
    write(tmp_path, "a", record(1, b"old\n"), record(2, b"be"), record(3, b"gin"), record(4, b"\n"))
    write(tmp_path, "a", record(5, b"end"))
    assert last(tmp_path, 2) == b"begin\nend"
    assert last(tmp_path, 1) == b"end"
    assert last(tmp_path, 9) == b"old\nbegin\nend"


def test_lines_of_the_same_moment_are_counted_each(tmp_path: Path) -> None:
    write(tmp_path, "a", *(record(1, b"%d\n" % n) for n in range(10)))
    assert last(tmp_path, 3) == b"7\n8\n9\n"


@pytest.mark.parametrize("lines", [1, 999, 20_000])
def test_the_last_lines_of_a_long_log(tmp_path: Path, lines: int) -> None:
    written = [b"%06d %s\n" % (n, b"x" * (n % 90)) for n in range(20_000)]
    write(tmp_path, "a", *(record(n, line) for n, line in enumerate(written)))
    assert last(tmp_path, lines) == b"".join(written[-lines:])


def test_a_container_without_logs(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "nothing", CONTAINER)
    assert list(log.history(lines=10)) == []
    assert log.news() == []


def test_news_are_what_was_written_since(tmp_path: Path) -> None:
    write(tmp_path, "a", record(1, b"1\n"))
    log = ContainerLog(tmp_path, CONTAINER)
    assert text(list(log.history(lines=0))) == b""
    assert log.news() == []
    write(tmp_path, "a", record(4, b"4\n"), ended=True)
    write(tmp_path, "b", record(3, b"3\n"))
    assert text(log.news()) == b"3\n4\n"
    write(tmp_path, "b", record(5, b"5"))
    assert text(log.news()) == b"5"
    log.close()


def test_the_news_of_what_is_removed_meanwhile(tmp_path: Path) -> None:
    path = write(tmp_path, "a", record(1, b"1\n"))
    log = ContainerLog(tmp_path, CONTAINER)
    log.news()
    with path.open("ab") as file:
        path.unlink()
        file.write(record(2, b"2\n"))
    assert text(log.news()) == b"2\n"
    log.close()
