"""Volumes in the metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kleene.metadata.database import Database
from kleene.metadata.table import Table


@dataclass(frozen=True)
class VolumeRecord:
    """A row of ``volumes``."""

    name: str
    state: Literal["making", "ready", "removing"]
    created: str

    @property
    def dataset(self) -> str:
        return f"volume/{self.name}"


class VolumeStore:
    """Reads and writes of volumes."""

    def __init__(self, database: Database) -> None:
        self.volumes = Table(database, "volumes", VolumeRecord)

    def ready(self) -> list[VolumeRecord]:
        """The volumes that a user can see, oldest first."""
        return self.volumes.where("state = 'ready'")
