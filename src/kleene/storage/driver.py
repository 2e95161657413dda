"""The storage contract: datasets, snapshots of them, and new datasets cloned from snapshots.

A *dataset* is a writable file system, named by a path of two parts under the driver's root, such as
``image/4a103f27dad8`` or ``volume/db``; a *snapshot* is its frozen state, named by an id inside it.
The parts of a name match ``[a-zA-Z0-9][a-zA-Z0-9_.-]*`` and are checked by the driver.

What a driver owns is on disk and outlives the daemon. Every call is durable when it returns, and
leaves nothing half-made when it raises. No call but :meth:`StorageDriver.datasets` looks at more than the
datasets it names, so that each costs the same with one dataset and with a thousand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's name: the dataset that it froze and its own id."""

    dataset: str
    name: str

    def __str__(self) -> str:
        return f"{self.dataset}@{self.name}"


@dataclass(frozen=True)
class Usage:
    """Space in bytes. ``exclusive``: held by this object alone; ``referenced``: all that it shows."""

    exclusive: int
    referenced: int


@dataclass(frozen=True)
class Change:
    """A path, relative to the root of the dataset, that differs between two snapshots."""

    kind: Literal["added", "modified", "removed"]
    path: str


@dataclass(frozen=True)
class StorageCapabilities:
    """What a backend can do beyond the contract.

    Attributes:
        quota: :meth:`StorageDriver.set_quota` works.
        reflink: files can share blocks between datasets (``FICLONE``, ioctl_ficlonerange(2)).
    """

    quota: bool
    reflink: bool


class StorageDriver(Protocol):
    """A pool of datasets. All methods raise ``HostUnavailable`` when the pool is full or gone,
    ``NotFound`` when a dataset, snapshot or source does not exist, and ``Conflict`` when the name of
    what is to be made is taken."""

    @property
    def name(self) -> str:
        """``btrfs`` or ``zfs``."""
        ...

    @property
    def capabilities(self) -> StorageCapabilities: ...

    def mountpoint(self, dataset: str) -> Path:
        """Where the dataset's files are on the host. Computed, not looked up."""
        ...

    def host_name(self, dataset: str) -> str:
        """The dataset as the host's own tools call it (``pool/kleene/image/ID``, or a path)."""
        ...

    async def create(self, dataset: str) -> None:
        """Make an empty dataset. Its root is a directory of mode 0755 that belongs to root."""
        ...

    async def clone(self, snapshot: Snapshot, dataset: str) -> None:
        """Make a dataset that begins as the snapshot and shares its blocks."""
        ...

    async def snapshot(self, snapshot: Snapshot) -> None:
        """Freeze the present state of ``snapshot.dataset`` under ``snapshot.name``."""
        ...

    async def destroy(self, dataset: str) -> None:
        """Take the dataset and its snapshots away; unknown datasets are passed over.

        The name is free at once. Where other datasets were cloned from its snapshots, the space comes
        back when the last of them is gone; the caller never hears of it.
        """
        ...

    async def destroy_snapshot(self, snapshot: Snapshot) -> None:
        """Take one snapshot away, under the same terms as :meth:`destroy`."""
        ...

    async def exists(self, dataset: str) -> bool: ...

    async def datasets(self) -> list[str]:
        """All datasets, sorted. Walks the pool: for reconciliation at start only."""
        ...

    async def snapshots(self, dataset: str) -> list[str]:
        """Ids of the dataset's snapshots, sorted by name."""
        ...

    async def usage(self, dataset: str) -> Usage: ...

    async def pool_free(self) -> int:
        """Bytes that can still be written to the pool."""
        ...

    async def set_quota(self, dataset: str, limit: int | None) -> None:
        """Limit the dataset to ``limit`` bytes, or lift the limit. Who writes more gets ``EDQUOT``.

        Needs ``capabilities.quota``. Clones of the dataset have no limit of their own.

        Raises:
            Conflict: it holds more already.
        """
        ...

    async def copy_foreign(self, source: str, dataset: str) -> None:
        """Make a dataset as an independent copy of one that Kleene does not own, as it is now.

        Args:
            source: as the host's tools name it: a ZFS dataset, or the absolute path of a subvolume.
        """
        ...

    async def clone_foreign(self, source: str, dataset: str) -> None:
        """Make a dataset as a clone of one that Kleene does not own; both must lie in one pool."""
        ...

    async def send(self, snapshot: Snapshot, fd: int, *, base: Snapshot | None = None) -> None:
        """Write the snapshot as the backend's own stream to ``fd``, whole or as the change since ``base``."""
        ...

    async def receive(self, dataset: str, fd: int) -> None:
        """Make a dataset from a whole stream that :meth:`send` wrote."""
        ...

    def diff(self, older: Snapshot, newer: Snapshot) -> AsyncIterator[Change]:
        """What changed between two snapshots of one dataset, or of a dataset and its clone."""
        ...

    async def close(self) -> None:
        """Release what the driver holds in this process. The pool stays mounted: containers use it."""
        ...
