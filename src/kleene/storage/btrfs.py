"""The btrfs backend: every dataset a subvolume, every snapshot a read-only one.

Asks the kernel directly, in threads of its own; only send, receive and usage start the ``btrfs`` tool. What
it owns on disk is told in :mod:`kleene.storage.btrfs_pool`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from kleene.errors import InvalidInput
from kleene.host.threads import in_thread
from kleene.storage import btrfs_ioctl, btrfs_quota, btrfs_transfer
from kleene.storage.btrfs_changes import names, told
from kleene.storage.btrfs_cleaning import settle_if_short
from kleene.storage.btrfs_pool import DATASETS, SNAPSHOTS, Pool, open_foreign
from kleene.storage.btrfs_space import SpaceMeter
from kleene.storage.compare import Kinship, changes
from kleene.storage.driver import Change, Part, Snapshot, StorageCapabilities, Usage
from kleene.storage.layout import dataset_parts, holds_more, snapshot_parts
from kleene.storage.settle import settled

_T = TypeVar("_T")
_THREADS = 8
_BATCH = 512
_TICK = 0.05  # seconds; no kernel's clock is coarser


class BtrfsDriver:
    """A pool in one directory of a mounted btrfs. Made by :meth:`open`."""

    def __init__(self, pool: Pool, backing: Path | None) -> None:
        self._pool = pool
        self._backing = backing
        self._meter = SpaceMeter(pool)
        self._measuring = asyncio.Lock()
        self._shown = btrfs_quota.Shown()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kleene-btrfs")

    @classmethod
    async def open(cls, root: Path, *, backing: Path | None = None) -> BtrfsDriver:
        """Open the pool in ``root``, made at need, and remove what an interrupted call left half-made.

        Args:
            backing: the sparse file that holds the file system, if it is one: what its own host has
                left then bounds :meth:`pool_free`.

        Raises:
            HostUnavailable: ``root`` does not lie on a btrfs.
        """
        pool = await asyncio.to_thread(Pool.open, root)
        if backing is not None:  # the file system is our own: nobody else is asked
            await asyncio.to_thread(btrfs_quota.switch_on, pool.fd)
        return cls(pool, backing)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._pool.close()

    @property
    def name(self) -> str:
        return "btrfs"

    @property
    def capabilities(self) -> StorageCapabilities:
        quota = btrfs_quota.is_on(self._pool.fd)
        return StorageCapabilities(quota=quota, reflink=True, independent_clones=True)

    def mountpoint(self, dataset: str) -> Path:
        return self._pool.root.joinpath(DATASETS, *dataset_parts(dataset))

    def host_name(self, dataset: str) -> str:
        return str(self.mountpoint(dataset))

    def _snapshot_path(self, snapshot: Snapshot) -> Path:
        return self._pool.root.joinpath(SNAPSHOTS, *snapshot_parts(snapshot))

    async def create(self, dataset: str) -> None:
        await self._call(lambda: settle_if_short(self._pool.fd))
        await self._make_dataset(dataset, lambda: self._pool.create(dataset))

    async def clone(self, snapshot: Snapshot, dataset: str) -> None:
        def clone() -> None:
            settle_if_short(self._pool.fd)
            with self._pool.snapshot(snapshot) as source:
                self._pool.clone(source, dataset)

        await self._make_dataset(dataset, clone)

    async def snapshot(self, snapshot: Snapshot) -> None:
        await self._call(
            lambda: self._pool.freeze(snapshot),
            undo=lambda: self._pool.destroy_snapshot(snapshot),
        )

    async def destroy(self, dataset: str) -> None:
        await self._call(lambda: self._pool.destroy(dataset))

    async def destroy_snapshot(self, snapshot: Snapshot) -> None:
        await self._call(lambda: self._pool.destroy_snapshot(snapshot))

    async def exists(self, dataset: str) -> bool:
        return await self._call(lambda: self._pool.exists(dataset))

    async def datasets(self) -> list[str]:
        return await self._call(self._pool.datasets)

    async def snapshots(self, dataset: str) -> list[str]:
        return await self._call(lambda: self._pool.snapshots(dataset))

    async def usage(self, dataset: str) -> Usage:
        """As the contract says, of the files' data. Reads the place of every extent in the dataset."""
        await self._call(lambda: self._pool.check(dataset))
        return await btrfs_transfer.usage(self.mountpoint(dataset))

    async def space(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        """As the contract says; files of up to 2 KiB lie in the metadata and are not counted."""
        async with self._measuring:
            return await in_thread(lambda stop: self._meter.measure(groups, stop.check))

    @contextlib.asynccontextmanager
    async def view(self, snapshot: Snapshot) -> AsyncIterator[Path]:
        await self._checked(snapshot)
        yield self._snapshot_path(snapshot)

    async def pool_free(self) -> int:
        free = self._pool.free()
        if self._backing is None:
            return free
        host = os.statvfs(self._backing)
        return min(free, host.f_bavail * host.f_frsize)

    async def set_quota(self, dataset: str, limit: int | None) -> None:
        if not self.capabilities.quota:
            raise btrfs_quota.unavailable(self._pool.root, dataset)
        await self._call(lambda: self._limit(dataset, limit))

    def _limit(self, dataset: str, limit: int | None) -> None:
        with self._pool.dataset(dataset) as fd:
            if not self._shown.limit(fd, limit):
                raise holds_more(dataset, limit or 0)

    async def renew_quota(self, dataset: str, limit: int) -> None:
        def renew() -> None:
            with self._pool.dataset(dataset) as fd:
                self._shown.renew(fd, limit)

        await self._call(renew)

    async def copy_foreign(self, source: str, dataset: str) -> None:
        fd = await self._call(lambda: open_foreign(source))
        try:
            if self._pool.shares(fd):
                await self._make_dataset(dataset, lambda: self._pool.clone(fd, dataset))
            elif btrfs_ioctl.subvolume_info(fd).readonly:
                await self._transfer(source, dataset)
            else:
                await self._freeze_and_transfer(fd, source, dataset)
        finally:
            os.close(fd)

    async def _freeze_and_transfer(self, fd: int, source: str, dataset: str) -> None:
        """Only a read-only subvolume can be sent: take one, inside the source, for as long as it takes."""
        name = f".kleene-{secrets.token_hex(8)}"
        await self._call(
            lambda: btrfs_ioctl.create_snapshot(fd, fd, name, readonly=True),
            undo=lambda: self._pool.drop_temporary(fd, name),
        )
        try:
            await self._transfer(f"{source}/{name}", dataset)
        finally:
            await self._call(lambda: self._pool.drop_temporary(fd, name))

    async def _transfer(self, path: str, dataset: str) -> None:
        await btrfs_transfer.pipe(path, lambda fd: self.receive(dataset, fd))

    async def clone_foreign(self, source: str, dataset: str) -> None:
        fd = await self._call(lambda: open_foreign(source))
        try:
            if not self._pool.shares(fd):
                raise InvalidInput(
                    f"subvolume '{source}' is not in the file system of '{self._pool.root}'",
                    hint="copy it instead of cloning it",
                )
            await self._make_dataset(dataset, lambda: self._pool.clone(fd, dataset))
        finally:
            os.close(fd)

    async def send(self, snapshot: Snapshot, fd: int, *, base: Snapshot | None = None) -> None:
        since = [] if base is None else ["-p", await self._checked(base)]
        await btrfs_transfer.send([*since, await self._checked(snapshot)], fd)

    async def _checked(self, snapshot: Snapshot) -> str:
        await self._call(lambda: self._pool.created(snapshot))
        return str(self._snapshot_path(snapshot))

    async def receive(self, dataset: str, fd: int) -> None:
        await self._call(lambda: self._pool.check_free(dataset))
        incoming = await self._call(self._pool.make_incoming)
        try:
            await btrfs_transfer.receive(fd, incoming, dataset)
            await self._make_dataset(dataset, lambda: self._pool.adopt(incoming, dataset))
        finally:
            await self._call(lambda: self._pool.drop_incoming(incoming))

    async def diff(
        self,
        older: Snapshot,
        newer: Snapshot,
        *,
        related: bool = True,
        origin: Snapshot | None = None,
    ) -> AsyncIterator[Change]:
        taken = [await self._call(partial(self._pool.created, each)) for each in (older, newer)]
        old, new = self._snapshot_path(older), self._snapshot_path(newer)
        if related:
            kinship = Kinship(min(taken) - _TICK, by_content=False)
            found = told(old, new, await names(old, new), kinship)
        elif origin is not None:
            past = await self._call(partial(self._pool.created, origin))
            found = changes(old, new, Kinship(past - _TICK))
        else:
            found = changes(old, new, Kinship())
        try:
            while batch := await self._call(lambda: list(islice(found, _BATCH))):
                for change in batch:
                    yield change
        finally:
            await self._call(found.close)

    async def _make_dataset(self, dataset: str, make: Callable[[], None]) -> None:
        await self._call(make, undo=lambda: self._pool.destroy(dataset))

    async def _call(self, work: Callable[[], _T], *, undo: Callable[[], None] | None = None) -> _T:
        """Run ``work`` in a thread. Who is cancelled meanwhile waits for it all the same, and undoes it."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        return await settled(running, undo=None if undo is None else lambda: self._call(undo))
