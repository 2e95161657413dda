"""The ZFS backend: every dataset a file system below one root, with the ``zfs`` tool alone.

Owns the root dataset, which outlives the daemon::

    ROOT/A/B             a dataset, mounted at MOUNTPOINT/A/B
    ROOT/_trash/RANDOM   what is on its way in, or was in use when it was destroyed; not mounted

What becomes of destroyed datasets with clones is told in :mod:`kleene.storage.zfs_trash`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.host import process
from kleene.host.threads import in_thread
from kleene.storage import files_space, zfs_space, zfs_stream
from kleene.storage import zfs_command as zfs
from kleene.storage.compare import Kinship, changes
from kleene.storage.driver import Change, Files, Part, Snapshot, StorageCapabilities, Usage
from kleene.storage.layout import dataset_parts, holds_more, missing, taken
from kleene.storage.settle import settled
from kleene.storage.zfs_names import GONE, Names, own_name, temporary
from kleene.storage.zfs_trash import Trash

_FULL_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.:-]*(/[a-zA-Z0-9_.:][a-zA-Z0-9_.:-]*)*")
_BATCH = 512
_CREATION_STEP = 2  # seconds: the property counts whole ones


class ZfsDriver:
    """The datasets below one root dataset. Made by :meth:`open`."""

    def __init__(self, root: str, mountpoint: Path) -> None:
        self._names = Names(root, mountpoint)
        self._zfs = zfs.Zfs()
        self._trash = Trash(self._names, self._zfs)
        self._groups: set[str] = set()
        self._naming = asyncio.Lock()  # a name is looked for before it is given

    @staticmethod
    async def probe(root: str) -> None:
        """Find out whether ``root`` could hold Kleene's datasets.

        Raises:
            InvalidInput: not the name of a dataset.
            HostUnavailable: no ``zfs``, no such pool, or no privilege.
        """
        pool = _checked_name(root).partition("/")[0]
        try:
            await zfs.Zfs().call("list", "-H", "-o", "name", pool, subject=f"pool '{pool}'")
        except NotFound as error:
            raise HostUnavailable(
                f"storage pool '{pool}' does not exist", hint="list the pools: zpool list"
            ) from error

    @classmethod
    async def open(cls, root: str, mountpoint: Path) -> ZfsDriver:
        """Open the pool below ``root``, made at need; mount it, and remove what interrupted calls left.

        Args:
            root: the dataset that is Kleene's own, as ``tank/kleene``.
            mountpoint: the directory below which its datasets are mounted.

        Raises:
            InvalidInput, HostUnavailable: as :meth:`probe`.
        """
        await cls.probe(root)
        driver = cls(root, mountpoint)
        await driver._prepare()
        return driver

    async def close(self) -> None:
        """Nothing is held."""

    async def _prepare(self) -> None:
        names = self._names
        names.mountpoint.mkdir(mode=0o700, parents=True, exist_ok=True)
        where = f"mountpoint={names.mountpoint}"
        await self._have(names.root, "-p", "-o", where, "-o", "canmount=off", "-o", "atime=off")
        present = await self._zfs.properties(names.root, "mountpoint", subject="storage pool")
        if present != [str(names.mountpoint)]:
            await self._zfs.call("set", where, names.root, subject="storage pool")
        await self._have(names.trash, "-o", "mountpoint=none", "-o", "canmount=off")
        await self._trash.sweep()
        await self._mount_all()

    async def _have(self, name: str, *options: str) -> None:
        """Make a dataset that is never mounted itself, unless it is there."""
        if (await self._zfs.run("list", "-H", "-o", "name", name)).status != 0:
            with contextlib.suppress(Conflict):  # somebody else was quicker
                await self._zfs.call("create", *options, name, subject=f"dataset '{name}'")

    async def _mount_all(self) -> None:
        wanted = ["-r", "-t", "filesystem", "-o", "name,mounted", self._names.root]
        for name, mounted in await self._zfs.listing(wanted, subject="storage pool"):
            if mounted == "no" and self._own(name) is not None:
                await self._zfs.call("mount", name, subject=f"dataset '{name}'")

    def _own(self, name: str) -> str | None:
        """The dataset that a full name stands for, or ``None`` if it is none of the contract's."""
        below, dataset = name[: len(self._names.root) + 1], name[len(self._names.root) + 1 :]
        try:
            dataset_parts(dataset)
        except InvalidInput:
            return None
        return dataset if below == f"{self._names.root}/" else None

    @property
    def name(self) -> str:
        return "zfs"

    @property
    def capabilities(self) -> StorageCapabilities:
        return StorageCapabilities(quota=True, reflink=False, independent_clones=False)

    def mountpoint(self, dataset: str) -> Path:
        return self._names.path(dataset)

    def host_name(self, dataset: str) -> str:
        return self._names.dataset(dataset)

    async def create(self, dataset: str) -> None:
        await self._make(dataset, "create")

    async def clone(self, snapshot: Snapshot, dataset: str) -> None:
        source = await self._found(snapshot)
        await self._make(dataset, "clone", source, source=f"snapshot '{snapshot}'")

    async def _make(self, dataset: str, *command: str, source: str | None = None) -> None:
        name = self._names.dataset(dataset)
        await self._have_group(dataset)
        await settled(
            self._make_mounted(name, command, f"dataset '{dataset}'", source),
            undo=lambda: self.destroy(dataset),
        )

    async def _make_mounted(
        self, name: str, command: tuple[str, ...], subject: str, source: str | None
    ) -> None:
        done = await self._zfs.run(*command, name)
        if done.status == 0:
            return
        if b"successfully created" in done.stderr:  # "... but not mounted"
            await self._zfs.run("destroy", name)
        raise zfs.meaning(done, subject, source)

    async def _have_group(self, dataset: str) -> None:
        group, _ = dataset_parts(dataset)
        if group not in self._groups:
            await self._have(f"{self._names.root}/{group}", "-o", "canmount=off")
            self._groups.add(group)

    async def snapshot(self, snapshot: Snapshot) -> None:
        await settled(self._freeze(snapshot), undo=lambda: self.destroy_snapshot(snapshot))

    async def _freeze(self, snapshot: Snapshot) -> None:
        new, subject = self._names.new_snapshot(snapshot), f"snapshot '{snapshot}'"
        async with self._naming:
            if await self._find(snapshot) is not None:
                raise taken(subject)
            await self._zfs.call("snapshot", new, subject=subject)

    async def _find(self, snapshot: Snapshot) -> str | None:
        """The full name of a snapshot, or ``None`` if its dataset has none of the name.

        Raises:
            NotFound: there is no such dataset.
        """
        prefix, _, _ = self._names.new_snapshot(snapshot).rpartition(":")
        dataset, subject = prefix.partition("@")[0], f"dataset '{snapshot.dataset}'"
        for name, gone in await self._zfs.snapshots(dataset, subject=subject):
            if name.rpartition(":")[0] == prefix and not gone:
                return name
        return None

    async def _found(self, snapshot: Snapshot) -> str:
        try:
            name = await self._find(snapshot)
        except NotFound:
            name = None
        if name is None:
            raise missing(f"snapshot '{snapshot}'")
        return name

    async def destroy(self, dataset: str) -> None:
        await settled(self._trash.destroy(dataset))

    async def destroy_snapshot(self, snapshot: Snapshot) -> None:
        await settled(self._destroy_snapshot(snapshot))

    async def _destroy_snapshot(self, snapshot: Snapshot) -> None:
        with contextlib.suppress(NotFound):
            name = await self._found(snapshot)
            await self._trash.destroy_snapshot(name, f"snapshot '{snapshot}'")

    async def exists(self, dataset: str) -> bool:
        name = self._names.dataset(dataset)
        try:
            await self._zfs.call("list", "-H", "-o", "name", name, subject=f"dataset '{dataset}'")
        except NotFound:
            return False
        return True

    async def datasets(self) -> list[str]:
        wanted = ["-r", "-t", "filesystem", "-o", "name", self._names.root]
        rows = await self._zfs.listing(wanted, subject="storage pool")
        return sorted(found for (name,) in rows if (found := self._own(name)) is not None)

    async def snapshots(self, dataset: str) -> list[str]:
        found = await self._zfs.snapshots(
            self._names.dataset(dataset), subject=f"dataset '{dataset}'"
        )
        return sorted(own_name(name) for name, gone in found if not gone and own_name(name))

    async def usage(self, dataset: str) -> Usage:
        exclusive, referenced = await self._zfs.properties(
            self._names.dataset(dataset),
            *("usedbydataset", "referenced"),
            subject=f"dataset '{dataset}'",
        )
        return Usage(exclusive=int(exclusive), referenced=int(referenced))

    async def space(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        """As the contract says, but ``referenced`` is that of the largest part, and metadata is counted.

        What was written in the last seconds may not be accounted for yet. zfs-fuse cannot tell what only
        several snapshots of a dataset share, nor what only the dataset has, while a snapshot of it stays:
        there ``exclusive`` lacks that.
        """
        accounts = await self._accounts()
        pool = zfs_space.Pool(accounts)
        full = {name.rpartition(":")[0]: name for name in (a.name for a in accounts) if "@" in name}
        others = await in_thread(lambda stop: files_space.measure(groups, stop.check))
        found = []
        for group, other in zip(groups, others, strict=True):
            names = [self._full(part, full) for part in group if not isinstance(part, Files)]
            found.append(other + await self._space_of(names, pool))
        return found

    async def _accounts(self) -> list[zfs_space.Account]:
        await process.run(["zpool", "sync", self._names.root.partition("/")[0]])  # not in zfs-fuse
        for properties in (zfs_space.PROPERTIES, zfs_space.OLD_PROPERTIES):
            wanted = ["-Hp", "-r", "-o", "name,property,value", ",".join(properties)]
            done = await self._zfs.run("get", *wanted, self._names.root)
            if done.status == 0:
                return zfs_space.accounts(done.stdout.decode(errors="replace"))
        raise zfs.meaning(done, "storage pool")

    def _full(self, part: str | Snapshot, snapshots: dict[str, str]) -> str:
        if isinstance(part, str):
            return self._names.dataset(part)
        plain = self._names.new_snapshot(part).rpartition(":")[0]
        return snapshots.get(plain, plain)

    async def _space_of(self, names: Sequence[str], pool: zfs_space.Pool) -> Usage:
        freed = pool.freed(names)
        exclusive = freed.sure
        for dataset, snapshots in freed.together.items():
            listed = ",".join(name.partition("@")[2] for name in snapshots)
            done = await self._zfs.run("destroy", "-nvp", f"{dataset}@{listed}")
            told = zfs_space.reclaimed(done.stdout.decode(errors="replace"))
            exclusive += pool.at_least(snapshots) if told is None else told
        return Usage(exclusive, pool.referenced(names))

    async def pool_free(self) -> int:
        (free,) = await self._zfs.properties(self._names.root, "available", subject="storage pool")
        return int(free)

    async def set_quota(self, dataset: str, limit: int | None) -> None:
        value = "none" if limit is None else str(limit)
        name, subject = self._names.dataset(dataset), f"dataset '{dataset}'"
        done = await self._zfs.run("set", f"refquota={value}", name)
        if done.status != 0 and b"size is less than" in done.stderr and limit is not None:
            raise holds_more(dataset, limit)
        if done.status != 0:
            raise zfs.meaning(done, subject)

    async def renew_quota(self, dataset: str, limit: int) -> None:
        """``refquota`` is about what the dataset shows."""

    async def copy_foreign(self, source: str, dataset: str) -> None:
        subject, frozen = f"dataset '{dataset}'", temporary(_checked_name(source))
        await self._check_free(dataset)
        async with AsyncExitStack() as stack:
            await self._zfs.call("snapshot", frozen, subject=subject, source=f"dataset '{source}'")
            stack.push_async_callback(self._zfs.run, "destroy", frozen)
            incoming = self._names.new_in_trash()
            stack.push_async_callback(self._trash.collect, incoming)
            await zfs_stream.pipe([frozen], incoming, subject=subject)
            await self._adopt(incoming, dataset)

    async def clone_foreign(self, source: str, dataset: str) -> None:
        frozen = temporary(_checked_name(source))
        if source.partition("/")[0] != self._names.root.partition("/")[0]:
            raise InvalidInput(
                f"dataset '{source}' is not in the pool of '{self._names.root}'",
                hint="copy it instead of cloning it",
            )
        told = f"dataset '{source}'"
        await self._zfs.call("snapshot", "-o", f"{GONE}=yes", frozen, subject=frozen, source=told)
        try:
            await self._make(dataset, "clone", frozen, source=told)
        except BaseException:
            await self._zfs.run("destroy", frozen)
            raise

    async def send(self, snapshot: Snapshot, fd: int, *, base: Snapshot | None = None) -> None:
        since = [] if base is None else ["-i", await self._found(base)]
        arguments = [*since, await self._found(snapshot)]
        await zfs_stream.send(arguments, fd, subject=f"snapshot '{snapshot}'")

    async def receive(self, dataset: str, fd: int) -> None:
        await self._check_free(dataset)
        incoming = self._names.new_in_trash()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._trash.collect, incoming)
            await zfs_stream.receive(fd, incoming, subject=f"dataset '{dataset}'")
            await self._adopt(incoming, dataset)

    async def _check_free(self, dataset: str) -> None:
        if await self.exists(dataset):
            raise taken(f"dataset '{dataset}'")

    async def _adopt(self, incoming: str, dataset: str) -> None:
        """Make a dataset of one that came in, without the snapshot that it came as."""
        for snapshot, _ in await self._zfs.snapshots(incoming, subject=f"dataset '{dataset}'"):
            await self._zfs.call("destroy", snapshot, subject=f"dataset '{dataset}'")
        await self._have_group(dataset)
        await settled(self._rename(incoming, dataset), undo=lambda: self.destroy(dataset))

    async def _rename(self, incoming: str, dataset: str) -> None:
        name, subject = self._names.dataset(dataset), f"dataset '{dataset}'"
        await self._zfs.call("rename", incoming, name, subject=subject)
        if await self._zfs.properties(name, "mounted", subject=subject) != ["yes"]:
            await self._zfs.call("mount", name, subject=subject)

    async def diff(
        self,
        older: Snapshot,
        newer: Snapshot,
        *,
        related: bool = True,
        origin: Snapshot | None = None,
    ) -> AsyncIterator[Change]:
        """As the contract says, of two read-only clones: zfs-fuse shows snapshots in no other way."""
        before, after = await self._found(older), await self._found(newer)
        kinship = Kinship()
        if related:
            kinship = Kinship(
                min(await self._created(older), await self._created(newer)), by_content=False
            )
        elif origin is not None:
            kinship = Kinship(await self._created(origin))
        async with AsyncExitStack() as stack:
            old = await self._mounted_clone(before, stack)
            new = await self._mounted_clone(after, stack)
            found = changes(old, new, kinship)
            stack.callback(found.close)
            while batch := await asyncio.to_thread(lambda: list(islice(found, _BATCH))):
                for change in batch:
                    yield change

    async def _created(self, snapshot: Snapshot) -> int:
        """A time before which what the snapshot has was written."""
        name = await self._found(snapshot)
        told = await self._zfs.properties(name, "creation", subject=f"snapshot '{snapshot}'")
        return int(told[0]) - _CREATION_STEP

    @contextlib.asynccontextmanager
    async def view(self, snapshot: Snapshot) -> AsyncIterator[Path]:
        async with AsyncExitStack() as stack:
            yield await self._mounted_clone(await self._found(snapshot), stack)

    async def _mounted_clone(self, snapshot: str, stack: AsyncExitStack) -> Path:
        clone = self._names.new_in_trash()
        path = self._names.mountpoint / f".{clone.rpartition('/')[2]}"
        options = ("-o", f"mountpoint={path}", "-o", "readonly=on", "-o", "canmount=on")
        stack.callback(_remove_directory, path)
        stack.push_async_callback(self._trash.collect, clone)
        await settled(self._zfs.call("clone", *options, snapshot, clone, subject=snapshot))
        return path


def _remove_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # some versions do it themselves
        path.rmdir()


def _checked_name(name: str) -> str:
    """``name``, if it can stand for a dataset on a command line."""
    if _FULL_NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"'{name}' is not the name of a ZFS dataset",
            hint="write POOL/DATASET: zfs list has them",
        )
    return name
