"""Which drivers this daemon works with. The only module that names concrete ones.

Decided once, at start: by the configuration, then by the operating system, then by trying. What is missing on
the host is told all at once, with the packages that have it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kleene.daemon.config import Config
from kleene.engine.platform import Platform
from kleene.errors import HostUnavailable, KleeneError
from kleene.host.process import environment
from kleene.network.links_linux import LinuxLinks
from kleene.network.nftables import NftablesFirewall
from kleene.runtime.oci import OciDriver
from kleene.storage.btrfs import BtrfsDriver
from kleene.storage.btrfs_pool import lies_on_btrfs
from kleene.storage.driver import StorageDriver
from kleene.storage.loopfile import DEFAULT_SIZE, LoopFile
from kleene.storage.zfs import ZfsDriver

T = TypeVar("T")

_RUN = Path("/run/kleene")


@dataclass(frozen=True)
class Need:
    """Programs of which one is needed, and Debian's package that has the first."""

    programs: tuple[str, ...]
    package: str


_RUNTIME_NEEDS = (
    Need(("runc", "crun"), "runc"),
    Need(("conmon",), "conmon"),
    Need(("catatonit",), "catatonit"),
    Need(("nft",), "nftables"),
)
_STORAGE_NEEDS = {
    "zfs": (Need(("zfs",), "zfsutils-linux"),),
    "btrfs": (Need(("btrfs",), "btrfs-progs"),),
    "file": (Need(("mkfs.btrfs",), "btrfs-progs"), Need(("losetup",), "mount")),
}


def instance_of(root: Path) -> str:
    """6 hex digits that are the same for the same data directory, by whatever path it is named."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:6]


async def choose_platform(config: Config) -> Platform:
    """Open the drivers that this host and ``config`` call for.

    Raises:
        HostUnavailable: the host lacks something; all that was found is told.
    """
    if sys.platform != "linux":
        raise HostUnavailable(f"there are no drivers for '{sys.platform}' yet")
    storage = choose_storage(config)
    check_programs([*_RUNTIME_NEEDS, *_STORAGE_NEEDS[storage]])
    instance = instance_of(config.kleene_root)
    run = _RUN / instance
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    return await _open(config, storage, instance, run)


def choose_storage(config: Config) -> str:
    """``zfs`` if a dataset is named, else ``btrfs`` where the data directory lies on one, else ``file``."""
    if config.storage != "auto":
        return config.storage
    if config.zfs_dataset is not None:
        return "zfs"
    return "btrfs" if lies_on_btrfs(config.kleene_root) else "file"


def check_programs(needs: Sequence[Need]) -> None:
    """See that all programs are installed.

    Raises:
        HostUnavailable: names all that are not, and the packages that have them.
    """
    path = environment()["PATH"]
    missing = [
        need
        for need in needs
        if not any(shutil.which(program, path=path) for program in need.programs)
    ]
    if missing:
        names = ", ".join(f"'{' or '.join(need.programs)}'" for need in missing)
        packages = sorted({need.package for need in missing})
        noun = "programs are" if len(missing) > 1 else "program is"
        raise HostUnavailable(
            f"needed {noun} not installed: {names}", hint=f"apt-get install {' '.join(packages)}"
        )


async def _open(config: Config, storage_name: str, instance: str, run: Path) -> Platform:
    async with AsyncExitStack() as undo:
        problems: list[HostUnavailable] = []
        firewall = NftablesFirewall(instance)
        storage = await _try(_open_storage(config, storage_name), problems)
        if storage is not None:
            undo.push_async_callback(storage.close)
        runtime = await _try(OciDriver.open(config.kleene_root / "runtime", instance), problems)
        await _try(firewall.probe(), problems)
        if storage is None or runtime is None or problems:
            raise together(problems)
        undo.pop_all()
    capabilities = runtime.capabilities
    return Platform(
        root=config.kleene_root,
        run=run,
        instance=instance,
        storage=storage,
        runtime=runtime,
        links=LinuxLinks(run, instance),
        firewall=firewall,
        probed={
            f"storage {storage_name}": "ok",
            f"runtime {capabilities.name}": "ok",
            "firewall nftables": "ok",
        },
    )


async def _open_storage(config: Config, name: str) -> StorageDriver:
    pool = config.kleene_root / "storage"
    if name == "zfs":
        assert config.zfs_dataset is not None
        return await ZfsDriver.open(config.zfs_dataset)
    if name == "btrfs":
        return await BtrfsDriver.open(pool)
    file = config.kleene_root / "storage.btrfs"
    await LoopFile(file, pool, config.pool_size or DEFAULT_SIZE).attach()
    return await BtrfsDriver.open(pool, backing=file)


async def _try(opening: Awaitable[T], problems: list[HostUnavailable]) -> T | None:
    try:
        return await opening
    except HostUnavailable as error:
        problems.append(error)
        return None


def together(problems: Sequence[KleeneError]) -> HostUnavailable:
    """One error for all that is wrong with the host."""
    first, *others = problems
    if not others:
        return HostUnavailable(first.message, hint=first.hint, details=first.details)
    lines = [f"{each.message} ({each.hint})" if each.hint else each.message for each in problems]
    return HostUnavailable(
        "this host cannot run containers yet",
        details="\n".join(lines),
        hint="follow the remedies above, then start kleened again",
    )
