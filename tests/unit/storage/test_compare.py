"""The comparison of trees, where a file system of its own is not needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.storage.compare import Kinship, changes
from kleene.storage.driver import Change


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories whose files are the same inodes, as in a snapshot and its clone."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    return tmp_path / "old", tmp_path / "new"


def compared(old: Path, new: Path) -> list[Change]:
    return list(changes(old, new, Kinship(0, by_content=False)))


def test_a_tree_equals_itself(trees: tuple[Path, Path]) -> None:
    old, _ = trees
    (old / "d").mkdir()
    (old / "d" / "f").write_text("x")
    (old / "l").symlink_to("d")
    assert compared(old, old) == []


def test_shared_inodes_are_the_same_and_others_are_not(trees: tuple[Path, Path]) -> None:
    old, new = trees
    (old / "same").write_text("x")
    (new / "same").hardlink_to(old / "same")
    for tree in trees:
        (tree / "other").write_text("x")
    assert compared(old, new) == [Change("modified", "other")]


def test_a_directory_is_told_before_what_is_in_it(trees: tuple[Path, Path]) -> None:
    old, new = trees
    (new / "d" / "e").mkdir(parents=True)
    (new / "d" / "e" / "f").write_text("x")
    assert [change.path for change in compared(old, new)] == ["d", "d/e", "d/e/f"]
    assert {change.kind for change in compared(new, old)} == {"removed"}


def test_symbolic_links_are_not_followed(trees: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = trees
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (new / "l").symlink_to(tmp_path / "outside")
    assert compared(old, new) == [Change("added", "l")]


def test_special_files_do_not_block(trees: tuple[Path, Path]) -> None:
    old, new = trees
    os.mkfifo(old / "p")
    (new / "p").hardlink_to(old / "p")
    assert compared(old, new) == []


def test_names_that_are_not_text_survive(trees: tuple[Path, Path]) -> None:
    old, new = trees
    name = os.fsdecode(b"\xff\n")
    (new / name).write_text("x")
    assert compared(old, new) == [Change("added", name)]


def test_paths_longer_than_the_kernel_takes(trees: tuple[Path, Path]) -> None:
    old, new = trees
    depth, part = 60, "d" * 100
    fd = os.open(new, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(part, dir_fd=fd)
        deeper = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    found = compared(old, new)
    assert len(found) == depth
    assert found[-1].path == "/".join([part] * depth)
    assert compared(new, new) == []
