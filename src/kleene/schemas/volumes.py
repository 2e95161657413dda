"""Volumes on the wire. Documented API: VolumeConfig, Volume, VolumeInspect."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kleene.schemas.containers import MountPoint

Quota = Annotated[int, msgspec.Meta(ge=1048576, le=2**62)]
"""Bytes that a volume may hold; less than a mebibyte would not hold a file system's own records."""


class VolumeConfig(msgspec.Struct):
    """A volume that is asked for.

    Attributes:
        quota: bytes that it may hold; ``None`` for no limit.
        labels: name -> value.
    """

    name: str
    quota: Quota | None = None
    labels: dict[str, str] = {}


class VolumeUpdate(msgspec.Struct):
    """What a volume shall be from now on. ``quota``: bytes that it may hold; ``None`` lifts the limit."""

    quota: Quota | None


class Volume(msgspec.Struct):
    """A volume: a dataset that outlives the containers that mount it.

    Attributes:
        quota: bytes that it may hold; ``None`` for no limit.
    """

    name: str
    dataset: str
    mountpoint: str
    created: str
    quota: int | None = None
    labels: dict[str, str] = {}


class VolumeSnapshot(msgspec.Struct):
    """A state of a volume that was kept."""

    name: str
    created: str


class VolumeSnapshotConfig(msgspec.Struct):
    """A snapshot that is asked for; the daemon finds a ``name`` if none is given."""

    name: str = ""


class VolumeCloneConfig(msgspec.Struct):
    """A new volume that begins as another one is, or as one of its snapshots.

    Attributes:
        name: of the new volume.
        snapshot: name of a snapshot; ``""`` for the present state.
    """

    name: str
    snapshot: str = ""


class VolumeInspect(msgspec.Struct):
    """A volume, its mounts and its snapshots."""

    volume: Volume
    mountpoints: list[MountPoint]
    snapshots: list[VolumeSnapshot] = []
