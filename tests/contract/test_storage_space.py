"""What storage tells of space, and of what changed: the same for every backend, and true."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from kleene.errors import NotFound
from kleene.host import filedata
from kleene.storage import files_space
from kleene.storage.driver import Change, Files, Part, Snapshot, StorageDriver
from tests.contract.conftest import MIB, Store

pytestmark = pytest.mark.slow

ONE, TWO, THREE = (Snapshot("image/a", name) for name in ("1", "2", "3"))
SLACK = MIB // 2
"""What a backend may count besides: ZFS its metadata."""


def write(path: Path, size: int) -> None:
    """Bytes that do not compress, written out."""
    with path.open("wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())


async def own(driver: StorageDriver, *parts: Part) -> int:
    (found,) = await driver.space([parts])
    return found.exclusive


async def test_space_is_told_while_datasets_come_and_go(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")

    async def churn() -> None:
        for number in range(8):
            dataset = f"container/c{number}"
            await driver.create(dataset)
            await driver.snapshot(Snapshot(dataset, "1"))
            await driver.destroy(dataset)

    churning = asyncio.create_task(churn())
    while not churning.done():
        assert await own(driver, "image/a") < MIB
    await churning


async def test_space_of_a_set_is_what_comes_free_with_it(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    root = driver.mountpoint("image/a")
    write(root / "base", 3 * MIB)
    await driver.snapshot(ONE)
    write(root / "more", 2 * MIB)
    await driver.snapshot(TWO)
    (root / "more").unlink()
    await driver.snapshot(THREE)
    await driver.clone(TWO, "container/c")
    write(driver.mountpoint("container/c") / "own", MIB)
    await driver.clone(ONE, "container/d")

    everything: list[Part] = ["image/a", ONE, TWO, THREE, "container/c", "container/d"]
    groups: list[list[Part]] = [
        everything,
        ["container/c"],
        ["container/d"],
        ["container/c", TWO],
        [ONE],
        [],
        ["container/none", Snapshot("image/none", "1")],
    ]
    found = await driver.space(groups)
    expected = [6 * MIB, MIB, 0, 3 * MIB, 0, 0, 0]
    for usage, size in zip(found, expected, strict=True):
        assert size <= usage.exclusive <= size + SLACK, groups[found.index(usage)]
    assert 5 * MIB <= found[3].referenced <= 6 * MIB + SLACK

    # Two members of which each alone would free nothing.
    await driver.destroy("container/c")
    assert await own(driver, "image/a") <= SLACK
    assert 2 * MIB <= await own(driver, TWO) <= 2 * MIB + SLACK
    await driver.destroy_snapshot(TWO)
    rest = await own(driver, "image/a", ONE, THREE, "container/d")
    assert 3 * MIB <= rest <= 3 * MIB + SLACK


async def test_what_a_clone_still_needs_does_not_come_free(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    write(driver.mountpoint("image/a") / "base", 2 * MIB)
    await driver.snapshot(ONE)
    write(driver.mountpoint("image/a") / "late", MIB)
    await driver.clone(ONE, "container/c")
    freed = await own(driver, "image/a", ONE)
    assert freed <= MIB + SLACK
    if driver.name == "btrfs":
        assert freed == MIB
    await driver.destroy("image/a")
    assert 2 * MIB <= await own(driver, "container/c") + SLACK <= 2 * MIB + 2 * SLACK


async def test_space_follows_what_is_written(store: Store) -> None:
    driver = store.driver
    await driver.create("volume/v")
    file = driver.mountpoint("volume/v") / "f"
    for size in (MIB, 3 * MIB):
        write(file, size)
        deadline = time.monotonic() + 30  # ZFS accounts for it when it has written it
        while (found := await own(driver, "volume/v")) < size and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        assert size <= found <= size + SLACK


async def test_a_view_shows_a_snapshot_and_goes(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    (driver.mountpoint("image/a") / "f").write_text("then")
    await driver.snapshot(ONE)
    (driver.mountpoint("image/a") / "f").write_text("now")
    async with driver.view(ONE) as path:
        assert (path / "f").read_text() == "then"
        with pytest.raises(OSError, match=r"[Rr]ead-only"):
            (path / "f").write_text("never")
    assert store.leftovers() == []
    with pytest.raises(NotFound):
        async with driver.view(TWO):
            pass


async def test_files_outside_the_datasets_share_with_them_what_they_share(store: Store) -> None:
    driver, (_, place) = store.driver, store.foreign()
    await driver.create("image/a")
    whole, tree, image = place / "blob", place / "tree", driver.mountpoint("image/a")
    write(whole, 4 * MIB)
    write(place / "small", 100_000)
    (tree / "d").mkdir(parents=True)
    for target in (tree / "d" / "same", image / "same"):
        with whole.open("rb") as source, target.open("xb") as file:
            filedata.copy_data(source.fileno(), file.fileno(), whole.stat())
            os.fsync(file.fileno())
    write(tree / "own", MIB)
    await driver.create("image/b")
    await driver.snapshot(Snapshot("image/b", "1"))  # ZFS accounts for what it wrote out
    parts: list[Part] = [Files(str(each)) for each in (whole, place / "small", tree)]
    shares = driver.capabilities.reflink
    groups: list[list[Part]] = [
        *([part] for part in parts),
        parts,
        ["image/a"],
        [*parts, "image/a"],
        [Files("/no")],
    ]
    found = [usage.exclusive for usage in await driver.space(groups)]
    same = 4 * MIB
    expected = [
        *(0 if shares else same, 100_000, MIB if shares else same + MIB),
        *(100_000 + MIB + (0 if shares else 2 * same), 0 if shares else same),
        *(100_000 + MIB + (same if shares else 3 * same), 0),
    ]
    assert found == pytest.approx(expected, abs=SLACK)
    # As in another file system than the pool's, where only they share with one another.
    alone = [usage.exclusive for usage in files_space.measure(groups, lambda: None)]
    apart = 100_000 + MIB + (same if shares else 2 * same)
    assert alone == pytest.approx([*expected[:3], apart, 0, apart, 0], abs=SLACK)


async def changed(
    driver: StorageDriver,
    older: Snapshot,
    newer: Snapshot,
    *,
    related: bool = True,
    origin: Snapshot | None = None,
) -> dict[str, tuple[str, int | None, int | None]]:
    changes = driver.diff(older, newer, related=related, origin=origin)
    found: list[Change] = [change async for change in changes]
    assert len(found) == len({(change.kind, change.path) for change in found})
    return {change.path: (change.kind, change.before, change.after) for change in found}


async def test_diff_follows_directories_that_move_and_files_of_several_names(store: Store) -> None:
    driver = store.driver
    await driver.create("image/a")
    root = driver.mountpoint("image/a")
    (root / "top" / "sub").mkdir(parents=True)
    (root / "top" / "sub" / "file").write_text("x")
    (root / "swapped").mkdir()
    (root / "swapped" / "inner").write_text("1")
    (root / "data").write_text("12")
    (root / "same").write_text("s")
    (root / "name").hardlink_to(root / "data")
    (root / "link").symlink_to("swapped")
    await driver.snapshot(ONE)

    (root / "top").rename(root / "moved")
    (root / "moved" / "sub" / "new").write_text("three")
    (root / "swapped").rename(root / "aside")
    (root / "aside" / "inner").unlink()
    (root / "swapped").mkdir()
    (root / "swapped" / "other").write_text("2")
    with (root / "data").open("a") as file:
        file.write("3")
    (root / "link").unlink()
    (root / "link").mkdir()
    await driver.snapshot(TWO)

    assert await changed(driver, ONE, TWO) == {
        "top": ("removed", None, None),
        "top/sub": ("removed", None, None),
        "top/sub/file": ("removed", 1, None),
        "moved": ("added", None, None),
        "moved/sub": ("added", None, None),
        "moved/sub/file": ("added", None, 1),
        "moved/sub/new": ("added", None, 5),
        "swapped/inner": ("removed", 1, None),
        "swapped/other": ("added", None, 1),
        "aside": ("added", None, None),
        "data": ("modified", 2, 3),
        "name": ("modified", 2, 3),
        "link": ("modified", None, None),
    }


async def test_diff_of_unrelated_trees_goes_by_content(store: Store) -> None:
    driver = store.driver
    other = Snapshot("image/b", "1")
    for snapshot, text in ((ONE, "one"), (other, "two")):
        await driver.create(snapshot.dataset)
        root = driver.mountpoint(snapshot.dataset)
        (root / "d").mkdir()
        (root / "d" / "same").write_text("same")
        (root / "d" / "differs").write_text(text)
        (root / f"only-{text}").write_text("x")
        (root / "mode").write_text("m")
        (root / "mode").chmod(0o600 if text == "one" else 0o640)
        await driver.snapshot(snapshot)
    assert await changed(driver, ONE, other, related=False) == {
        "d/differs": ("modified", 3, 3),
        "only-one": ("removed", 1, None),
        "only-two": ("added", None, 1),
        "mode": ("modified", 1, 1),
    }


async def test_diff_of_two_clones_of_one_state_goes_by_content_where_they_wrote(
    store: Store,
) -> None:
    driver = store.driver
    await driver.create("image/a")
    (driver.mountpoint("image/a") / "base").write_text("b")
    (driver.mountpoint("image/a") / "both").write_text("1")
    await driver.snapshot(ONE)
    ends = []
    for name, text in (("x", "one"), ("y", "two")):
        dataset = f"image/{name}"
        await driver.clone(ONE, dataset)
        root = driver.mountpoint(dataset)
        (root / "new").mkdir()
        (root / "new" / "same").write_text("same")
        (root / "new" / "differs").write_text(text)
        (root / "both").write_text("2")
        (root / f"only-{text}").symlink_to("base")
        ends.append(Snapshot(dataset, "1"))
        await driver.snapshot(ends[-1])
    assert await changed(driver, *ends, related=False, origin=ONE) == {
        "new/differs": ("modified", 3, 3),
        "only-one": ("removed", None, None),
        "only-two": ("added", None, None),
    }
    # Both ways: what was added is what the other way was removed.
    assert await changed(driver, ends[0], ONE) == {
        "new": ("removed", None, None),
        "new/same": ("removed", 4, None),
        "new/differs": ("removed", 3, None),
        "both": ("modified", 1, 1),
        "only-one": ("removed", None, None),
    }
