"""What containers use at this moment. Holds nothing: rates are for who asks twice."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from kleene.engine import lookup
from kleene.engine.core import Core, iso_time
from kleene.errors import Conflict, NotFound
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.containers import ContainerStats

_SECOND = 1e9


class Stats:
    """What all containers use."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def of(self, reference: str) -> ContainerStats:
        """What one container uses.

        Raises:
            Conflict: it does not run.
        """
        record = lookup.container(self._core.containers, reference)
        if record.running:
            return await self._measured(record)
        raise Conflict(
            f"container '{record.name}' is not running",
            hint=f"start it first: klee start {record.name}",
        )

    async def all(self) -> list[ContainerStats]:
        """What all running containers use, oldest first; those that stop meanwhile are left out."""
        found = []
        for record in self._core.containers.ready(running_only=True):
            try:
                found.append(await self._measured(record))
            except NotFound:
                continue
        return found

    async def _measured(self, record: ContainerRecord) -> ContainerStats:
        usage = await self._core.platform.runtime.usage(record.id)
        return ContainerStats(
            id=record.id,
            name=record.name,
            time=iso_time(datetime.now(UTC).timestamp()),
            cpu_seconds=usage.cpu / _SECOND,
            processors=os.cpu_count() or 1,
            memory=usage.memory,
            memory_limit=usage.memory_limit,
            pids=usage.pids,
            read_bytes=usage.read,
            written_bytes=usage.written,
            received_bytes=usage.received,
            sent_bytes=usage.sent,
        )
