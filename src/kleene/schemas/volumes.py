"""Volumes on the wire. Documented API: VolumeConfig, Volume, VolumeInspect."""

from __future__ import annotations

import msgspec

from kleene.schemas.containers import MountPoint


class VolumeConfig(msgspec.Struct):
    """A volume that is asked for."""

    name: str


class Volume(msgspec.Struct):
    """A volume: a dataset that outlives the containers that mount it."""

    name: str
    dataset: str
    mountpoint: str
    created: str


class VolumeInspect(msgspec.Struct):
    """A volume and its mounts."""

    volume: Volume
    mountpoints: list[MountPoint]
