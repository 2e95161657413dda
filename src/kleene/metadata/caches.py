"""Build caches in the metadata: the directories of ``RUN --mount=type=cache``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kleene.metadata.database import Database
from kleene.metadata.table import Table


@dataclass(frozen=True)
class CacheRecord:
    """A row of ``build_caches``.

    Attributes:
        id: 12 hex digits, derived from all that makes two mounts share a cache.
        name: as the Dockerfile says it.
        used: when a step last had it.
    """

    id: str
    name: str
    state: Literal["making", "ready"]
    created: str
    used: str

    @property
    def dataset(self) -> str:
        return f"cache/{self.id}"


class CacheStore:
    """Reads and writes of build caches."""

    def __init__(self, database: Database) -> None:
        self.caches = Table(database, "build_caches", CacheRecord)

    def ready(self) -> list[CacheRecord]:
        """Those that have something in them, oldest first."""
        return self.caches.where("state = 'ready'")
