"""The metadata: records survive a reopening, constraints hold, images go when nothing refers to them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from kleene.errors import HostUnavailable
from kleene.metadata.containers import ContainerRecord, ContainerStore, ExecRecord
from kleene.metadata.database import Database
from kleene.metadata.images import ImageRecord, ImageStore, InstructionRecord, SnapshotRecord
from kleene.metadata.migrations import MIGRATIONS
from kleene.metadata.networks import EndpointRecord, NetworkRecord, NetworkStore
from kleene.schemas.containers import MountPointConfig, PublishedPortConfig


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path / "kleene.db")


def image(image_id: str, **changes: object) -> ImageRecord:
    record = ImageRecord(
        image_id, None, None, "making", "2026-01-01", ["sh"], ["A=1"], "", "/", None, ""
    )
    return replace(record, **changes)  # type: ignore[arg-type]


CONTAINER = ContainerRecord(
    id="c" * 12,
    name="web",
    state="ready",
    image_id="a" * 12,
    image_name="web",
    image_tag="latest",
    dataset="container/" + "c" * 12,
    created="2026-01-01",
    running=True,
    cmd=["sh", "-c", "echo 'a b'"],
    env=["A=1", "B=\u00e9"],
    user="www",
    workdir="/srv",
    jail_param=["allow.raw_sockets"],
    network_driver="ipnet",
    persist=False,
    restart_policy="on-startup",
    auto_remove=True,
    mounts=[MountPointConfig("volume", "db", "/data", True)],
    ports=[PublishedPortConfig(["eth0"], "8080", "80")],
    exit_code=None,
)


def test_records_survive_a_reopening(tmp_path: Path) -> None:
    path = tmp_path / "kleene.db"
    first = Database.open(path)
    ContainerStore(first).containers.insert(CONTAINER)
    first.close()
    again = ContainerStore(Database.open(path))
    assert again.ready(running_only=True) == [CONTAINER]
    assert again.by_name("web") == again.by_prefix("ccc")[0] == CONTAINER


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "kleene.db"
    old = sqlite3.connect(path)
    old.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1")
    old.execute(
        "INSERT INTO networks VALUES ('e', 'net', 'bridge', '', '', '', '', '', 1, 0, 'k0')"
    )
    old.commit()
    old.close()
    database = Database.open(path)
    assert database.query("PRAGMA user_version")[0][0] == len(MIGRATIONS)
    store = ContainerStore(database)
    store.containers.insert(CONTAINER)
    record = ExecRecord("e", CONTAINER.id, "created", [], [], "", False, False, "/srv", True)
    store.execs.insert(record)
    assert store.execs.get("e") == record
    network = NetworkStore(database).by_name("net")
    assert network is not None
    assert (network.labels, network.created[:2]) == ({}, "20")


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kleene.db"
    Database.open(path).execute("PRAGMA user_version = 999")
    with pytest.raises(HostUnavailable, match="newer Kleene"):
        Database.open(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kleene.db"
    path.write_bytes(b"not a database, whatever the name says" * 100)
    with pytest.raises(HostUnavailable, match="cannot be opened") as caught:
        Database.open(path)
    assert caught.value.hint


def test_a_failed_transaction_changes_nothing(database: Database) -> None:
    store = ContainerStore(database)
    store.containers.insert(CONTAINER)
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        store.containers.update(CONTAINER.id, exit_code=3)
        store.containers.insert(replace(CONTAINER, id="d" * 12))
    assert store.containers.get(CONTAINER.id) == CONTAINER


def test_a_full_disk_is_told_and_changes_nothing(database: Database) -> None:
    (pages,) = database.query("PRAGMA page_count")[0]
    database.query(f"PRAGMA max_page_count = {pages}")
    large = "x" * 100_000
    insert = "INSERT INTO configs (name, created, labels, data) VALUES (?, '', '', ?)"
    with pytest.raises(HostUnavailable, match="disk with the data directory is full"):
        database.execute(insert, ["one", large])
    with pytest.raises(HostUnavailable, match="is full"), database.transaction():
        database.execute(insert, ["two", "small"])
        database.execute(insert, ["three", large])
    assert database.query("SELECT * FROM configs") == []
    database.query(f"PRAGMA max_page_count = {pages * 2}")
    with database.transaction():
        database.execute(insert, ["four", "small"])
    assert len(database.query("SELECT * FROM configs")) == 1


def test_unhurried_commits_are_there_and_those_after_them_wait_for_the_disk(
    database: Database, tmp_path: Path
) -> None:
    store = ImageStore(database)
    store.images.insert(image("a" * 12))
    store.add_instruction(InstructionRecord("a" * 12, 1, "FROM base", None))
    assert database.query("PRAGMA synchronous")[0][0] == 2  # FULL
    other = ImageStore(Database.open(tmp_path / "kleene.db"))
    assert [step.text for step in other.instructions("a" * 12)] == ["FROM base"]
    with pytest.raises(sqlite3.IntegrityError):
        store.add_instruction(InstructionRecord("a" * 12, 1, "FROM base", None))
    assert database.query("PRAGMA synchronous")[0][0] == 2
    with database.transaction():
        store.add_instruction(InstructionRecord("a" * 12, 2, "RUN true", None))
    assert len(other.instructions("a" * 12)) == 2


def test_execs_go_with_their_container(database: Database) -> None:
    store = ContainerStore(database)
    store.containers.insert(CONTAINER)
    store.execs.insert(ExecRecord("e" * 12, CONTAINER.id, "created", [], [], "", True, False))
    store.containers.delete(CONTAINER.id)
    assert store.execs.where() == []


def test_a_tag_moves_to_the_new_image(database: Database) -> None:
    store = ImageStore(database)
    for letter in "ab":
        store.images.insert(image(letter * 12))
        store.finish(image(letter * 12, name="web", tag="latest", snapshot="5" * 12))
    assert [(r.id[0], r.name) for r in store.ready()] == [("a", None), ("b", "web")]
    found = store.by_nametag("web", "latest")
    assert found is not None and found.id == "b" * 12


def test_the_cache_knows_no_snapshot_of_an_image_in_the_making(database: Database) -> None:
    store = ImageStore(database)
    store.images.insert(image("a" * 12))
    store.snapshots.insert(SnapshotRecord("1" * 12, "a" * 12, "key"))
    assert store.by_key("key") is None
    store.finish(image("a" * 12, snapshot="1" * 12))
    assert store.by_key("key") == SnapshotRecord("1" * 12, "a" * 12, "key")


def test_a_removed_image_stays_while_another_refers_to_its_snapshots(database: Database) -> None:
    store = ImageStore(database)
    store.images.insert(image("a" * 12))
    store.snapshots.insert(SnapshotRecord("1" * 12, "a" * 12, "key"))
    store.add_instruction(InstructionRecord("a" * 12, 1, "RUN true", "1" * 12))
    store.finish(image("a" * 12, snapshot="1" * 12))
    store.images.insert(image("b" * 12))
    store.add_instruction(InstructionRecord("b" * 12, 1, "RUN true", "1" * 12))
    store.finish(image("b" * 12, snapshot="1" * 12))

    store.hide("a" * 12)
    assert [r.id for r in store.ready()] == ["b" * 12]
    assert store.unreferenced() == []
    store.hide("b" * 12)
    assert {r.id for r in store.unreferenced()} == {"a" * 12, "b" * 12}
    for record in store.unreferenced():
        store.images.delete(record.id)
    assert store.snapshots.where() == []


def test_an_address_is_given_once(database: Database) -> None:
    containers, networks = ContainerStore(database), NetworkStore(database)
    containers.containers.insert(CONTAINER)
    containers.containers.insert(replace(CONTAINER, id="d" * 12, name="other"))
    network = NetworkRecord(
        "f" * 12,
        "net",
        "loopback",
        "10.1.0.0/24",
        "",
        "10.1.0.1",
        "",
        "",
        True,
        False,
        "kleene0",
        "2026",
        {},
    )
    networks.networks.insert(network)
    networks.endpoints.insert(EndpointRecord("1" * 12, "c" * 12, network.id, 0, "10.1.0.2", None))
    with pytest.raises(sqlite3.IntegrityError):
        networks.endpoints.insert(
            EndpointRecord("2" * 12, "d" * 12, network.id, 0, "10.1.0.2", None)
        )
    networks.endpoints.insert(EndpointRecord("2" * 12, "d" * 12, network.id, 0, "10.1.0.3", None))
    networks.networks.delete(network.id)
    assert networks.endpoints.where() == []
