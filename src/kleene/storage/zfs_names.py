"""How the ZFS backend calls things. Pure.

A snapshot's name in ZFS is its own and a random part, ``NAME:RANDOM``, so that a destroyed one that has
clones yet is in nobody's way: neither of a new one of its name, nor in another dataset that takes it over. A
property tells that it is destroyed; renaming it instead would make zfs-fuse unmount its clones.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from kleene.storage.driver import Snapshot
from kleene.storage.layout import dataset_parts, snapshot_parts

TRASH = "_trash"
GONE = "kleene:gone"
"""User property of a snapshot that only its clones keep. Not inherited: no dataset has it."""


@dataclass(frozen=True)
class Names:
    """The full names of what lies below the root dataset ``root``, mounted below ``mountpoint``."""

    root: str
    mountpoint: Path

    @property
    def trash(self) -> str:
        return f"{self.root}/{TRASH}"

    def dataset(self, dataset: str) -> str:
        return "/".join((self.root, *dataset_parts(dataset)))

    def path(self, dataset: str) -> Path:
        return self.mountpoint.joinpath(*dataset_parts(dataset))

    def new_snapshot(self, snapshot: Snapshot) -> str:
        group, name, frozen = snapshot_parts(snapshot)
        return f"{self.root}/{group}/{name}@{frozen}:{_random()}"

    def new_in_trash(self) -> str:
        return f"{self.trash}/{_random()}"

    def is_trash(self, dataset: str) -> bool:
        return dataset.startswith(f"{self.trash}/")


def temporary(dataset: str) -> str:
    """A name for a snapshot that none of the contract's can have."""
    return f"{dataset}@:{_random()}"


def own_name(full: str) -> str:
    """The contract's name of a snapshot, from its full name in ZFS."""
    return full.partition("@")[2].rpartition(":")[0]


def _random() -> str:
    return secrets.token_hex(8)
