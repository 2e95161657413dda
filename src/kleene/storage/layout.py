"""What every backend agrees on: which names are valid, and how a missing or taken one is told. Pure."""

from __future__ import annotations

import re

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.storage.driver import Snapshot

_PART = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_PART_MAX = 128


def _is_part(text: str) -> bool:
    return len(text) <= _PART_MAX and _PART.fullmatch(text) is not None


def dataset_parts(dataset: str) -> tuple[str, str]:
    """The two parts of a dataset's name.

    Raises:
        InvalidInput: there are not two, or one has a character that it may not have.
    """
    parts = dataset.split("/")
    if len(parts) != 2 or not all(_is_part(part) for part in parts):
        raise InvalidInput(
            f"dataset name '{dataset}' is not valid",
            hint="write two parts with one '/' between; each of letters, digits, '_', '.', '-', "
            "and beginning with a letter or digit",
        )
    return parts[0], parts[1]


def snapshot_parts(snapshot: Snapshot) -> tuple[str, str, str]:
    """The two parts of the dataset's name, and the snapshot's own.

    Raises:
        InvalidInput: one of them is not valid.
    """
    parts = dataset_parts(snapshot.dataset)
    if not _is_part(snapshot.name):
        raise InvalidInput(
            f"snapshot name '{snapshot.name}' is not valid",
            hint="use letters, digits, '_', '.', '-'; begin with a letter or digit",
        )
    return *parts, snapshot.name


def missing(subject: str) -> NotFound:
    """The error for what is not there; ``subject`` is as in ``dataset 'image/x'``."""
    return NotFound(f"{subject} does not exist")


def taken(subject: str) -> Conflict:
    """The error for a name that something else has."""
    return Conflict(f"{subject} exists already", hint="choose another name, or remove it first")


def pool_full(pool: object) -> HostUnavailable:
    """The error for a pool without space."""
    return HostUnavailable(
        f"storage pool '{pool}' is full",
        hint="remove what is no longer needed: klee container prune, klee image prune, klee volume prune",
    )


def holds_more(dataset: str, limit: int) -> Conflict:
    """The error for a limit that a dataset exceeds already."""
    return Conflict(
        f"dataset '{dataset}' holds more than {limit} bytes already",
        hint="allow more, or delete files in it first",
    )
