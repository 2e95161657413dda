"""Removing trees: deep ones, and nothing beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.host import removal


def deep(top: Path, levels: int) -> None:
    """Make a directory with others in it, one in another, beyond the longest path."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT, dir_fd=fd))
        os.mkdir(f"e{level % 2}", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)


def test_a_tree_of_any_depth_goes(tmp_path: Path) -> None:
    deep(tmp_path / "top", 3000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    removal.remove(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to("kept")
    removal.remove(tmp_path / "top")
    removal.remove(tmp_path / "link")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_what_is_not_there(tmp_path: Path) -> None:
    removal.discard(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        removal.remove(tmp_path / "none")


def test_a_directory_that_is_moved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then its way up leads elsewhere, where nothing may be removed."""
    inner = tmp_path / "top" / "middle" / "inner"
    inner.mkdir(parents=True)
    other = tmp_path / "other"
    (other / "middle").mkdir(parents=True)
    listed = os.scandir

    def scandir(fd: int) -> object:
        if Path(f"/proc/self/fd/{fd}").readlink().name == "inner":
            inner.rename(other / "inner")
        return listed(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OSError, match="busy"):
        removal.remove(tmp_path / "top")
    assert sorted(path.name for path in other.iterdir()) == ["inner", "middle"]
