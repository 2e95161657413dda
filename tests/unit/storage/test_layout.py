"""Names that reach the file system and command lines."""

from __future__ import annotations

import pytest

from kleene.errors import InvalidInput
from kleene.storage.driver import Snapshot
from kleene.storage.layout import dataset_parts, pool_full, snapshot_parts


@pytest.mark.parametrize("name", ["image/4a103f27dad8", "volume/db", "a/b", "A.b_c-d/0.-_"])
def test_two_good_parts(name: str) -> None:
    assert "/".join(dataset_parts(name)) == name


OTHERS = """|a|/|a/|/a|a/b/c|a//b|../a|a/..|a/.b|-a/b|a/-b|_a/b|a b/c|a/b@c|a/b\n|a/\0|a/b;c|ä/b"""


@pytest.mark.parametrize("name", [*OTHERS.split("|"), "a/" + "b" * 129])
def test_everything_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not valid"):
        dataset_parts(name)


def test_a_snapshot_has_a_good_name_in_a_good_dataset() -> None:
    assert snapshot_parts(Snapshot("a/b", "c")) == ("a", "b", "c")
    for snapshot in (Snapshot("a/b", ""), Snapshot("a/b", "c:d"), Snapshot("a", "c")):
        with pytest.raises(InvalidInput):
            snapshot_parts(snapshot)


def test_a_full_pool_comes_with_a_remedy() -> None:
    assert "'tank' is full" in pool_full("tank").message
    assert "prune" in (pool_full("tank").hint or "")
