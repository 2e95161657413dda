"""What all services of the engine share: the drivers, the metadata, the locks, while the daemon runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from kleene.engine.events import Events
from kleene.engine.locks import KeyedLocks
from kleene.engine.platform import Platform
from kleene.metadata.caches import CacheStore
from kleene.metadata.containers import ContainerStore
from kleene.metadata.database import Database
from kleene.metadata.images import ImageStore
from kleene.metadata.networks import NetworkStore
from kleene.metadata.stored_files import StoredFileStore
from kleene.metadata.volumes import VolumeStore
from kleene.schemas.settings import Health

T = TypeVar("T")

log = logging.getLogger("kleene.engine")


class Core:
    """Drivers, stores and locks, and the tasks that run beside the requests.

    Attributes:
        health: how the containers are that are up and have a health check, by their ids.
        frozen: ids of snapshots that are in use for a moment; see :mod:`kleene.engine.frozen`.
    """

    def __init__(self, platform: Platform, database: Database) -> None:
        self.platform = platform
        self.database = database
        self.images = ImageStore(database)
        self.containers = ContainerStore(database)
        self.networks = NetworkStore(database)
        self.volumes = VolumeStore(database)
        self.caches = CacheStore(database)
        self.stored_files = StoredFileStore(database)
        self.locks = KeyedLocks()
        self.events = Events()
        self.health: dict[str, Health] = {}
        self.frozen: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def background(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run ``work`` beside the requests; what it raises is logged, not lost."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task %s failed", task.get_name(), exc_info=error)

    async def cancel_background(self) -> None:
        """Cancel what runs beside the requests, and wait for it to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def now() -> str:
    """The present time, ISO 8601 in UTC, to the microsecond (so that it sorts)."""
    return iso_time(datetime.now(UTC).timestamp())


def iso_time(moment: float) -> str:
    """A time in seconds since the epoch, in the same way."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
