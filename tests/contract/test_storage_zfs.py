"""What only the ZFS backend can get wrong."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kleene.errors import HostUnavailable, InvalidInput
from kleene.host import process
from kleene.storage.driver import Snapshot
from kleene.storage.zfs import ZfsDriver
from tests.contract.conftest import Store, opened, run

pytestmark = pytest.mark.slow

FROZEN = Snapshot("image/a", "s")


@pytest.fixture
async def store(zfs_pool: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(zfs_pool, tmp_path) as found:
        yield found


async def test_clones_stay_mounted_while_their_source_goes(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    (driver.mountpoint("image/a") / "f").write_text("1")
    await driver.snapshot(FROZEN)
    await driver.snapshot(Snapshot("image/a", "later"))
    for name in ("container/c", "container/d"):
        await driver.clone(FROZEN, name)
    await driver.clone(Snapshot("image/a", "later"), "container/e")
    with (driver.mountpoint("container/c") / "f").open("r+") as held:
        await driver.destroy("image/a")
        held.write("2")
        held.flush()
        assert (driver.mountpoint("container/c") / "f").read_text() == "2"
    for name in ("container/c", "container/d", "container/e"):
        assert driver.mountpoint(name).is_mount()
        assert await driver.snapshots(name) == []
        await driver.snapshot(Snapshot(name, "s"))
    for name in ("container/e", "container/c", "container/d"):
        await driver.destroy(name)
    assert await driver.datasets() == []
    assert store.leftovers() == []


async def test_a_stream_with_properties_is_refused(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    await driver.snapshot(FROZEN)
    (frozen,) = run(
        "zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", driver.host_name("image/a")
    ).split()
    with tempfile.TemporaryFile() as stream:
        (await process.run(["zfs", "send", "-p", frozen], stdout_fd=stream.fileno())).check()
        stream.seek(0)
        with pytest.raises(InvalidInput, match="stream"):
            await driver.receive("image/b", stream.fileno())
    assert await driver.datasets() == ["image/a"]
    assert store.leftovers() == []


async def test_opening_removes_what_was_left_and_mounts_what_is_there(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    (driver.mountpoint("image/a") / "f").write_text("1")
    root = driver.host_name("image/a").removesuffix("/image/a")
    run("zfs", "create", f"{root}/_trash/0123")
    run("zfs", "snapshot", f"{root}/_trash/0123@s")
    run("zfs", "snapshot", "-o", "kleene:gone=yes", f"{root}/image/a@s:0123")
    assert len(store.leftovers()) == 3
    run("zfs", "unmount", f"{root}/image/a")
    again = await store.reopen()
    assert store.leftovers() == []
    assert (again.mountpoint("image/a") / "f").read_text() == "1"


async def test_the_root_itself_is_never_mounted(store: Store) -> None:
    await store.driver.create("image/a")
    mountpoint = store.driver.mountpoint("image/a")
    assert mountpoint.is_mount()
    assert not mountpoint.parent.is_mount()
    assert not mountpoint.parent.parent.is_mount()


@pytest.mark.parametrize("root", ["", "-r", "../x", "a b", "pool/", "/pool/x", "pool/-r"])
async def test_a_root_must_be_a_dataset_name(root: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        await ZfsDriver.open(root, tmp_path)


async def test_a_pool_that_is_not_there(zfs_host: None, tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="nosuchpool"):
        await ZfsDriver.open("nosuchpool/kleene", tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()
