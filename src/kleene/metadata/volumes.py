"""Volumes in the metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kleene.metadata.database import Database
from kleene.metadata.table import Table

State = Literal["making", "ready", "removing"]


@dataclass(frozen=True)
class VolumeRecord:
    """A row of ``volumes``.

    A row whose name begins with ``@``, which no user's can, is a state of a volume that is only on its way:
    it comes or goes, and never is ``ready``.

    Attributes:
        dataset: its present state. Earlier ones may lie in others: :class:`VolumeSnapshotRecord`.
        quota: bytes that it may hold; ``None`` for no limit.
    """

    name: str
    state: State
    created: str
    dataset: str
    quota: int | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VolumeSnapshotRecord:
    """A row of ``volume_snapshots``: a state of a volume that was kept.

    Attributes:
        id: the snapshot's in the dataset.
        name: unique in the volume.
        dataset: where it lies: not the volume's own any more once the volume was restored.
    """

    id: str
    volume: str
    name: str
    dataset: str
    state: State
    created: str


class VolumeStore:
    """Reads and writes of volumes."""

    def __init__(self, database: Database) -> None:
        self.volumes = Table(database, "volumes", VolumeRecord)
        self.snapshots = Table(database, "volume_snapshots", VolumeSnapshotRecord)

    def ready(self) -> list[VolumeRecord]:
        """The volumes that a user can see, oldest first."""
        return self.volumes.where("state = 'ready'")

    def snapshots_of(self, volume: str) -> list[VolumeSnapshotRecord]:
        """The snapshots of a volume that a user can see, oldest first."""
        return self.snapshots.where("state = 'ready' AND volume = ?", [volume])

    def snapshot(self, volume: str, name: str) -> VolumeSnapshotRecord | None:
        """One of them."""
        found = self.snapshots.where("state = 'ready' AND volume = ? AND name = ?", [volume, name])
        return found[0] if found else None

    def datasets_of(self, volume: str) -> set[str]:
        """The datasets that any state of a volume lies in."""
        record = self.volumes.get(volume)
        own = set() if record is None else {record.dataset}
        return own | {s.dataset for s in self.snapshots.where("volume = ?", [volume])}
