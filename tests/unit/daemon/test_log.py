"""The log: its places, its forms, and what SIGHUP changes of it."""

from __future__ import annotations

import array
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kleene.daemon import log
from kleene.daemon.addresses import parse_address
from kleene.daemon.config import Config, Listener
from kleene.daemon.reload import Reloader, waiting
from kleene.errors import HostUnavailable, InvalidInput

CONFIG = Config()


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """The root logger is as it was, after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "journal"))
        bound.settimeout(10)
        monkeypatch.setattr(log.JournalHandler.__init__, "__defaults__", (tmp_path / "journal",))
        yield bound


def fields(data: bytes) -> dict[str, str]:
    """An entry, read as the journal reads it."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_journal_gets_fields(journal: socket.socket) -> None:
    log.set_up(replace(CONFIG, log="journald"))
    logging.getLogger("kleene.x").warning("it %s\nfailed=badly", "has")
    entry = fields(journal.recv(65536))
    assert entry["MESSAGE"] == "it has\nfailed=badly"
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("4", "kleened")
    assert (entry["LOGGER"], entry["CODE_FILE"]) == ("kleene.x", __file__)


@pytest.mark.skipif(sys.platform != "linux", reason="memory files with seals are Linux's")
def test_journal_gets_what_no_datagram_holds(journal: socket.socket) -> None:
    log.set_up(replace(CONFIG, log="journald"))
    text = "x" * 5_000_000
    logging.getLogger("kleene.x").error(text)
    _, ancillary, _, _ = journal.recvmsg(16, 1024)
    descriptors = array.array("i", ancillary[0][2])
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        assert fields(file.read())["MESSAGE"] == text


def test_journal_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="there is no journal at"):
        log.JournalHandler(tmp_path / "none")


def test_file_has_lines_for_programs_and_follows_its_rotation(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kleened.log"
    log.set_up(replace(CONFIG, log="file", log_file=file, log_format="json"))
    logger = logging.getLogger("kleene.x")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("it failed: %s", "é")
    entry = json.loads(file.read_text())
    assert (entry["level"], entry["logger"]) == ("error", "kleene.x")
    assert entry["message"] == "it failed: é"
    assert entry["time"].endswith("+00:00")
    assert "ValueError: why" in entry["exception"]

    file.rename(tmp_path / "rotated")
    logger.warning("again")
    assert json.loads(file.read_text())["message"] == "again"


def test_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="cannot be written to"):
        log.set_up(replace(CONFIG, log="file", log_file=tmp_path))


def test_service_manager_that_reads_standard_error_gets_priorities(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log.set_up(CONFIG)
    logging.getLogger("kleene.x").error("one\ntwo")
    logging.getLogger("kleene.x").log(log.NOTICE, "three")
    assert capsys.readouterr().err == "<3>kleene.x: one\n<3>two\n<5>kleene.x: three\n"


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    for level, wanted in (("debug", 7), ("info", 6), ("notice", 5), ("warning", 4), ("error", 3)):
        log.set_up(replace(CONFIG, log_level=level))  # type: ignore[arg-type]
        assert log.priority(logging.getLogger().level) == wanted
    log.set_up(replace(CONFIG, enable_logging=False))
    logging.getLogger("kleene.x").warning("not told")
    assert capsys.readouterr().err == ""


def test_reloading_takes_over_the_log_and_tells_what_waits(tmp_path: Path) -> None:
    file = tmp_path / "log"
    new = replace(
        CONFIG,
        log="file",
        log_file=file,
        log_level="debug",
        kleene_root=Path("/srv"),
        storage="zfs",
    )
    Reloader(CONFIG, lambda: new, {}).reload()
    assert logging.getLogger().level == logging.DEBUG
    told = file.read_text()
    assert "'kleene_root' has changed: that takes effect at the next start" in told
    assert "'storage' has changed" in told
    assert "the configuration was read again" in told


def test_reloading_mistakes_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Config:
        raise InvalidInput("c:1: unknown key 'a'", details="c:2: storage: wrong")

    before = logging.getLogger().level
    Reloader(CONFIG, load, {}).reload()
    assert logging.getLogger().level == before
    assert "stays as it was: c:1: unknown key 'a'\nc:2: storage: wrong" in caplog.text


def test_sockets_stay_until_the_next_start() -> None:
    one = Listener(parse_address("https://127.0.0.1:1"), tlscert=Path("/a"))
    renewed = replace(one, tlscert=Path("/b"))
    asked = replace(one, tlsverify=True)
    config = replace(CONFIG, api_listening_sockets=(one,))
    assert waiting(config, replace(config, api_listening_sockets=(renewed,))) == []
    for other in ((asked,), (one, one)):
        changed = replace(config, api_listening_sockets=other)
        assert waiting(config, changed) == ["api_listening_sockets"]


def test_text_of_users_cannot_pass_for_a_record(tmp_path: Path) -> None:
    log.set_up(replace(CONFIG, log="file", log_file=tmp_path / "log"))
    logging.getLogger("kleene.x").warning("no '%s'", "a\n2026-01-01 ERROR kleene: b\x0bc")
    first, *more = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("WARNING kleene.x: no 'a'".removesuffix("'"))
    assert more == ["    2026-01-01 ERROR kleene: b", "    c'"]
