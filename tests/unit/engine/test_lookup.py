"""From what was typed to what is meant, and what is said when nothing or too much is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kleene.engine import lookup
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.metadata.containers import ContainerStore
from kleene.metadata.database import Database
from kleene.metadata.images import ImageStore, InstructionRecord, SnapshotRecord
from tests.unit.metadata.test_metadata import CONTAINER, image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(Database.open(tmp_path / "kleene.db"))
    for letter, tag in (("a", "1"), ("b", "2")):
        image_id = letter * 11 + "0"
        record = image(image_id, name="web", tag=tag, snapshot=letter * 12)
        store.images.insert(image(image_id))
        for snapshot in (letter * 12, letter * 6 + "1" * 6):
            store.snapshots.insert(SnapshotRecord(snapshot, image_id, None))
            store.add_instruction(
                InstructionRecord(image_id, len(store.instructions(image_id)), "RUN x", snapshot)
            )
        store.finish(record)
    return store


def test_by_name_id_and_prefix(store: ImageStore) -> None:
    for text in ("web:1", "aaaaaaaaaaa0", "aa"):
        record, snapshot = lookup.image(store, text)
        assert record.tag == "1"
        assert snapshot.id == "a" * 12


def test_a_snapshot_by_prefix(store: ImageStore) -> None:
    _, snapshot = lookup.image(store, "web:2@bbbbbb1")
    assert snapshot.id == "bbbbbb111111"


@pytest.mark.parametrize(
    ("text", "error", "message", "hint"),
    [
        ("db", NotFound, "no such image: 'db:latest'", "klee lsi"),
        ("bwe", NotFound, "no such image: 'bwe:latest'", "did you mean 'web'?"),
        ("web", NotFound, "no such image: 'web:latest'", "1, 2"),
        ("web:1@cc", NotFound, "no such snapshot: '@cc'", "klee image inspect web:1"),
        ("web:1@aa", Conflict, "ambiguous", "aaaaaa111111"),
        ("we b", InvalidInput, "'we b'", "NAME:TAG"),
    ],
)
def test_errors_name_the_remedy(
    store: ImageStore, text: str, error: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        lookup.image(store, text)
    assert message in str(caught.value)
    assert hint in str(getattr(caught.value, "hint", ""))


def test_a_state_does_not_stand_for_its_image(store: ImageStore) -> None:
    assert lookup.whole_image(store, "web:2").name == "web"
    with pytest.raises(InvalidInput, match="'web:2@bbbbbb1' is one state of an image"):
        lookup.whole_image(store, "web:2@bbbbbb1")


def test_later_environment_wins_and_order_stays() -> None:
    merged = lookup.merge_environment(["A=1", "B=2"], ["A=3", "C=x=y"])
    assert merged == ["A=3", "B=2", "C=x=y"]


@pytest.mark.parametrize("line", ["A", "=x", "", "A=\0"])
def test_bad_environment_lines(line: str) -> None:
    with pytest.raises(InvalidInput):
        lookup.environment([line])


def test_a_name_that_is_almost_right() -> None:
    said = lookup.unknown("container", "wbe", ["db", "web", "cache"], "klee lsc -a")
    assert (said.message, said.hint) == ("no such container: 'wbe'", "did you mean 'web'?")
    assert (
        lookup.unknown("volume", "x", ["data"], "klee lsv").hint == "list what there is: klee lsv"
    )


def test_what_is_ambiguous_is_told_with_its_names(tmp_path: Path) -> None:
    containers = ContainerStore(Database.open(tmp_path / "other.db"))
    for number, name in enumerate(("web", "db")):
        containers.containers.insert(replace(CONTAINER, id=f"ab{number:010}", name=name))
    with pytest.raises(Conflict, match="container 'ab' is ambiguous") as caught:
        lookup.container(containers, "ab")
    assert caught.value.hint == "write more of the id: ab0000000000 (web), ab0000000001 (db)"
