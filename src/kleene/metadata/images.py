"""Images, their instructions and the snapshots that builds made, in the metadata.

An image's row outlives ``klee rmi`` in state ``removed`` while another image refers to one of its
snapshots (as a cached step or as its own last state): its dataset is where those snapshots lie. The stages
of a build that are not its image are such rows from the beginning: the instructions of all stages are the
image's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kleene.metadata.database import Database
from kleene.metadata.table import Table
from kleene.schemas.history import BuildPlace, StepMountInfo
from kleene.schemas.images import ImageSettings

_COMPARED = 100


@dataclass(frozen=True)
class ImageRecord:
    """A row of ``images``. ``snapshot``: what containers are cloned from; ``place``: what it was built of."""

    id: str
    name: str | None
    tag: str | None
    state: Literal["making", "ready", "removed"]
    created: str
    cmd: list[str]
    env: list[str]
    user: str
    workdir: str
    snapshot: str | None
    parent: str
    settings: ImageSettings = field(default_factory=ImageSettings)
    place: BuildPlace = field(default_factory=BuildPlace)

    @property
    def dataset(self) -> str:
        """Its own dataset, if it made one."""
        return f"image/{self.id}"


@dataclass(frozen=True)
class SnapshotRecord:
    """A row of ``snapshots``.

    Attributes:
        image_id: in whose dataset it lies.
        key: of the build cache.
        parent: key of the state before it.
        inputs: what it was made of besides; to tell why another is not the same.
        manifest: digest of the list of files that it took: :meth:`ImageStore.manifest`.
    """

    id: str
    image_id: str
    key: str | None
    parent: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    manifest: str | None = None

    @property
    def dataset(self) -> str:
        return f"image/{self.image_id}"


@dataclass(frozen=True)
class InstructionRecord:
    """A row of ``instructions``: a step of the build, those of all stages, and what came of it.

    Attributes:
        position: the step's number, from 1.
        text: on one line.
        snapshot_id: of the state after it, if it has one of its own; of a step that failed, of the file
            system as the step left it (``None``: it failed before it could change any).
        failed: the build stopped at this step.
        before: snapshot of the state before it; ``None`` is an empty file system.
        stage, stage_name: index, from 0, and name in lower case, if it has one.
        first_line, last_line: in the Dockerfile; those of FROM for what ONBUILD asked for.
        key: in the build cache, of the state after it.
        cached, reason: whether the state was taken from the cache, and why (not).
        seconds: how long the step took.
        size: bytes of the files that it added or changed; ``None``: nobody has asked yet.
        args: of RUN, the argument vector.
        user, cwd, shell: what a RUN after this step would have; of a RUN, what it has.
        env: the same, ``NAME=VALUE``; ``[]`` but for FROM and RUN, see :meth:`ImageStore.environment`.
        mounts, network, insecure: of RUN, as it was taken.
        sets: variables that ENV and ARG set, ``NAME=VALUE``, as a RUN sees them.
    """

    image_id: str
    position: int
    text: str
    snapshot_id: str | None
    failed: bool = False
    before: str | None = None
    stage: int = 0
    stage_name: str = ""
    first_line: int = 0
    last_line: int = 0
    key: str = ""
    cached: bool = False
    reason: str = ""
    seconds: float = 0.0
    size: int | None = None
    args: list[str] = field(default_factory=list)
    user: str = ""
    cwd: str = "/"
    shell: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    mounts: list[StepMountInfo] = field(default_factory=list)
    network: Literal["default", "none", "host"] = "default"
    insecure: bool = False


class ImageStore:
    """Reads and writes of images."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.images = Table(database, "images", ImageRecord)
        self.snapshots = Table(database, "snapshots", SnapshotRecord)
        self._instructions = Table(database, "instructions", InstructionRecord)

    def ready(self) -> list[ImageRecord]:
        """The images that a user can see, oldest first."""
        return self.images.where("state = 'ready'")

    def by_nametag(self, name: str, tag: str) -> ImageRecord | None:
        found = self.images.where("state = 'ready' AND name = ? AND tag = ?", [name, tag])
        return found[0] if found else None

    def by_prefix(self, prefix: str) -> list[ImageRecord]:
        """Ready images whose id begins with ``prefix`` (hex digits only)."""
        return self.images.where("state = 'ready' AND id GLOB ?", [f"{prefix}*"])

    def by_key(self, key: str, *, among: Sequence[str] = ()) -> SnapshotRecord | None:
        """The newest snapshot in the build cache that bears the key.

        Args:
            among: images in the making whose snapshots may be taken too.
        """
        marks = ", ".join("?" for _ in among)
        found = self.snapshots.where(
            f"""
            key = ? AND (image_id IN ({marks})
                         OR image_id IN (SELECT id FROM images WHERE state != 'making'))
            """,
            [key, *among],
        )
        return found[-1] if found else None

    def was_made_on(self, before: str, snapshot: str) -> bool:
        """Whether the step that made a snapshot started from the snapshot ``before``."""
        found = self._instructions.where("snapshot_id = ? AND cached = 0", [snapshot])
        return any(step.before == before for step in found)

    def was_built(self, key: str) -> bool:
        """Whether a step of an image that is there led to the state of this key, its snapshot gone or not."""
        condition = (
            "key = ? AND failed = 0 AND image_id IN (SELECT id FROM images WHERE state = 'ready')"
        )
        return bool(self._instructions.where(condition, [key]))

    def keep_manifest(self, digest: str, data: bytes) -> None:
        """Keep a list of files, under its digest."""
        sql = "INSERT OR IGNORE INTO manifests (digest, data) VALUES (?, ?)"
        self._database.execute(sql, [digest, data])

    def manifest(self, digest: str) -> bytes | None:
        """A list of files that was kept."""
        rows = self._database.query("SELECT data FROM manifests WHERE digest = ?", [digest])
        return bytes(rows[0]["data"]) if rows else None

    def drop_manifests(self) -> None:
        """Forget the lists of files that no snapshot has."""
        self._database.execute(
            "DELETE FROM manifests WHERE digest NOT IN "
            "(SELECT manifest FROM snapshots WHERE manifest IS NOT NULL)"
        )

    def present(self, ids: Collection[str]) -> set[str]:
        """Those of these snapshots that are still there."""
        marks = ", ".join("?" for _ in ids)
        sql = f"SELECT id FROM snapshots WHERE id IN ({marks})"
        return {row[0] for row in self._database.query(sql, list(ids))}

    def following(self, key: str) -> list[SnapshotRecord]:
        """Some snapshots of states that were made from the one of this key, the last used first."""
        condition = (
            "parent = ? ORDER BY (SELECT used FROM snapshot_uses u WHERE u.id = snapshots.id) DESC,"
            " rowid DESC LIMIT ?"
        )
        return self.snapshots.select(condition, [key, _COMPARED])

    def has_following(self, key: str) -> bool:
        """Whether there is any snapshot of a state that was made from the one of this key."""
        return bool(self._database.query("SELECT 1 FROM snapshots WHERE parent = ? LIMIT 1", [key]))

    def instructions(self, image_id: str) -> list[InstructionRecord]:
        """The steps of the image's build, by number; the one that failed, if one did, among them."""
        found = self._instructions.where("image_id = ?", [image_id])
        return sorted(found, key=lambda record: record.position)

    def step(self, image_id: str, position: int) -> InstructionRecord | None:
        """The step of this number."""
        found = self._instructions.where("image_id = ? AND position = ?", [image_id, position])
        return found[0] if found else None

    def environment(self, step: InstructionRecord) -> list[str]:
        """What a RUN after the step would have in its environment; of a RUN, what it has: ``NAME=VALUE``."""
        found = self._instructions.where(
            "image_id = ? AND stage = ? AND position <= ?",
            [step.image_id, step.stage, step.position],
        )
        merged: dict[str, str] = {}
        for record in sorted(found, key=lambda record: record.position):
            whole = {} if record.env else merged
            pairs = (entry.partition("=") for entry in (*record.env, *record.sets))
            merged = whole | {name: value for name, _, value in pairs}
        return [f"{name}={value}" for name, value in merged.items()]

    def add_instruction(self, record: InstructionRecord) -> None:
        """Note a step of an image in the making. It is durable when the image is: :meth:`finish`."""
        with self._database.unhurried():
            self._instructions.insert(record)

    def set_snapshot(self, image_id: str, position: int, snapshot: str) -> None:
        """Say that there is a snapshot of the state after an instruction after all."""
        self._database.execute(
            "UPDATE instructions SET snapshot_id = ? WHERE image_id = ? AND position = ?",
            [snapshot, image_id, position],
        )

    def set_size(self, image_id: str, position: int, size: int) -> None:
        """Keep how much a step wrote."""
        self._database.execute(
            "UPDATE instructions SET size = ? WHERE image_id = ? AND position = ?",
            [size, image_id, position],
        )

    def move_tag(self, image_id: str, name: str, tag: str) -> None:
        """Give the image this nametag; whoever has it now becomes untagged."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE images SET name = NULL, tag = NULL WHERE name = ? AND tag = ?", [name, tag]
            )
            self.images.update(image_id, name=name, tag=tag)

    def finish(self, record: ImageRecord, stages: Sequence[str] = ()) -> None:
        """Make an image that is in the making visible, with all that is known of it now.

        Args:
            stages: other images in the making, whose snapshots its instructions refer to. They stay
                unseen, and go when nothing refers to them any more.
        """
        with self._database.transaction():
            for stage in stages:
                self.images.update(stage, state="removed")
            self.images.update(
                record.id,
                state="ready",
                cmd=record.cmd,
                env=record.env,
                user=record.user,
                workdir=record.workdir,
                snapshot=record.snapshot,
                parent=record.parent,
                settings=record.settings,
                place=record.place,
            )
            if record.name is not None and record.tag is not None:
                self.move_tag(record.id, record.name, record.tag)

    def hide(self, image_id: str) -> None:
        """Take the image from the user's sight. :meth:`unreferenced` says when it may go."""
        with self._database.transaction():
            self.images.update(image_id, state="removed", name=None, tag=None)
            self._database.execute("DELETE FROM instructions WHERE image_id = ?", [image_id])

    def unreferenced(self) -> list[ImageRecord]:
        """Removed images none of whose snapshots is referred to by an image that remains."""
        return self.images.where(
            """
            state = 'removed' AND NOT EXISTS (
                SELECT 1 FROM snapshots s WHERE s.image_id = images.id AND (
                    EXISTS (SELECT 1 FROM instructions i WHERE i.snapshot_id = s.id)
                    OR EXISTS (SELECT 1 FROM instructions i WHERE i.before = s.id)
                    OR EXISTS (SELECT 1 FROM images o
                               WHERE o.snapshot = s.id AND o.state != 'removed')))
            """
        )
