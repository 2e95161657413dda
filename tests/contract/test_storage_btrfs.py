"""What only the btrfs backend can get wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.storage import btrfs_ioctl
from kleene.storage.btrfs import BtrfsDriver
from kleene.storage.btrfs_pool import lies_on_btrfs
from kleene.storage.driver import Snapshot
from tests.contract.conftest import MIB, make_btrfs, run

pytestmark = pytest.mark.slow

FROZEN = Snapshot("image/a", "s")


@pytest.fixture
def root(btrfs_pool: Path, tmp_path: Path) -> Path:
    return btrfs_pool / tmp_path.name


@pytest.fixture
async def driver(root: Path) -> AsyncIterator[BtrfsDriver]:
    opened = await BtrfsDriver.open(root)
    yield opened
    for dataset in await opened.datasets():
        await opened.destroy(dataset)
    await opened.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Another btrfs."""
    pool = make_btrfs(tmp_path, 256 * MIB)
    yield pool.directory
    asyncio.run(pool.remove())


def subvolumes(path: Path) -> list[str]:
    """All subvolumes below a directory, from the tool."""
    listed = run("btrfs", "subvolume", "list", path).splitlines()
    return [line.split(" path ")[1] for line in listed if path.name in line.split(" path ")[1]]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_snapshot_cannot_be_written(driver: BtrfsDriver, root: Path) -> None:
    await driver.create("image/a")
    await driver.snapshot(FROZEN)
    with pytest.raises(OSError) as caught:
        (root / "snapshots" / "image" / "a" / "s" / "f").touch()
    assert caught.value.errno == errno.EROFS


async def test_symbolic_links_in_the_pool_are_not_followed(
    driver: BtrfsDriver, root: Path, tmp_path: Path
) -> None:
    await driver.create("image/a")
    await driver.snapshot(FROZEN)
    (root / "datasets" / "evil").symlink_to(tmp_path)
    (root / "datasets" / "image" / "link").symlink_to(root / "datasets" / "image" / "a")
    (root / "snapshots" / "image" / "link").symlink_to(tmp_path)
    for call in (driver.create("evil/x"), driver.clone(FROZEN, "evil/x")):
        with pytest.raises(InvalidInput):
            await call
    with pytest.raises(NotFound):
        await driver.snapshot(Snapshot("image/link", "s"))
    with pytest.raises(NotFound):
        await driver.clone(Snapshot("image/link", "x"), "image/b")
    assert not await driver.exists("image/link")
    assert names_in(tmp_path) == []
    assert await driver.datasets() == ["image/a"]


async def test_a_plain_directory_is_no_dataset(driver: BtrfsDriver, root: Path) -> None:
    (root / "datasets" / "image" / "plain").mkdir(parents=True)
    assert not await driver.exists("image/plain")
    with pytest.raises(NotFound):
        await driver.snapshot(Snapshot("image/plain", "s"))
    assert await driver.datasets() == []
    with pytest.raises(Conflict):
        await driver.create("image/plain")


async def test_nested_subvolumes_go_with_their_dataset(driver: BtrfsDriver, root: Path) -> None:
    await driver.create("container/c")
    inner = driver.mountpoint("container/c")
    for depth in range(12):
        inner = inner / f"sub{depth}"
        run("btrfs", "subvolume", "create", inner)
        inner = inner / "dir"
        inner.mkdir()
    fd = os.open(driver.mountpoint("container/c"), os.O_RDONLY)
    for number in range(150):  # more than one answer of the kernel holds
        btrfs_ioctl.create_subvolume(fd, f"many{number}")
    os.close(fd)
    await driver.snapshot(Snapshot("container/c", "s"))
    await driver.clone(Snapshot("container/c", "s"), "container/d")
    await driver.destroy("container/c")
    assert subvolumes(root) == [f"{root.name}/datasets/container/d"]
    assert names_in(root / "trash") == []


async def test_what_is_being_sent_goes_when_that_ends(driver: BtrfsDriver, root: Path) -> None:
    await driver.create("image/a")
    (driver.mountpoint("image/a") / "big").write_bytes(os.urandom(4 * MIB))
    await driver.snapshot(FROZEN)
    reading, writing = os.pipe()
    sending = asyncio.create_task(driver.send(FROZEN, writing))
    await asyncio.to_thread(os.read, reading, 1)
    with pytest.raises(Conflict, match="sent"):
        await driver.destroy_snapshot(FROZEN)
    await driver.destroy("image/a")
    await driver.create("image/a")
    assert await driver.snapshots("image/a") == []
    assert len(names_in(root / "trash")) == 1
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    os.close(reading)
    os.close(writing)
    again = await BtrfsDriver.open(root)
    assert names_in(root / "trash") == []
    await again.close()


async def test_opening_removes_what_was_left_half_made(driver: BtrfsDriver, root: Path) -> None:
    left = root / "trash" / "0123456789abcdef"
    left.mkdir()
    run("btrfs", "subvolume", "create", left / "incoming")
    run("btrfs", "subvolume", "create", left / "incoming" / "nested")
    run("btrfs", "subvolume", "snapshot", "-r", left / "incoming", left / "frozen")
    again = await BtrfsDriver.open(root)
    assert names_in(root / "trash") == []
    assert subvolumes(root) == []
    await again.close()


async def test_another_file_system_is_copied_by_its_stream(
    driver: BtrfsDriver, elsewhere: Path
) -> None:
    source = elsewhere / "source"
    run("btrfs", "subvolume", "create", source)
    (source / "f").write_text("1")
    run("btrfs", "subvolume", "snapshot", "-r", source, elsewhere / "frozen")
    await driver.copy_foreign(str(source), "image/a")
    await driver.copy_foreign(str(elsewhere / "frozen"), "image/b")
    for name in ("image/a", "image/b"):
        assert names_in(driver.mountpoint(name)) == ["f"]
        (driver.mountpoint(name) / "f").write_text("2")
    assert names_in(source) == ["f"]
    assert len(run("btrfs", "subvolume", "list", elsewhere).splitlines()) == 2
    with pytest.raises(InvalidInput, match="not in the file system"):
        await driver.clone_foreign(str(source), "image/c")
    assert await driver.datasets() == ["image/a", "image/b"]


async def test_a_copy_that_does_not_fit_leaves_nothing(elsewhere: Path, btrfs_pool: Path) -> None:
    source = btrfs_pool / f"source-{os.getpid()}"
    run("btrfs", "subvolume", "create", source)
    (source / "big").write_bytes(os.urandom(300 * MIB))
    driver = await BtrfsDriver.open(elsewhere / "kleene")
    with pytest.raises(HostUnavailable, match="is full"):
        await driver.copy_foreign(str(source), "image/a")
    assert await driver.datasets() == []
    assert names_in(elsewhere / "kleene" / "trash") == []
    assert names_in(source) == ["big"]
    await driver.close()
    run("btrfs", "subvolume", "delete", source)


async def test_a_pool_without_room_for_a_name_gives_datasets_up(elsewhere: Path) -> None:
    """Moving takes space in the trees, which attributes have filled here; removing must not."""
    pool = await BtrfsDriver.open(elsewhere / "full")
    await pool.create("image/a")
    await pool.snapshot(FROZEN)
    await pool.create("image/b")
    with pytest.raises(OSError, match="space") as error:
        fill_trees(pool.mountpoint("image/b"))
    assert error.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="space"):
        (elsewhere / "name").mkdir()
    await pool.destroy("image/a")
    await pool.destroy("image/b")
    assert await pool.datasets() == []
    assert subvolumes(elsewhere / "full") == []
    await pool.create("image/b")
    await pool.destroy("image/b")
    await pool.close()


def fill_trees(directory: Path) -> None:
    """Make attributes, which lie in the trees and not in the data, until there is no room left."""
    for file in range(1 << 16):
        path = directory / str(file)
        path.touch()
        for number in range(64):
            os.setxattr(path, f"user.{number}", os.urandom(3000))


async def test_every_call_is_on_disk_when_it_returns(elsewhere: Path, tmp_path: Path) -> None:
    driver = await BtrfsDriver.open(elsewhere / "kleene")

    def on_disk(name: str) -> bool:
        """Whether a crash right now would leave the name there."""
        crashed = tmp_path / "crashed.img"
        run("cp", "--sparse=always", elsewhere.with_suffix(".img"), crashed)
        dump = run("btrfs", "inspect-internal", "dump-tree", "-t", "5", crashed)
        return f"name: {name}\n" in dump

    await driver.create("image/made")
    assert on_disk("made")
    await driver.snapshot(Snapshot("image/made", "frozen"))
    assert on_disk("frozen")
    await driver.clone(Snapshot("image/made", "frozen"), "container/cloned")
    assert on_disk("cloned")
    await driver.destroy("container/cloned")
    assert not on_disk("cloned")
    await driver.destroy_snapshot(Snapshot("image/made", "frozen"))
    assert not on_disk("frozen")
    await driver.close()


async def test_only_a_btrfs_can_be_opened(tmp_path: Path, btrfs_pool: Path) -> None:
    with pytest.raises(HostUnavailable, match="cannot hold datasets"):
        await BtrfsDriver.open(tmp_path / "root")
    assert not lies_on_btrfs(tmp_path / "root")
    assert lies_on_btrfs(btrfs_pool / "a" / "b")


async def test_the_host_bounds_what_is_free(root: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
    try:
        bounded = await BtrfsDriver.open(root, backing=small)
        assert 0 < await bounded.pool_free() <= MIB
        await bounded.close()
    finally:
        run("umount", small)


def test_the_ioctls_tell_what_the_tool_tells(btrfs_pool: Path, tmp_path: Path) -> None:
    path = btrfs_pool / f"facts-{tmp_path.name}"
    run("btrfs", "subvolume", "create", path)
    fd = os.open(path, os.O_RDONLY)
    try:
        info = btrfs_ioctl.subvolume_info(fd)
        assert f"Subvolume ID: \t\t{info.id}\n" in run("btrfs", "subvolume", "show", path)
        assert not info.readonly
        assert abs(info.created - path.stat().st_ctime) < 5
        shown = run("btrfs", "filesystem", "show", "--raw", btrfs_pool)
        assert btrfs_ioctl.filesystem_id(fd).hex() in shown.replace("-", "")
        with pytest.raises(ValueError, match="not the name"):
            btrfs_ioctl.create_subvolume(fd, "a/b")
    finally:
        os.close(fd)
        subprocess.run(["btrfs", "subvolume", "delete", path], check=True, capture_output=True)
