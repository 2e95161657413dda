"""What a clone costs when its source has hundreds of others: ``python -m bench.storage_scaling``, as root.

btrfs counts who uses a node of metadata by references, and a clone that shares a node of the tree adds one to
each of its children: to those of the root at once, to those of the nodes below when it is first written to.
The references to one child lie together, so with hundreds of clones each goes into a node of its own: as many
nodes are written as were added to. A node of 16 KiB, as mkfs.btrfs makes it, has up to 493 children, and
mkfs.btrfs writes metadata twice; a node of 4 KiB has 121. Whether the source is always the same or the last
clone changes little: what they share is the same.

The ways take turns, clone by clone, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kleene.host import process
from kleene.storage.btrfs import BtrfsDriver
from kleene.storage.driver import Snapshot
from kleene.storage.loopfile import GIB, LoopFile

MIB = 1 << 20
SIZE = 8 * GIB
AROUND = 4
"""A value is the median of this many clones before it and after it."""


@dataclass(frozen=True)
class Way:
    """A way to make a pool and clones in it.

    Attributes:
        mkfs: options for mkfs.btrfs; ``None`` for a pool as Kleene makes it.
        chain: make each clone from a snapshot of the last one.
    """

    title: str
    mkfs: tuple[str, ...] | None = None
    chain: bool = False


DEFAULTS = ("-n", "16k", "-m", "dup")
WAYS = (
    Way("mkfs.btrfs' defaults, from the source", DEFAULTS),
    Way("mkfs.btrfs' defaults, from the last clone", DEFAULTS, chain=True),
    Way("Kleene's pool, from the source"),
)


@dataclass
class Course:
    """One way, under way."""

    way: Way
    pool: LoopFile
    driver: BtrfsDriver
    source: Snapshot
    seconds: list[float] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    async def step(self) -> None:
        """Make one more clone, write to it as a container would, and wait until all is on disk."""
        name = f"container/c{len(self.seconds)}"
        before, begin = self.bytes_written(), time.perf_counter()
        await self.driver.clone(self.source, name)
        for directory in ("d0000", "d0100", "d0200"):
            (self.driver.mountpoint(name) / directory / "new").write_text("by a container\n")
        if self.way.chain:
            self.source = Snapshot(name, "s")
            await self.driver.snapshot(self.source)
        else:
            path = str(self.driver.mountpoint(name))
            (await process.run(["btrfs", "filesystem", "sync", path])).check()
        self.seconds.append(time.perf_counter() - begin)
        self.written.append(self.bytes_written() - before)

    def bytes_written(self) -> int:
        """What the pool's device was given to write so far; its statistics count 512 bytes as one."""
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, directory = line.split()[:2]
            if directory == str(self.pool.directory):
                counted = Path("/sys/block", Path(device).name, "stat").read_text().split()
                return int(counted[6]) * 512
        raise FileNotFoundError(self.pool.directory)


@asynccontextmanager
async def course(way: Way, files: int) -> AsyncIterator[Course]:
    """A pool in a sparse file in the temporary directory, with a source of so many files in it."""
    with tempfile.TemporaryDirectory(prefix="kleene-bench-") as directory:
        pool = LoopFile(Path(directory) / "pool.img", Path(directory) / "pool", SIZE)
        if way.mkfs is not None:
            with pool.file.open("wb") as file:
                file.truncate(SIZE)
            (await process.run(["mkfs.btrfs", "--quiet", *way.mkfs, str(pool.file)])).check()
        await pool.attach()
        try:
            driver = await BtrfsDriver.open(pool.directory / "bench")
            begun = Course(way, pool, driver, Snapshot("image/source", "s"))
            await driver.create(begun.source.dataset)
            fill(driver.mountpoint(begun.source.dataset), files)
            await driver.snapshot(begun.source)
            yield begun
            await driver.close()
        finally:
            await pool.remove()


def fill(root: Path, files: int) -> None:
    """About what a small distribution has: many small files, some larger ones, in some 600 directories."""
    sizes = random.Random(1)
    for number in range(files):
        directory = root / f"d{number // 15:04}"
        directory.mkdir(exist_ok=True)
        size = sizes.choice((200, 900, 1800, 6000, 20000))
        (directory / f"file-{number:05}").write_bytes(sizes.randbytes(size))


def near(values: Sequence[float], point: int) -> float:
    return statistics.median(values[max(0, point - AROUND) : point + AROUND + 1])


async def measure(clones: int, files: int) -> None:
    points = [point for point in (0, 50, 100, 200, 300, 400, 500) if point <= clones]
    async with AsyncExitStack() as stack:
        courses = [await stack.enter_async_context(course(way, files)) for way in WAYS]
        for number in range(clones + AROUND):
            turn = number % len(courses)
            for each in (*courses[turn:], *courses[:turn]):
                await each.step()
        print(
            f"{'a clone, written to, beside so many others':50}"
            + "".join(f"{point:7}" for point in points)
        )
        for each in courses:
            values = "".join(f"{near(each.seconds, point) * 1000:7.1f}" for point in points)
            print(f"{each.way.title + ', ms':50}{values}")
        for each in courses:
            values = "".join(f"{near(each.written, point) / MIB:7.2f}" for point in points)
            print(f"{each.way.title + ', MiB written':50}{values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clones", type=int, default=500)
    parser.add_argument("--files", type=int, default=9000)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.clones, arguments.files))


if __name__ == "__main__":
    main()
