"""Real pools for the storage contract: a btrfs in a sparse file, and a ZFS pool in one.

Both live as long as the tests of a module; each test has a root of its own in them, and a driver of its own.
The zfs-fuse daemon is started only where nothing answers ``zpool``, and only then stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kleene.errors import HostUnavailable
from kleene.storage import loopfile
from kleene.storage.btrfs import BtrfsDriver
from kleene.storage.driver import StorageDriver
from kleene.storage.loopfile import LoopFile
from kleene.storage.zfs import ZfsDriver
from tests.support import baseline
from tests.support.required import require

MIB = 1 << 20


def run(*argv: str | Path) -> str:
    """The output of a tool that must succeed."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def eventually(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until ``done()``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@dataclass(frozen=True)
class Store:
    """A driver under test, and what a test needs beyond the contract.

    Attributes:
        reopen: close the driver and open another one on the same root.
        foreign: make a file system in the same pool that is not Kleene's: its name for the host's tools, and
            where it is mounted.
        leftovers: what lies in the pool but is neither a dataset nor a snapshot of one.
        clean: take the root and what ``foreign`` made away, once no dataset is left.
    """

    driver: StorageDriver
    reopen: Callable[[], Awaitable[StorageDriver]]
    foreign: Callable[[], tuple[str, Path]]
    leftovers: Callable[[], list[str]]
    clean: Callable[[], object]


def make_btrfs(directory: Path, size: int) -> LoopFile:
    """A btrfs of ``size`` bytes, mounted; the caller removes it."""
    try:
        asyncio.run(loopfile.probe())
    except HostUnavailable as error:
        require("btrfs", False, error.message)
    pool = LoopFile(directory / "pool.img", directory / "pool", size)
    asyncio.run(pool.attach())
    return pool


@pytest.fixture(scope="module")
def btrfs_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("btrfs")
    with baseline.shared(str(directory)):
        pool = make_btrfs(directory, 2048 * MIB)
        yield pool.directory
        asyncio.run(pool.remove())


@pytest.fixture
def small_btrfs_pool(tmp_path: Path) -> Iterator[Path]:
    pool = make_btrfs(tmp_path, 256 * MIB)
    yield pool.directory
    asyncio.run(pool.remove())


def _zfs_answers() -> bool:
    return subprocess.run(["zpool", "list"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def zfs_host() -> Iterator[None]:
    """Something that answers the ``zfs`` tool: the kernel, a running zfs-fuse, or one started here."""
    require(
        "zfs", shutil.which("zpool") is not None, "there is no 'zpool': apt-get install zfs-fuse"
    )
    if _zfs_answers():
        yield
        return
    require(
        "zfs",
        shutil.which("zfs-fuse") is not None,
        "the kernel has no ZFS and there is no zfs-fuse",
    )
    require("zfs", Path("/dev/fuse").exists(), "there is no /dev/fuse")
    argv = ["zfs-fuse", "--no-daemon", "--no-kstat-mount", "--enable-xattr"]
    daemon = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with baseline.shared("zfs-fuse"):
            eventually(_zfs_answers)
            yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def make_zfs(directory: Path, size: int) -> str:
    """The name of a new pool of ``size`` bytes in a file; the caller destroys it."""
    name = f"kleene{secrets.token_hex(4)}"
    image = directory / "pool.img"
    with image.open("wb") as file:
        file.truncate(size)
    run("zpool", "create", "-o", "cachefile=none", "-m", "none", name, image)
    return name


def destroy(*argv: str) -> None:
    """Run a destroying tool until nothing is busy any more."""
    eventually(lambda: subprocess.run(argv, capture_output=True).returncode == 0)


@pytest.fixture(scope="module")
def zfs_pool(zfs_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pool = make_zfs(tmp_path_factory.mktemp("zfs"), 2048 * MIB)
    yield pool
    destroy("zpool", "destroy", "-f", pool)


@pytest.fixture
def small_zfs_pool(zfs_host: None, tmp_path: Path) -> Iterator[str]:
    pool = make_zfs(tmp_path, 256 * MIB)
    yield pool
    destroy("zpool", "destroy", "-f", pool)


async def open_btrfs(pool: Path) -> Store:
    root = pool / f"root-{secrets.token_hex(4)}"
    made: list[Path] = []

    def foreign() -> tuple[str, Path]:
        path = pool / f"foreign-{secrets.token_hex(4)}"
        run("btrfs", "subvolume", "create", path)
        made.append(path)
        return str(path), path

    def leftovers() -> list[str]:
        return sorted(str(path.relative_to(root)) for path in (root / "trash").iterdir())

    def clean() -> None:
        for path in made:
            run("btrfs", "subvolume", "delete", path)

    backing = pool.with_name("pool.img")
    driver = await BtrfsDriver.open(root, backing=backing)
    reopen = lambda: BtrfsDriver.open(root, backing=backing)  # noqa: E731
    return Store(driver, reopen, foreign, leftovers, clean)


async def open_zfs(pool: str, directory: Path) -> Store:
    root, mountpoint = f"{pool}/root-{secrets.token_hex(4)}", directory / "datasets"
    made = [root]

    def foreign() -> tuple[str, Path]:
        name = f"{pool}/foreign-{secrets.token_hex(4)}"
        path = directory / name.rpartition("/")[2]
        run("zfs", "create", "-o", f"mountpoint={path}", name)
        made.append(name)
        return name, path

    def leftovers() -> list[str]:
        listed = run("zfs", "list", "-H", "-r", "-t", "all", "-o", "name,kleene:gone", pool)
        rows = [line.split("\t") for line in listed.splitlines()]
        return [name for name, gone in rows if "_trash/" in name or "@:" in name or gone == "yes"]

    def clean() -> None:
        for name in made:
            destroy("zfs", "destroy", "-r", name)

    driver = await ZfsDriver.open(root, mountpoint)
    return Store(driver, lambda: ZfsDriver.open(root, mountpoint), foreign, leftovers, clean)


@pytest.fixture(params=["btrfs", "zfs"])
def pool(request: pytest.FixtureRequest) -> Path | str:
    """A pool of each kind: the mount of a btrfs, or the name of a ZFS pool."""
    found: Path | str = request.getfixturevalue(f"{request.param}_pool")
    return found


@pytest.fixture(params=["btrfs", "zfs"])
def small_pool(request: pytest.FixtureRequest) -> Path | str:
    """As ``pool``, of the test's own and with 256 MiB."""
    found: Path | str = request.getfixturevalue(f"small_{request.param}_pool")
    return found


@contextlib.asynccontextmanager
async def opened(pool: Path | str, directory: Path) -> AsyncIterator[Store]:
    """An empty root in the pool; emptied again."""
    store = await (open_btrfs(pool) if isinstance(pool, Path) else open_zfs(pool, directory))
    yield store
    for dataset in await store.driver.datasets():
        await store.driver.destroy(dataset)
    await store.driver.close()
    store.clean()


@pytest.fixture
async def store(pool: Path | str, tmp_path: Path) -> AsyncIterator[Store]:
    """The contract's subject."""
    async with opened(pool, tmp_path) as found:
        yield found


@pytest.fixture
async def small_store(small_pool: Path | str, tmp_path: Path) -> AsyncIterator[Store]:
    """The contract's subject in a pool that is soon full."""
    async with opened(small_pool, tmp_path) as found:
        yield found
