"""Snapshots for a moment: the present state of a dataset, to be cloned or compared.

Each is written down as doomed before it is taken, so that the next daemon destroys what a crash leaves of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from kleene import names
from kleene.engine.core import Core
from kleene.metadata.space import SpaceStore
from kleene.storage.driver import Snapshot


@contextlib.asynccontextmanager
async def frozen(core: Core, dataset: str) -> AsyncIterator[Snapshot]:
    """A snapshot of a dataset, which goes with the block. Nobody may destroy the dataset meanwhile."""
    present = Snapshot(dataset, names.new_id())
    store = SpaceStore(core.database)
    core.frozen.add(present.name)
    try:
        store.doom_early(present.name, dataset)
        await core.platform.storage.snapshot(present)
        try:
            yield present
        finally:
            await core.platform.storage.destroy_snapshot(present)
            store.gone(present.name)
    finally:
        core.frozen.discard(present.name)
