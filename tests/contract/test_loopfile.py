"""The embedded pool: made, mounted again after every kind of end, and taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable
from kleene.storage import loopfile
from kleene.storage.loopfile import LoopFile
from tests.contract.conftest import MIB, eventually, run
from tests.support.required import require

pytestmark = pytest.mark.slow


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[LoopFile]:
    """Not yet attached; a space in its path."""
    try:
        asyncio.run(loopfile.probe())
    except HostUnavailable as error:
        require("btrfs", False, error.message)
    pool = LoopFile(tmp_path / "my data" / "pool.img", tmp_path / "my pool", 256 * MIB)
    yield pool
    asyncio.run(pool.remove())


def loops(pool: LoopFile) -> list[str]:
    return run("losetup", "--noheadings", "--output", "NAME", "--associated", pool.file).split()


async def test_attaching_twice_is_attaching_once(pool: LoopFile) -> None:
    await pool.attach()
    (pool.directory / "f").write_text("kept")
    await pool.attach()
    assert (pool.directory / "f").read_text() == "kept"
    assert len(loops(pool)) == 1
    assert "btrfs" in run("findmnt", "-n", "-o", "FSTYPE", pool.directory)
    assert "noatime" in run("findmnt", "-n", "-o", "OPTIONS", pool.directory)


async def test_the_file_is_sparse_and_private(pool: LoopFile) -> None:
    await pool.attach()
    found = pool.file.stat()
    assert found.st_size == 256 * MIB
    assert found.st_blocks * 512 < 64 * MIB
    assert found.st_mode & 0o077 == 0


async def test_attaching_after_the_mount_went(pool: LoopFile) -> None:
    await pool.attach()
    (pool.directory / "f").write_text("kept")
    await pool.detach()
    eventually(lambda: loops(pool) == [])
    await pool.detach()
    await pool.attach()
    assert (pool.directory / "f").read_text() == "kept"


async def test_a_loop_device_that_was_left_is_used(pool: LoopFile) -> None:
    await pool.attach()
    await pool.detach()
    eventually(lambda: loops(pool) == [])
    left = run("losetup", "--find", "--show", pool.file).strip()
    await pool.attach()
    assert loops(pool) == [left]
    await pool.detach()
    eventually(lambda: loops(pool) == [])


async def test_a_file_that_was_left_half_made_is_replaced(pool: LoopFile) -> None:
    pool.file.parent.mkdir(parents=True)
    half = pool.file.with_name("pool.img.new")
    half.write_bytes(b"half")
    await pool.attach()
    assert not half.exists()


async def test_a_broken_file_is_told_and_kept(pool: LoopFile) -> None:
    pool.file.parent.mkdir(parents=True)
    pool.file.write_bytes(b"\0" * 200 * MIB)
    with pytest.raises(HostUnavailable, match="cannot be mounted") as caught:
        await pool.attach()
    assert "btrfs check" in (caught.value.hint or "")
    assert pool.file.stat().st_size == 200 * MIB
    eventually(lambda: loops(pool) == [])


async def test_something_else_on_the_directory_is_a_conflict(pool: LoopFile) -> None:
    pool.directory.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", pool.directory)
    try:
        with pytest.raises(Conflict, match="mounted on it"):
            await pool.attach()
        assert not pool.file.exists()
    finally:
        run("umount", pool.directory)


async def test_a_pool_in_use_is_not_detached(pool: LoopFile) -> None:
    await pool.attach()
    with (pool.directory / "f").open("w"), pytest.raises(Conflict, match="in use"):
        await pool.detach()
    await pool.detach()


async def test_a_host_without_space_gets_no_pool(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", small)
    try:
        with pytest.raises(HostUnavailable, match="too little space"):
            await LoopFile(small / "pool.img", small / "pool").attach()
        assert list(small.iterdir()) == []
    finally:
        run("umount", small)


async def test_a_pool_is_no_larger_than_its_host_can_hold(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", small)
    pool = LoopFile(small / "pool.img", small / "pool")
    try:
        await pool.attach()
        assert 250 * MIB < pool.file.stat().st_size <= 320 * MIB
    finally:
        await pool.remove()
        eventually(lambda: loops(pool) == [])
        run("umount", small)


async def test_removing_takes_everything(pool: LoopFile) -> None:
    await pool.attach()
    (pool.directory / "f").write_text("gone")
    await pool.remove()
    assert not pool.file.exists()
    assert list(pool.directory.iterdir()) == []
