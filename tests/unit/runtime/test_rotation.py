"""Logs in several files: read as one, rotated while they are read, bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.runtime import logseries
from kleene.runtime.conmon import Directories
from kleene.runtime.driver import LogBounds
from kleene.runtime.logs import ContainerLog
from kleene.runtime.rotation import Rotation
from tests.unit.runtime.test_logs import CONTAINER, record, text, write


class Keeper:
    """An instance, and what its keeper does."""

    def __init__(self, directory: Path) -> None:
        self.kept = directory / "kept"
        self.instance = Directories(directory / "live", self.kept / "a", CONTAINER)
        self.instance.make()
        os.mkfifo(self.instance.live / "ctl")
        self.control = os.open(self.instance.live / "ctl", os.O_RDWR | os.O_NONBLOCK)
        self.rotation = Rotation()

    def begin_anew(self) -> None:
        """Write to a new file from now on: the name of the one before is taken."""
        new = self.instance.log.with_name("log.tmp")
        new.write_bytes(b"")
        new.replace(self.instance.log)

    def told(self) -> bytes:
        """What it was told since it was asked last."""
        try:
            return os.read(self.control, 100)
        except BlockingIOError:
            return b""

    def write(self, *records: bytes) -> None:
        write(self.kept, "a", *records)

    def rotate(self, bounds: LogBounds) -> bool:
        """As the daemon does; the keeper obeys at once."""
        grown = self.rotation.rotate_all([self.instance], bounds)
        if self.told():
            self.begin_anew()
        return grown

    def files(self) -> list[logseries.Rotated]:
        return logseries.rotated(self.instance.log)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    os.close(keeper.control)


def test_a_log_in_several_files_is_one(keeper: Keeper) -> None:
    log, kept = ContainerLog(keeper.kept, CONTAINER), keeper.kept
    bounds = LogBounds(size=1, files=3)
    for number in range(3):
        keeper.write(record(number, b"line %d\n" % number))
        assert keeper.rotate(bounds)
    keeper.write(record(5, b"part"), record(6, b" end\n"))
    keeper.rotation.rotate_all([keeper.instance], bounds)
    assert len(keeper.files()) == 3, "the oldest is gone"
    rest = b"line 1\nline 2\npart end\n"
    assert text(list(log.history(lines=None))) == rest
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=2))) == b"line 2\npart end\n"
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=9))) == rest
    assert text(list(ContainerLog(kept, CONTAINER).history(lines=1))) == b"part end\n"


def test_a_small_log_and_one_without_bounds_stay(keeper: Keeper) -> None:
    keeper.write(record(1, b"x\n"))
    assert not keeper.rotate(LogBounds(size=1000))
    assert not keeper.rotate(LogBounds(size=0))
    assert len(keeper.files()) == 1


def test_a_keeper_is_told_once_for_a_file(keeper: Keeper) -> None:
    keeper.write(record(1, b"x\n"))
    for _ in range(3):
        keeper.rotation.rotate_all([keeper.instance], LogBounds(size=1))
    assert keeper.told() == b"2 0 0\n"
    keeper.begin_anew()
    keeper.write(record(2, b"y\n"))
    keeper.rotation.rotate_all([keeper.instance], LogBounds(size=1))
    assert keeper.told() == b"2 0 0\n"


def test_without_a_daemon_what_it_had_seen_and_the_newest_are_left(keeper: Keeper) -> None:
    keeper.write(record(1, b"seen\n"))
    keeper.rotate(LogBounds())
    keeper.write(record(2, b"too\n"))
    keeper.begin_anew()
    keeper.write(record(3, b"lost\n"))
    keeper.begin_anew()
    keeper.write(record(4, b"newest\n"))
    assert text(list(ContainerLog(keeper.kept, CONTAINER).history(lines=None))) == (
        b"seen\ntoo\nnewest\n"
    )


def test_what_a_keeper_writes_until_it_opens_its_log_anew_is_kept(keeper: Keeper) -> None:
    keeper.write(record(1, b"one\n"))
    log = ContainerLog(keeper.kept, CONTAINER)
    assert text(list(log.history(lines=None))) == b"one\n"
    assert log.news() == []
    keeper.rotation.rotate_all([keeper.instance], LogBounds(size=1))
    keeper.write(record(2, b"two\n"))
    assert text(log.news()) == b"two\n"
    keeper.write(record(3, b"three\n"))
    keeper.begin_anew()
    write(keeper.kept, "a", record(4, b"four\n"), ended=True)
    assert text(log.news()) == b"three\nfour\n"
    log.close()


def test_a_follower_reads_what_was_removed_meanwhile(keeper: Keeper) -> None:
    keeper.write(record(1, b"one\n"))
    log = ContainerLog(keeper.kept, CONTAINER)
    assert text(log.news()) == b"one\n"
    keeper.write(record(2, b"two\n"))
    for number in range(3, 7):
        keeper.rotate(LogBounds(size=1, files=2))
        keeper.write(record(number, b"%d\n" % number))
    keeper.rotate(LogBounds(size=1000, files=2))
    found = text(log.news())
    assert found == b"two\n5\n6\n", "what was open, and what is left"
    log.close()
    assert text(list(ContainerLog(keeper.kept, CONTAINER).history(lines=None))) == b"5\n6\n"


def test_empty_files_have_places_of_their_own(keeper: Keeper) -> None:
    for _ in range(3):
        keeper.write()
        logseries.secure(keeper.instance.log)
        keeper.begin_anew()
    keeper.write(record(1, b"one\n"))
    assert text(list(ContainerLog(keeper.kept, CONTAINER).history(lines=None))) == b"one\n"
    assert len(keeper.files()) == 4


def test_nothing_is_lost_or_told_twice_while_files_change(keeper: Keeper) -> None:
    """A writer that rotates as fast as it can, and a reader that follows."""
    count = 400
    keeper.write(record(0, b"0\n"))

    def work() -> None:
        for number in range(1, count):
            if number % 7 == 0:
                keeper.rotate(LogBounds(size=1, files=1000))
            keeper.write(record(number, b"%d\n" % number))
        (keeper.kept / "a" / CONTAINER).write_text("0")

    writer = threading.Thread(target=work)
    log = ContainerLog(keeper.kept, CONTAINER)
    found = list(log.history(lines=None))
    writer.start()
    while writer.is_alive():
        found += log.news()
    found += log.news()
    writer.join()
    log.close()
    assert text(found) == b"".join(b"%d\n" % number for number in range(count))
