"""The mounts of a RUN as they are kept with the step, so that it can be entered as it was. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kleene.build.mounts import RunMount
from kleene.metadata.images import SnapshotRecord
from kleene.schemas.history import StepMountInfo


def described(
    mounts: Sequence[RunMount], states: Mapping[int | str, SnapshotRecord]
) -> list[StepMountInfo]:
    """What is known of mounts before the step is taken. ``states``: what they may refer to."""
    return [_described(mount, states) for mount in mounts]


def _described(mount: RunMount, states: Mapping[int | str, SnapshotRecord]) -> StepMountInfo:
    state = None if mount.origin is None else states.get(mount.origin)
    return StepMountInfo(
        kind=mount.kind,
        target=mount.target,
        source=mount.source,
        origin=mount.origin_name,
        snapshot=state.id if state else "",
        read_only=mount.read_only,
        id=mount.id,
        sharing=mount.sharing,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
        env=mount.env,
        size=mount.size,
    )


def with_digests(mounts: Sequence[StepMountInfo], digest: str | None) -> list[StepMountInfo]:
    """The mounts with what is known of their files. ``digest``: one for each that has any, in their order."""
    found = iter(digest.split() if digest else ())
    return [
        msgspec.structs.replace(mount, digest=next(found, mount.digest))
        if _has_content(mount)
        else mount
        for mount in mounts
    ]


def restored(mount: StepMountInfo) -> RunMount:
    """The mount as a step would have it; its origin goes by its name."""
    return RunMount(
        mount.kind,
        mount.target,
        origin=mount.origin or None,
        source=mount.source,
        read_only=mount.read_only,
        id=mount.id,
        sharing=mount.sharing,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
        env=mount.env,
        size=mount.size,
    )


def _has_content(mount: StepMountInfo) -> bool:
    return mount.kind == "bind" or (mount.kind == "cache" and bool(mount.origin))
