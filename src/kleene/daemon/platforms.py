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

from kleene.daemon.config import Config, OciRuntime
from kleene.engine.context_store import ContextLimits
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
_APT = "apt-get install "


@dataclass(frozen=True)
class Need:
    """Programs of which one is needed, and Debian's package that has the first.

    Only for what the drivers cannot tell a package for, or would tell after something else was installed.
    """

    programs: tuple[str, ...]
    package: str


_NEEDS = (Need(("runc", "crun"), "runc"), Need(("nft",), "nftables"))
_STORAGE_NEEDS = {
    "zfs": Need(("zfs",), "zfsutils-linux"),
    "btrfs": Need(("btrfs",), "btrfs-progs"),
    "file": Need(("mkfs.btrfs",), "btrfs-progs"),
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
    instance = instance_of(config.kleene_root)
    run = _RUN / instance
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    return await _open(config, choose_storage(config), instance, run)


def choose_storage(config: Config) -> str:
    """``zfs`` if a dataset is named, else ``btrfs`` where the data directory lies on one, else ``file``."""
    if config.storage != "auto":
        return config.storage
    if config.zfs_dataset is not None:
        return "zfs"
    return "btrfs" if lies_on_btrfs(config.kleene_root) else "file"


def missing_programs(needs: Sequence[Need]) -> list[HostUnavailable]:
    """A problem for each need that the host does not meet."""
    path = environment()["PATH"]
    return [
        HostUnavailable(
            f"program '{' or '.join(need.programs)}' is not installed", hint=_APT + need.package
        )
        for need in needs
        if not any(shutil.which(program, path=path) for program in need.programs)
    ]


async def _open(config: Config, storage_name: str, instance: str, run: Path) -> Platform:
    async with AsyncExitStack() as undo:
        problems = missing_programs([*_NEEDS, _STORAGE_NEEDS[storage_name]])
        firewall = NftablesFirewall(instance)
        storage = await _try(_open_storage(config, storage_name), problems)
        if storage is not None:
            undo.push_async_callback(storage.close)
        state = config.kleene_root / "runtime"
        opening = OciDriver.open(state, instance, runtimes=_runtimes(config.oci_runtime))
        runtime = await _try(opening, problems)
        await _try(firewall.probe(), problems)
        if storage is None or runtime is None or problems:
            raise together(problems)
        undo.pop_all()
    return Platform(
        root=config.kleene_root,
        run=run,
        instance=instance,
        storage=storage,
        runtime=runtime,
        links=LinuxLinks(run, instance),
        firewall=firewall,
        probed={storage_name: "ok", **runtime.tried, "nftables": "ok"},
        contexts=ContextLimits(
            size=config.context_max_size,
            kept=config.context_keep_size,
            age=config.context_keep_days * 86400,
        ),
        known_hosts=config.ssh_known_hosts,
    )


def _runtimes(wanted: OciRuntime) -> Sequence[str]:
    """The runtimes to try, in this order: crun starts a process in a third of runc's time."""
    return ("crun", "runc") if wanted == "auto" else (wanted,)


async def _open_storage(config: Config, name: str) -> StorageDriver:
    pool = config.kleene_root / "storage"
    if name == "zfs":
        assert config.zfs_dataset is not None
        return await ZfsDriver.open(config.zfs_dataset, pool)
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
    """One error for all that is wrong with the host, with one line to install what is missing."""
    kept: list[KleeneError] = []
    packages: set[str] = set()
    for problem in problems:
        wanted = _packages(problem)
        if not wanted or not wanted <= packages:
            kept.append(problem)
            packages |= wanted
    if len(kept) == 1:
        return HostUnavailable(kept[0].message, hint=kept[0].hint, details=kept[0].details)
    remedies = [_APT + " ".join(sorted(packages))] if packages else []
    remedies += [each.hint for each in kept if each.hint and not _packages(each)]
    return HostUnavailable(
        "this host lacks what containers need",
        details="\n".join(_lines(each) for each in kept),
        hint="; ".join(remedies) or None,
    )


def _packages(problem: KleeneError) -> set[str]:
    hint = problem.hint or ""
    return set(hint.removeprefix(_APT).split()) if hint.startswith(_APT) else set()


def _lines(problem: KleeneError) -> str:
    return f"{problem.message}: {problem.details}" if problem.details else problem.message
