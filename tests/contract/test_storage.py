"""The storage contract, method by method, on real pools of every backend."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.storage.driver import Change, Snapshot, StorageDriver
from tests.contract.conftest import MIB, Store

pytestmark = pytest.mark.slow

HOSTILE = [
    "",
    "..",
    "a",
    "/a",
    "a/",
    "a/b/c",
    "../etc",
    "a/..",
    "-f/x",
    "a/-f",
    "a b/c",
    "a/b@c",
    "a/b\n",
    "_trash/x",
]


async def filled(driver: StorageDriver, dataset: str, **files: str) -> Path:
    """A new dataset with files in it."""
    await driver.create(dataset)
    mountpoint = driver.mountpoint(dataset)
    for name, content in files.items():
        (mountpoint / name).write_text(content)
    return mountpoint


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def differences(
    driver: StorageDriver, older: Snapshot, newer: Snapshot
) -> list[tuple[str, str]]:
    return sorted([(change.path, change.kind) async for change in driver.diff(older, newer)])


async def test_create_makes_an_empty_directory_of_root(store: Store) -> None:
    await store.driver.create("image/a")
    found = store.driver.mountpoint("image/a").stat()
    assert stat.S_IMODE(found.st_mode) == 0o755
    assert (found.st_uid, found.st_gid) == (0, 0)
    assert list(store.driver.mountpoint("image/a").iterdir()) == []
    assert await store.driver.exists("image/a")
    assert not await store.driver.exists("image/b")


async def test_a_taken_name_is_a_conflict_and_keeps_what_it_had(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    mountpoint = await filled(driver, "image/a", f="kept")
    await driver.snapshot(frozen)
    with pytest.raises(Conflict, match="image/a"):
        await driver.create("image/a")
    with pytest.raises(Conflict, match="image/a"):
        await driver.clone(frozen, "image/a")
    with pytest.raises(Conflict, match="image/a@s"):
        await driver.snapshot(frozen)
    assert (mountpoint / "f").read_text() == "kept"


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_dataset_names_are_refused(store: Store, name: str) -> None:
    driver, good = store.driver, Snapshot("image/a", "s")
    await driver.create("image/a")
    await driver.snapshot(good)
    for call in (
        driver.create(name),
        driver.clone(good, name),
        driver.clone(Snapshot(name, "s"), "image/b"),
        driver.snapshot(Snapshot(name, "s")),
        driver.destroy(name),
        driver.exists(name),
        driver.snapshots(name),
        driver.usage(name),
        driver.copy_foreign("/nowhere", name),
    ):
        with pytest.raises((InvalidInput, NotFound)):
            await call
    with pytest.raises(InvalidInput):
        driver.mountpoint(name)
    assert await driver.datasets() == ["image/a"]


@pytest.mark.parametrize("name", ["", "..", "-r", "a b", "a/b", "a@b", "_kleene_x", "a\0b"])
async def test_hostile_snapshot_names_are_refused(store: Store, name: str) -> None:
    await store.driver.create("image/a")
    hostile = Snapshot("image/a", name)
    for call in (
        store.driver.snapshot(hostile),
        store.driver.destroy_snapshot(hostile),
        store.driver.clone(hostile, "image/b"),
    ):
        with pytest.raises(InvalidInput):
            await call
    assert await store.driver.snapshots("image/a") == []


async def test_what_is_missing_is_not_found(store: Store) -> None:
    driver, nothing = store.driver, Snapshot("image/none", "s")
    await driver.create("image/a")
    for call in (
        driver.snapshot(nothing),
        driver.clone(nothing, "image/b"),
        driver.clone(Snapshot("image/a", "none"), "image/b"),
        driver.snapshots("image/none"),
        driver.usage("image/none"),
        driver.send(nothing, 1),
        differences(driver, nothing, nothing),
    ):
        with pytest.raises(NotFound):
            await call
    await driver.destroy("image/none")
    await driver.destroy_snapshot(nothing)
    await driver.destroy_snapshot(Snapshot("image/a", "none"))
    assert await driver.datasets() == ["image/a"]


async def test_a_snapshot_keeps_the_state_and_clones_begin_with_it(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    mountpoint = await filled(driver, "image/a", f="before")
    await driver.snapshot(frozen)
    (mountpoint / "f").write_text("after")
    await driver.clone(frozen, "container/c")
    clone = driver.mountpoint("container/c")
    assert (clone / "f").read_text() == "before"
    (clone / "f").write_text("clone")
    (clone / "more").write_text("x")
    await driver.clone(frozen, "container/d")
    assert [p.name for p in driver.mountpoint("container/d").iterdir()] == ["f"]
    assert (driver.mountpoint("container/d") / "f").read_text() == "before"
    assert (mountpoint / "f").read_text() == "after"


async def test_a_clone_of_a_clone(store: Store) -> None:
    driver = store.driver
    await filled(driver, "image/a", f="1")
    for number, (old, new) in enumerate([("image/a", "image/b"), ("image/b", "image/c")]):
        await driver.snapshot(Snapshot(old, "s"))
        await driver.clone(Snapshot(old, "s"), new)
        (driver.mountpoint(new) / f"g{number}").write_text(new)
    assert sorted(p.name for p in driver.mountpoint("image/c").iterdir()) == ["f", "g0", "g1"]
    await driver.destroy("image/b")
    assert (driver.mountpoint("image/c") / "g0").read_text() == "image/b"
    assert await driver.datasets() == ["image/a", "image/c"]


async def test_listings_are_sorted_and_only_of_kleene(store: Store) -> None:
    driver = store.driver
    store.foreign()
    for name in ("volume/z", "image/b", "image/a"):
        await driver.create(name)
    for name in ("9", "a", "10"):
        await driver.snapshot(Snapshot("image/a", name))
    assert await driver.datasets() == ["image/a", "image/b", "volume/z"]
    assert await driver.snapshots("image/a") == ["10", "9", "a"]
    assert await driver.snapshots("image/b") == []


async def test_destroying_a_source_frees_its_name_while_clones_live(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    for round_ in ("first", "second"):
        await filled(driver, "image/a", f=round_)
        await driver.snapshot(frozen)
        await driver.clone(frozen, f"container/{round_}")
        await driver.destroy("image/a")
        assert not await driver.exists("image/a")
    for round_ in ("first", "second"):
        assert (driver.mountpoint(f"container/{round_}") / "f").read_text() == round_
        await driver.destroy(f"container/{round_}")
    assert await driver.datasets() == []
    assert store.leftovers() == []


async def test_the_space_of_a_destroyed_source_comes_back_with_its_last_clone(store: Store) -> None:
    driver = store.driver
    before = await driver.pool_free()
    mountpoint = await filled(driver, "image/a")
    (mountpoint / "big").write_bytes(os.urandom(64 * MIB))
    await driver.snapshot(Snapshot("image/a", "s"))
    await driver.clone(Snapshot("image/a", "s"), "image/b")
    await driver.snapshot(Snapshot("image/b", "s"))
    await driver.clone(Snapshot("image/b", "s"), "container/c")
    await driver.destroy("image/a")
    await driver.destroy("image/b")
    os.sync()
    assert await driver.pool_free() < before - 50 * MIB
    await driver.destroy("container/c")
    assert store.leftovers() == []
    await _until_free(driver, before - 16 * MIB)


async def _until_free(driver: StorageDriver, least: int) -> None:
    deadline = time.monotonic() + 30
    while await driver.pool_free() < least:
        assert time.monotonic() < deadline, "the space did not come back"
        os.sync()


async def test_a_snapshot_with_clones_goes_at_once(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    mountpoint = await filled(driver, "image/a", f="1")
    await driver.snapshot(frozen)
    await driver.clone(frozen, "container/c")
    await driver.destroy_snapshot(frozen)
    assert await driver.snapshots("image/a") == []
    with pytest.raises(NotFound):
        await driver.clone(frozen, "container/d")
    (mountpoint / "f").write_text("2")
    await driver.snapshot(frozen)
    await driver.clone(frozen, "container/d")
    assert (driver.mountpoint("container/c") / "f").read_text() == "1"
    assert (driver.mountpoint("container/d") / "f").read_text() == "2"
    await driver.destroy("container/c")
    await driver.destroy("container/d")
    await driver.destroy_snapshot(frozen)
    assert store.leftovers() == []


async def test_a_dataset_with_open_files_can_be_destroyed(store: Store) -> None:
    driver = store.driver
    mountpoint = await filled(driver, "container/c", f="x")
    with (mountpoint / "f").open():
        destroying = asyncio.create_task(driver.destroy("container/c"))
        await asyncio.wait([destroying], timeout=1)  # zfs-fuse waits for the file to be closed
    await destroying
    assert not await driver.exists("container/c")
    await driver.create("container/c")
    assert list(mountpoint.iterdir()) == []


async def test_usage_tells_shared_from_own(store: Store) -> None:
    driver = store.driver
    mountpoint = await filled(driver, "image/a")
    (mountpoint / "big").write_bytes(os.urandom(8 * MIB))
    os.sync()
    await driver.snapshot(Snapshot("image/a", "s"))
    await driver.clone(Snapshot("image/a", "s"), "container/c")
    (driver.mountpoint("container/c") / "own").write_bytes(os.urandom(2 * MIB))
    await driver.snapshot(Snapshot("image/a", "t"))
    os.sync()
    usage = await driver.usage("container/c")
    assert 10 * MIB <= usage.referenced < 11 * MIB
    deadline = time.monotonic() + 20  # ZFS counts when it writes
    while (await driver.usage("container/c")).exclusive < 2 * MIB:
        assert time.monotonic() < deadline
        os.sync()
    assert (await driver.usage("container/c")).exclusive < 3 * MIB


async def test_quota(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("volume/v", "s")
    mountpoint = await filled(driver, "volume/v")
    assert driver.capabilities.quota, "the kernel is older than Linux 6.7"
    await driver.set_quota("volume/v", 4 * MIB)
    with pytest.raises(OSError) as error:
        _write_synced(mountpoint / "big", 16)
    assert error.value.errno in (errno.EDQUOT, errno.ENOSPC)
    await driver.set_quota("volume/v", None)
    _write_synced(mountpoint / "big", 16)
    with pytest.raises(Conflict, match="holds more than 1048576 bytes"):
        await driver.set_quota("volume/v", MIB)
    await driver.snapshot(frozen)
    await driver.clone(frozen, "volume/clone")
    clone = driver.mountpoint("volume/clone")
    _write_synced(clone / "more", 8)
    with pytest.raises(Conflict):  # what it has from its source counts
        await driver.set_quota("volume/clone", 20 * MIB)
    await driver.set_quota("volume/clone", 26 * MIB)
    with pytest.raises(OSError):
        _write_synced(clone / "yet more", 8)
    (clone / "yet more").unlink()
    # What goes makes room, also where a snapshot keeps it.
    (clone / "big").unlink()
    os.sync()
    await driver.renew_quota("volume/clone", 26 * MIB)
    _write_synced(clone / "again", 12)
    for dataset in ("volume/none", "volume/v@s"):
        with pytest.raises((NotFound, InvalidInput)):
            await driver.set_quota(dataset, MIB)


def _write_synced(path: Path, mebibytes: int) -> None:
    """Write, and wait for each piece: backends find out about limits when they write back."""
    with path.open("wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(os.urandom(MIB))
            os.fsync(file.fileno())


async def test_reopening_finds_everything_again(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    await filled(driver, "image/a", f="1")
    await driver.snapshot(frozen)
    again = await store.reopen()
    assert await again.datasets() == ["image/a"]
    await again.clone(frozen, "image/b")
    assert (again.mountpoint("image/b") / "f").read_text() == "1"
    assert again.host_name("image/b") == driver.host_name("image/b")
    await again.close()


async def test_a_foreign_dataset_is_copied_or_cloned_as_it_is(store: Store) -> None:
    source, path = store.foreign()
    (path / "f").write_text("1")
    await store.driver.copy_foreign(source, "image/copy")
    await store.driver.clone_foreign(source, "image/clone")
    (path / "f").write_text("2")
    for name in ("image/copy", "image/clone"):
        made = store.driver.mountpoint(name)
        assert (made / "f").read_text() == "1"
        (made / "f").write_text("3")
        assert await store.driver.snapshots(name) == []
    assert (path / "f").read_text() == "2"
    assert [p.name for p in path.iterdir()] == ["f"]
    await store.driver.destroy("image/clone")
    assert store.leftovers() == []


@pytest.mark.parametrize(
    "source", ["/no/such/subvolume", "nosuch/dataset", "", "-r", "../x", "a b"]
)
async def test_a_foreign_source_must_be_one(store: Store, source: str) -> None:
    for call in (
        store.driver.copy_foreign(source, "image/a"),
        store.driver.clone_foreign(source, "image/a"),
    ):
        with pytest.raises((InvalidInput, NotFound)):
            await call
    assert await store.driver.datasets() == []
    assert store.leftovers() == []


async def test_a_foreign_source_does_not_replace_a_dataset(store: Store) -> None:
    source, _ = store.foreign()
    mountpoint = await filled(store.driver, "image/a", f="kept")
    for call in (
        store.driver.copy_foreign(source, "image/a"),
        store.driver.clone_foreign(source, "image/a"),
    ):
        with pytest.raises(Conflict):
            await call
    assert (mountpoint / "f").read_text() == "kept"
    assert store.leftovers() == []


async def test_send_and_receive_keep_the_tree(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    mountpoint = await filled(driver, "image/a", f="content", g="2")
    (mountpoint / "link").symlink_to("../f")
    (mountpoint / "hard").hardlink_to(mountpoint / "f")
    (mountpoint / "f").chmod(0o4750)
    os.chown(mountpoint / "g", 1234, 4321)
    os.mkfifo(mountpoint / "fifo")
    os.mknod(mountpoint / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    await driver.snapshot(frozen)
    with tempfile.TemporaryFile() as stream:
        await driver.send(frozen, stream.fileno())
        stream.seek(0)
        await driver.receive("image/b", stream.fileno())
    made = driver.mountpoint("image/b")
    assert names_in(made) == names_in(mountpoint)
    assert (made / "link").readlink() == Path("../f")
    assert (made / "hard").stat().st_ino == (made / "f").stat().st_ino
    assert stat.S_IMODE((made / "f").stat().st_mode) == 0o4750
    assert ((made / "g").stat().st_uid, (made / "g").stat().st_gid) == (1234, 4321)
    assert (made / "null").stat().st_rdev == os.makedev(1, 3)
    (made / "new").write_text("writable")
    assert await driver.snapshots("image/b") == []
    assert store.leftovers() == []


async def test_send_and_receive_through_a_pipe(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    (await filled(driver, "image/a") / "big").write_bytes(os.urandom(4 * MIB))
    await driver.snapshot(frozen)
    reading, writing = os.pipe()

    async def feed() -> None:
        await driver.send(frozen, writing)
        os.close(writing)

    await asyncio.gather(feed(), driver.receive("image/b", reading))
    os.close(reading)
    big = [(driver.mountpoint(name) / "big").read_bytes() for name in ("image/a", "image/b")]
    assert big[0] == big[1]


async def test_the_change_between_two_snapshots_is_a_smaller_stream(store: Store) -> None:
    driver, first, second = store.driver, Snapshot("image/a", "1"), Snapshot("image/a", "2")
    (await filled(driver, "image/a") / "big").write_bytes(os.urandom(4 * MIB))
    await driver.snapshot(first)
    (driver.mountpoint("image/a") / "small").write_text("x")
    await driver.snapshot(second)
    with tempfile.TemporaryFile() as stream:
        await driver.send(second, stream.fileno(), base=first)
        assert 0 < os.fstat(stream.fileno()).st_size < MIB


@pytest.mark.parametrize(
    "stream", [b"", b"x" * 100, b"btrfs-stream\0" + b"\1\0\0\0" + b"\0" * 4096]
)
async def test_a_broken_stream_leaves_nothing(store: Store, stream: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(stream)
        file.seek(0)
        with pytest.raises(InvalidInput, match="stream"):
            await store.driver.receive("image/a", file.fileno())
    assert await store.driver.datasets() == []
    assert store.leftovers() == []


async def test_a_truncated_stream_leaves_nothing(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    (await filled(driver, "image/a") / "big").write_bytes(os.urandom(4 * MIB))
    await driver.snapshot(frozen)
    with tempfile.TemporaryFile() as file:
        await driver.send(frozen, file.fileno())
        file.truncate(2 * MIB)
        file.seek(0)
        with pytest.raises(InvalidInput):
            await driver.receive("image/b", file.fileno())
    assert await driver.datasets() == ["image/a"]
    assert store.leftovers() == []


async def test_receiving_does_not_replace_a_dataset(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    await filled(driver, "image/a", f="kept")
    await driver.snapshot(frozen)
    with tempfile.TemporaryFile() as file:
        await driver.send(frozen, file.fileno())
        file.seek(0)
        with pytest.raises(Conflict):
            await driver.receive("image/a", file.fileno())
    assert (driver.mountpoint("image/a") / "f").read_text() == "kept"


async def test_diff_tells_every_kind_of_change(store: Store) -> None:
    driver, older, newer = store.driver, Snapshot("image/a", "1"), Snapshot("container/c", "2")
    mountpoint = await filled(
        driver, "image/a", same="s", gone="g", mode="m", text="old", kind="file"
    )
    (mountpoint / "dir").mkdir()
    (mountpoint / "dir" / "inner").write_text("i")
    (mountpoint / "link").symlink_to("one")
    await driver.snapshot(older)
    await driver.clone(older, "container/c")
    clone = driver.mountpoint("container/c")
    (clone / "gone").unlink()
    (clone / "mode").chmod(0o600)
    (clone / "text").write_text("new")
    (clone / "kind").unlink()
    (clone / "kind").mkdir()
    (clone / "kind" / "below").write_text("b")
    (clone / "dir").rename(clone / "moved")
    (clone / "link").unlink()
    (clone / "link").symlink_to("two")
    await driver.snapshot(newer)
    assert await differences(driver, older, newer) == [
        ("dir", "removed"),
        ("dir/inner", "removed"),
        ("gone", "removed"),
        ("kind", "modified"),
        ("kind/below", "added"),
        ("link", "modified"),
        ("mode", "modified"),
        ("moved", "added"),
        ("moved/inner", "added"),
        ("text", "modified"),
    ]
    assert await differences(driver, older, older) == []


async def test_diff_of_a_thousand_paths(store: Store) -> None:
    driver, older, newer = store.driver, Snapshot("image/a", "1"), Snapshot("image/a", "2")
    mountpoint = await filled(driver, "image/a")
    for number in range(400):
        (mountpoint / f"old{number:03}").write_text("x")
    await driver.snapshot(older)
    for number in range(400):
        path = mountpoint / f"old{number:03}"
        path.unlink() if number % 2 else path.write_text("y")
    for number in range(600):
        (mountpoint / f"new{number:03}").write_text("x")
    await driver.snapshot(newer)
    found = [change async for change in driver.diff(older, newer)]
    expected = {Change("added", f"new{n:03}") for n in range(600)}
    expected |= {Change("removed" if n % 2 else "modified", f"old{n:03}") for n in range(400)}
    assert set(found) == expected
    assert len(found) == 1000


async def test_a_diff_that_is_not_read_to_its_end_leaves_nothing(store: Store) -> None:
    driver, older, newer = store.driver, Snapshot("image/a", "1"), Snapshot("image/a", "2")
    await filled(driver, "image/a", a="1")
    await driver.snapshot(older)
    (driver.mountpoint("image/a") / "b").write_text("2")
    await driver.snapshot(newer)
    async with contextlib.aclosing(driver.diff(older, newer)) as changes:  # type: ignore[type-var]
        assert await anext(changes) == Change("added", "b")
    await driver.destroy_snapshot(older)
    assert store.leftovers() == []


async def test_many_clones_at_the_same_time(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    await filled(driver, "image/a", f="1")
    await driver.snapshot(frozen)
    names = [f"container/c{number}" for number in range(12)]
    await asyncio.gather(*(driver.clone(frozen, name) for name in names))
    assert await driver.datasets() == sorted([*names, "image/a"])
    await asyncio.gather(*(driver.destroy(name) for name in names), driver.destroy("image/a"))
    assert await driver.datasets() == []
    assert store.leftovers() == []


async def test_of_two_who_want_a_name_one_gets_it(store: Store) -> None:
    results = await asyncio.gather(
        *(store.driver.create("image/a") for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 3 + ["NoneType"]
    assert await store.driver.exists("image/a")


async def test_a_cancelled_call_leaves_nothing(store: Store) -> None:
    driver, frozen = store.driver, Snapshot("image/a", "s")
    await filled(driver, "image/a", f="1")
    await driver.snapshot(frozen)
    for call in (
        driver.create("image/b"),
        driver.clone(frozen, "image/b"),
        driver.snapshot(Snapshot("image/a", "t")),
    ):
        running = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await driver.datasets() == ["image/a"]
    assert await driver.snapshots("image/a") == ["s"]


async def test_a_full_pool_says_so_and_keeps_what_it_had(small_store: Store) -> None:
    driver, frozen = small_store.driver, Snapshot("image/a", "s")
    mountpoint = await filled(driver, "image/a")
    (mountpoint / "big").write_bytes(os.urandom(24 * MIB))
    await driver.snapshot(frozen)
    with tempfile.TemporaryFile() as stream:
        await driver.send(frozen, stream.fileno())
        with pytest.raises(OSError, match="No space"):
            _write_synced(mountpoint / "filler", 256)
        stream.seek(0)
        with pytest.raises(HostUnavailable, match="is full") as caught:
            await driver.receive("image/b", stream.fileno())
    assert "prune" in (caught.value.hint or "")
    assert await driver.datasets() == ["image/a"]
    assert small_store.leftovers() == []
    await driver.destroy("image/a")
    await _until_free(driver, 64 * MIB)
    await driver.create("image/b")
