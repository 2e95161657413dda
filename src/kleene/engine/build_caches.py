"""The caches of ``RUN --mount=type=cache``: a dataset for each, which outlives builds and the daemon.

Also who may have one when. ``shared``: any number of steps at once; ``locked``: one at a time, others wait;
``private``: a step that finds it taken gets another one. Steps of one daemon see each other's uses; two
daemons do not share a pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from kleene.build.mounts import RunMount
from kleene.engine.core import Core, now
from kleene.errors import Conflict, NotFound
from kleene.host import inroot
from kleene.metadata.caches import CacheRecord

Fill = Callable[[Path], Awaitable[None]]
"""Puts into a new cache what it begins with."""


class BuildCaches:
    """All caches of the daemon."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.caches
        self._uses: dict[str, int] = {}  # number of steps that have it; -1: one that has it alone
        self._freed = asyncio.Condition()

    def in_use(self, cache_id: str) -> bool:
        """Whether a step has a cache at this moment."""
        return cache_id in self._uses

    async def remove(self, cache_id: str) -> None:
        """Take a cache away.

        Raises:
            NotFound: there is none of this id.
            Conflict: a build has it.
        """
        record = self._store.caches.get(cache_id)
        if record is None:
            raise NotFound(f"no such build cache: '{cache_id}'", hint="klee build prune --help")
        if not self._take(cache_id, alone=True):
            raise Conflict(
                f"build cache '{record.name}' is used by a build", hint="try again after the build"
            )
        try:
            await self.destroy(record)
        finally:
            await self._give_back(cache_id)

    async def destroy(self, record: CacheRecord) -> None:
        """Take the dataset away, then the row; for reconciliation too."""
        await self._core.platform.storage.destroy(record.dataset)
        self._store.caches.delete(record.id)

    @contextlib.asynccontextmanager
    async def held(self, mount: RunMount, base: str, fill: Fill) -> AsyncIterator[Path]:
        """The directory of a cache on the host, as long as the block lasts; waits until it may be had.

        Args:
            base: digest of what it begins with; ``""`` for nothing.
            fill: called if it is new.
        """
        cache_id = await self._acquire(mount, base)
        try:
            yield await self._opened(cache_id, mount, fill)
        finally:
            await asyncio.shield(self._give_back(cache_id))

    async def _acquire(self, mount: RunMount, base: str) -> str:
        if mount.sharing == "private":
            number = 0
            while not self._take(found := cache_key(mount, base, number), alone=True):
                number += 1
            return found
        found, alone = cache_key(mount, base), mount.sharing == "locked"
        async with self._freed:
            await self._freed.wait_for(lambda: self._take(found, alone=alone))
        return found

    def _take(self, cache_id: str, *, alone: bool) -> bool:
        uses = self._uses.get(cache_id, 0)
        if uses < 0 or (alone and uses):
            return False
        self._uses[cache_id] = -1 if alone else uses + 1
        return True

    async def _give_back(self, cache_id: str) -> None:
        self._uses[cache_id] = max(0, self._uses[cache_id] - 1)
        if not self._uses[cache_id]:
            del self._uses[cache_id]
        async with self._freed:
            self._freed.notify_all()

    async def _opened(self, cache_id: str, mount: RunMount, fill: Fill) -> Path:
        async with self._core.locks.hold(f"cache/{cache_id}"):
            record = self._store.caches.get(cache_id)
            storage = self._core.platform.storage
            if record is None:
                record = CacheRecord(cache_id, mount.id, "making", now(), now())
                self._store.caches.insert(record)
                try:
                    await storage.create(record.dataset)
                    root = storage.mountpoint(record.dataset)
                    await fill(root)
                    await asyncio.to_thread(_look, root, mount)
                except BaseException:
                    await asyncio.shield(self.destroy(record))
                    raise
            self._store.caches.update(cache_id, state="ready", used=now())
            return storage.mountpoint(record.dataset)


def cache_key(mount: RunMount, base: str, number: int = 0) -> str:
    """The id of the cache that a mount means. As in BuildKit, what it begins with and looks like counts."""
    said = [mount.id, mount.mode, mount.uid, mount.gid, base, *([number] if number else [])]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _look(root: Path, mount: RunMount) -> None:
    with inroot.root_fd(root) as fd:
        directory = inroot.open_in_root(fd, ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fchown(directory, mount.uid, mount.gid)
            os.fchmod(directory, mount.mode)
        finally:
            os.close(directory)
