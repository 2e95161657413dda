"""What refers to what: images, snapshots, instructions and containers at one moment; what goes if some go.

Pure. Decides what pruning may take, and what of the storage goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kleene.metadata.images import ImageRecord
from kleene.storage.driver import Part, Snapshot

FAILED = "failed"
"""The tag of a build that failed."""


@dataclass(frozen=True)
class Reference:
    """An instruction of an image: the state after it and the one before it."""

    image: str
    number: int
    text: str
    snapshot: str | None
    before: str | None


@dataclass(frozen=True)
class State:
    """A snapshot of the metadata. ``used``: when it was made or last used; ISO 8601."""

    id: str
    image: str
    used: str


@dataclass(frozen=True)
class Going:
    """What shall go: images from the users' sight, and single snapshots."""

    images: frozenset[str] = frozenset()
    snapshots: frozenset[str] = frozenset()

    def __or__(self, other: Going) -> Going:
        return Going(self.images | other.images, self.snapshots | other.snapshots)


NOTHING = Going()


@dataclass(frozen=True)
class Holdings:
    """All images, snapshots and instructions, and which images containers were made from."""

    images: dict[str, ImageRecord]
    states: dict[str, State]
    references: list[Reference]
    used_images: frozenset[str]

    def is_named(self, image: str) -> bool:
        """Whether it is an image that somebody gave a name and that is whole."""
        record = self.images[image]
        return record.state == "ready" and record.name is not None and record.tag != FAILED

    @cached_property
    def unused(self) -> list[ImageRecord]:
        """The images that users see and no container was made from, oldest first."""
        ready = [record for record in self.images.values() if record.state == "ready"]
        return [record for record in ready if record.id not in self.used_images]

    @cached_property
    def leftovers(self) -> list[ImageRecord]:
        """Unused images that builds left: without a name, or failed."""
        return [record for record in self.unused if not self.is_named(record.id)]

    @cached_property
    def busy(self) -> set[str]:
        """The snapshots that must stay: they are what an image is, or a build works with them now."""
        kept = {r.snapshot for r in self.images.values() if r.state != "removed" and r.snapshot}
        for reference in self.references:
            if self.images[reference.image].state == "making":
                kept |= {s for s in (reference.snapshot, reference.before) if s}
        making = {r.id for r in self.images.values() if r.state == "making"}
        return kept | {state.id for state in self.states.values() if state.image in making}

    @cached_property
    def steps(self) -> dict[str, Reference]:
        """For each snapshot, an instruction that led to it; that of a named image, if there is one."""
        found: dict[str, Reference] = {}
        for reference in self.references:
            if reference.snapshot is None:
                continue
            if reference.snapshot not in found or self.is_named(reference.image):
                found[reference.snapshot] = reference
        return found

    def cache(self, *, every: bool) -> list[State]:
        """The snapshots of the build cache that can go; but for ``every``, not those of named images."""
        free = [state for state in self.states.values() if state.id not in self.busy]
        if every:
            return free
        named = {
            snapshot
            for reference in self.references
            if self.is_named(reference.image) or reference.image in self.used_images
            for snapshot in (reference.snapshot, reference.before)
        }
        return [state for state in free if state.id not in named]

    def parts(self, going: Going) -> list[Part]:
        """What is destroyed on disk when these go, and the removed images that only they kept."""
        destroyed = self._unreferenced(going)
        return [
            *(f"image/{image}" for image in sorted(destroyed)),
            *(
                Snapshot(f"image/{state.image}", state.id)
                for state in self.states.values()
                if state.image in destroyed or state.id in going.snapshots
            ),
        ]

    def _unreferenced(self, going: Going) -> set[str]:
        """The images whose datasets go: as :meth:`ImageStore.unreferenced`, once ``going`` is carried out."""
        hidden = {
            record.id
            for record in self.images.values()
            if record.state == "removed" or record.id in going.images
        }
        needed: set[str | None] = set()
        for reference in self.references:
            if reference.image not in going.images:
                needed |= {reference.snapshot, reference.before}
        needed |= {r.snapshot for r in self.images.values() if r.id not in hidden}
        needed -= going.snapshots
        kept = {self.states[s].image for s in needed if s is not None and s in self.states}
        return hidden - kept


def names_of(record: ImageRecord) -> str:
    """``NAME:TAG``; ``""`` without a name."""
    return f"{record.name}:{record.tag}" if record.name else ""
