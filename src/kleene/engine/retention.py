"""How much builds may leave behind: old, large or numerous leftovers go by themselves, the least used first.

Leftovers are the snapshots of steps that no image is, failed builds, images without a name, and the caches
of ``RUN --mount`` that no step has. What a container was made from, what a build works with, and the state of
every named image stay, whatever the limits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NoReturn

from kleene.engine.core import iso_time, log
from kleene.engine.holdings import Holdings
from kleene.engine.retention_limits import Limits
from kleene.engine.space import Entry, Space, leftovers, parts_of
from kleene.errors import KleeneError

_FIRST = 60.0  # seconds after the start: not while containers are brought up


class Retention:
    """Keeps leftovers within limits, as long as the daemon runs."""

    def __init__(self, space: Space, limits: Limits) -> None:
        self._space = space
        self.limits = limits

    async def run(self) -> NoReturn:
        """Enforce the limits now and then."""
        await asyncio.sleep(min(_FIRST, self.limits.interval))
        while True:
            try:
                await self.enforce()
            except KleeneError as error:
                log.warning("retention: %s", error.message)
            await asyncio.sleep(self.limits.interval)

    async def enforce(self) -> list[str]:
        """Take away what is beyond the limits; the ids of what went."""
        held = self._space.holdings()
        found = await asyncio.to_thread(leftovers, held, self._space.mounts())
        entries = sorted(found, key=lambda e: e.shown.used)
        surplus = self._too_old_or_many(entries)
        surplus = max(surplus, await self._too_large(held, entries, surplus))
        gone = await self._space.discard(self._still(entries[:surplus])) if surplus else []
        if gone:
            log.info("retention: removed %d leftovers of builds", len(gone))
        return gone

    def _still(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are leftovers still: a build or a container may have taken one meanwhile."""
        now = {e.shown.id for e in leftovers(self._space.holdings(), self._space.mounts())}
        return [entry for entry in entries if entry.shown.id in now]

    def _too_old_or_many(self, entries: Sequence[Entry]) -> int:
        """How many of the least used are beyond the limits of age and count."""
        surplus = 0
        if self.limits.count is not None:
            surplus = max(len(entries) - self.limits.count, 0)
        if self.limits.age is not None:
            oldest = iso_time(time.time() - self.limits.age)
            surplus = max(surplus, sum(entry.shown.used < oldest for entry in entries))
        return surplus

    async def _too_large(self, held: Holdings, entries: Sequence[Entry], surplus: int) -> int:
        """How many of the least used must go at least, for the rest to be within the limit of size."""
        if self.limits.size is None or not entries:
            return surplus
        whole = await self._freed(held, entries)
        excess = whole - self.limits.size
        low, high = surplus, len(entries)
        while excess > 0 and low < high:
            middle = (low + high) // 2
            if await self._freed(held, entries[:middle]) >= excess:
                high = middle
            else:
                low = middle + 1
        return low

    async def _freed(self, held: Holdings, entries: Sequence[Entry]) -> int:
        (usage,) = await self._space.measure([parts_of(held, entries)])
        return usage.exclusive
