"""Logs in several files: read as one, rotated while they are read, bounded."""

from __future__ import annotations

import threading
from pathlib import Path

from kleene.runtime import logseries
from kleene.runtime.conmon import Directories
from kleene.runtime.logs import ContainerLog
from kleene.runtime.rotation import LogBounds, rotate
from tests.unit.runtime.test_logs import CONTAINER, record, text, write


def instance(directory: Path) -> Directories:
    return Directories(directory / "live", directory / "kept" / "a", CONTAINER)


def reopen(directory: Path) -> None:
    """What a keeper does when it is told to open its log anew."""
    (directory / "kept" / "a" / "log").touch()


def test_a_log_in_several_files_is_one(tmp_path: Path) -> None:
    log, kept = ContainerLog(tmp_path / "kept", CONTAINER), tmp_path / "kept"
    bounds = LogBounds(size=1, files=3)
    written = b""
    for number in range(3):
        line = b"line %d\n" % number
        write(kept, "a", record(number, line))
        written += line
        rotate(instance(tmp_path), bounds)
        assert not (kept / "a" / "log").exists()
        reopen(tmp_path)
    write(kept, "a", record(5, b"part"), record(6, b" end\n"))
    assert len(logseries.rotated(kept / "a" / "log")) == 2, "the oldest is gone"
    rest = b"line 1\nline 2\npart end\n"
    assert text(list(log.history(lines=None))) == rest
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=2))) == b"line 2\npart end\n"
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=9))) == rest
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=1))) == b"part end\n"


def test_a_small_log_and_one_without_bounds_stay(tmp_path: Path) -> None:
    log = write(tmp_path / "kept", "a", record(1, b"x\n"))
    rotate(instance(tmp_path), LogBounds(size=1000))
    rotate(instance(tmp_path), LogBounds(size=0))
    assert log.exists()


def test_what_a_keeper_writes_until_it_opens_its_log_anew_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    path = write(kept, "a", record(1, b"one\n"))
    log = ContainerLog(kept, CONTAINER)
    with path.open("ab") as keeper:
        assert text(list(log.history(lines=None))) == b"one\n"
        assert log.news() == []
        rotate(instance(tmp_path), LogBounds(size=1))
        keeper.write(record(2, b"two\n"))
        keeper.flush()
        assert text(log.news()) == b"two\n"
        keeper.write(record(3, b"three\n"))
    write(kept, "a", record(4, b"four\n"), ended=True)
    assert text(log.news()) == b"three\nfour\n"
    log.close()


def test_a_follower_reads_what_was_removed_meanwhile(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    write(kept, "a", record(1, b"one\n"))
    log = ContainerLog(kept, CONTAINER)
    assert text(log.news()) == b"one\n"
    write(kept, "a", record(2, b"two\n"))
    for number in range(3, 7):
        rotate(instance(tmp_path), LogBounds(size=1, files=2))
        write(kept, "a", record(number, b"%d\n" % number))
    found = text(log.news())
    assert found == b"two\n5\n6\n", "what was open, and what is left"
    log.close()
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=None))) == b"5\n6\n"


def test_nothing_is_lost_or_told_twice_while_files_change(tmp_path: Path) -> None:
    """A writer that rotates as fast as it can, and a reader that follows."""
    kept, count = tmp_path / "kept", 400
    write(kept, "a", record(0, b"0\n"))

    def work() -> None:
        for number in range(1, count):
            if number % 7 == 0:
                rotate(instance(tmp_path), LogBounds(size=1, files=1000))
            write(kept, "a", record(number, b"%d\n" % number))
        (kept / "a" / CONTAINER).write_text("0")

    writer = threading.Thread(target=work)
    log = ContainerLog(kept, CONTAINER)
    found = list(log.history(lines=None))
    writer.start()
    while writer.is_alive():
        found += log.news()
    found += log.news()
    writer.join()
    log.close()
    assert text(found) == b"".join(b"%d\n" % number for number in range(count))
