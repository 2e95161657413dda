"""Space on disk on the wire: what objects hold, and what pruning would free. In bytes."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["image", "snapshot", "container", "volume", "mount", "context"]


class HeldObject(msgspec.Struct, kw_only=True):
    """An object that holds space.

    Attributes:
        kind: ``snapshot`` is the state after a step of a build, ``mount`` a cache mount,
            ``context`` an uploaded build context, or the files of all of them.
        id: of a volume its name.
        name: for people: of a snapshot its step.
        used: when it was made or last used, ISO 8601 in UTC.
        own: what comes free if it alone goes.
        size: all that it refers to, shared or not.
        prunable: nothing uses it, and a prune would take it.
    """

    kind: Kind
    id: str
    name: str
    used: str
    own: int
    size: int
    prunable: bool


class KindUsage(msgspec.Struct, kw_only=True):
    """All objects of one kind together.

    Attributes:
        active: how many are in use.
        own: what comes free if all of them go together.
        prunable: what comes free by the prune of this kind: all that is not in use.
    """

    kind: Literal["images", "containers", "volumes", "build cache", "build contexts"]
    count: int
    active: int
    own: int
    prunable: int
    objects: list[HeldObject]


class SystemUsage(msgspec.Struct, kw_only=True):
    """What ``GET /df`` tells.

    Attributes:
        own: what all objects hold together, each block counted once.
        prunable: what comes free if all is pruned: more than the sum of the kinds, where they share.
        free: what can still be written.
    """

    kinds: list[KindUsage]
    own: int
    prunable: int
    free: int


class PrunePlan(msgspec.Struct):
    """What a prune would take, and what comes free by all of it together."""

    objects: list[HeldObject]
    bytes: int


class SnapshotSize(msgspec.Struct):
    """A snapshot: what only it holds, and all that it refers to."""

    id: str
    own: int
    size: int


class ImageSize(msgspec.Struct):
    """An image on disk.

    Attributes:
        own: what comes free if it is removed.
        shared: of its last state, what stays then.
        size: all that its last state refers to.
    """

    own: int
    shared: int
    size: int
    snapshots: list[SnapshotSize]
