"""The storage contract: datasets, snapshots of them, and new datasets cloned from snapshots.

A *dataset* is a writable file system, named by a path of two parts under the driver's root, such as
``image/4a103f27dad8`` or ``volume/db``; a *snapshot* is its frozen state, named by an id inside it.
The parts of a name match ``[a-zA-Z0-9][a-zA-Z0-9_.-]*`` and are checked by the driver.

What a driver owns is on disk and outlives the daemon. Every call is durable when it returns, and
leaves nothing half-made when it raises. No call but :meth:`StorageDriver.datasets` looks at more than the
datasets it names, so that each costs the same with one dataset and with a thousand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
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
class Files:
    """A file outside the datasets, or a directory with all in it, by its path on the host.

    What it has may share blocks with files in datasets, if it lies in the pool's file system.
    """

    path: str


Part = str | Snapshot | Files
"""What holds space: a dataset without its snapshots, one snapshot, or other files."""


@dataclass(frozen=True)
class Usage:
    """Space in bytes. ``exclusive``: held by this object alone; ``referenced``: all that it shows."""

    exclusive: int
    referenced: int

    def __add__(self, other: Usage) -> Usage:
        """Of both, which have nothing in common."""
        return Usage(self.exclusive + other.exclusive, self.referenced + other.referenced)


@dataclass(frozen=True)
class Change:
    """A path, relative to the root of the dataset, that differs between two snapshots.

    Attributes:
        before, after: size in bytes of the regular file; ``None`` for what is none, or is not there.
    """

    kind: Literal["added", "modified", "removed"]
    path: str
    before: int | None = field(default=None, compare=False)
    after: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class StorageCapabilities:
    """What a backend can do beyond the contract.

    Attributes:
        quota: :meth:`StorageDriver.set_quota` works.
        reflink: files can share blocks between datasets (``FICLONE``, ioctl_ficlonerange(2)).
        independent_clones: a snapshot's space comes back when it is destroyed, whatever was cloned from it.
    """

    quota: bool
    reflink: bool
    independent_clones: bool


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

    async def space(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        """For each group of datasets, snapshots and files, what it holds on disk.

        ``exclusive`` is what comes free when all of the group is destroyed together, which is more than the
        sum of its members' own; ``referenced`` is all that it refers to, each block counted once. Of file
        data as it is allocated, compressed if it is. Parts that do not exist count nothing. Of files that no
        group has it is not known that they share something. Reads the place of every extent in the pool that
        it did not read before: not for a hot path.
        """
        ...

    async def pool_free(self) -> int:
        """Bytes that can still be written to the pool."""
        ...

    async def set_quota(self, dataset: str, limit: int | None) -> None:
        """Limit what the dataset shows to ``limit`` bytes, or lift the limit. To write more is ``EDQUOT``.

        Needs ``capabilities.quota``. Clones of the dataset have no limit of their own.

        Raises:
            Conflict: it shows more already.
            HostUnavailable: the storage has no quotas; why, and what to do.
        """
        ...

    async def renew_quota(self, dataset: str, limit: int) -> None:
        """Have the limit that was set be about what the dataset shows, if the storage counts something else
        and the limit is near; to be called every few seconds, in which it may be too strict."""
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

    def diff(
        self,
        older: Snapshot,
        newer: Snapshot,
        *,
        related: bool = True,
        origin: Snapshot | None = None,
    ) -> AsyncIterator[Change]:
        """What changed between two snapshots, in no certain order but directories before their content.

        Args:
            related: one was made from the other, by whatever snapshots and clones: only what was written
                since is read. Else names, modes, owners and contents are compared, and times are not.
            origin: of those that are not related, a snapshot that both were made from: what neither wrote
                since is not read.
        """
        ...

    def view(self, snapshot: Snapshot) -> AbstractAsyncContextManager[Path]:
        """A directory of the host with the snapshot's files, read-only, for as long as it is held."""
        ...

    async def close(self) -> None:
        """Release what the driver holds in this process. The pool stays mounted: containers use it."""
        ...
