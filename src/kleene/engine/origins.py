"""What ``COPY --from`` copies from: the files of a snapshot, seen through a clone that goes with the build.

A snapshot never changes, so what a pattern takes out of it has one digest for ever: these are remembered as
long as the daemon runs, and a step that the cache has costs no clone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from kleene.build.context import Context
from kleene.build.selection import Selection
from kleene.engine import making
from kleene.engine.core import Core
from kleene.metadata.images import SnapshotRecord
from kleene.storage.driver import Snapshot

_KEPT = 10_000

_Key = tuple[str, tuple[str, ...], tuple[int, ...], tuple[str, ...]]

Digests = dict[_Key, str]
"""By snapshot, sources, and what ``--parents`` and ``--exclude`` make of these."""


class Origins(contextlib.AsyncExitStack):
    """The origins of one build: an async context manager that takes the clones away."""

    def __init__(self, core: Core, digests: Digests) -> None:
        super().__init__()
        self._core = core
        self._digests = digests
        self._contexts: dict[str, Context] = {}
        self._selected: dict[_Key, Selection] = {}
        self._lock = asyncio.Lock()

    async def digest(
        self,
        snapshot: SnapshotRecord,
        name: str,
        sources: tuple[str, ...],
        pivots: tuple[int, ...] = (),
        exclude: tuple[str, ...] = (),
    ) -> str:
        """The digest of what these sources take.

        Raises:
            InvalidInput: a source is not there.
        """
        key = snapshot.id, sources, pivots, exclude
        if key not in self._digests:
            if len(self._digests) >= _KEPT:
                self._digests.clear()
            taken = await self.select(snapshot, name, sources, pivots, exclude)
            self._digests[key] = await taken.digest()
        return self._digests[key]

    async def select(
        self,
        snapshot: SnapshotRecord,
        name: str,
        sources: tuple[str, ...],
        pivots: tuple[int, ...] = (),
        exclude: tuple[str, ...] = (),
    ) -> Selection:
        """What these sources take; ``name``: what the user calls the snapshot."""
        key = snapshot.id, sources, pivots, exclude
        if key not in self._selected:
            async with self._lock:  # several stages may ask for the same
                context = await self._context(snapshot, name)
            self._selected[key] = (await context.select(sources, pivots)).without(exclude)
        return self._selected[key]

    async def root(self, snapshot: SnapshotRecord, name: str) -> Path:
        """Where its files are on the host. Nobody may write to them."""
        async with self._lock:
            return Path((await self._context(snapshot, name)).path)

    @contextlib.asynccontextmanager
    async def writable(self, snapshot: SnapshotRecord) -> AsyncIterator[Path]:
        """Its files in a clone that is thrown away."""
        storage = self._core.platform.storage
        record = making.begin(self._core, base=snapshot.id)
        try:
            await storage.clone(Snapshot(snapshot.dataset, snapshot.id), record.dataset)
            yield storage.mountpoint(record.dataset)
        finally:
            await asyncio.shield(making.destroy(self._core, record))

    async def _context(self, snapshot: SnapshotRecord, name: str) -> Context:
        if snapshot.id not in self._contexts:
            storage = self._core.platform.storage
            record = making.begin(self._core, base=snapshot.id)
            self.push_async_callback(making.destroy, self._core, record)
            await storage.clone(Snapshot(snapshot.dataset, snapshot.id), record.dataset)
            root = storage.mountpoint(record.dataset)
            opened = await asyncio.to_thread(Context.of_image, root, name)
            self._contexts[snapshot.id] = self.enter_context(opened)
        return self._contexts[snapshot.id]
