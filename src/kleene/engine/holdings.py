"""What refers to what: images, snapshots, instructions and containers at one moment; what goes if some go.

Pure. Decides what pruning may take, and what of the storage goes with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
    """All images, snapshots and instructions, and which images and snapshots containers were made from."""

    images: dict[str, ImageRecord]
    states: dict[str, State]
    references: list[Reference]
    used_images: frozenset[str]
    used_states: frozenset[str]

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
        """The snapshots that must stay: they are what an image is or a container was, or a build has them."""
        kept = set(self.used_states) | {
            r.snapshot for r in self.images.values() if r.state != "removed" and r.snapshot
        }
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
        """What is destroyed on disk when these go, and the removed images that only they kept.

        At the cost of what they refer to: there may be tens of thousands of them to ask for.
        """
        destroyed = self._unreferenced(going)
        gone = {s for image in destroyed for s in self._lying_in[image]}
        gone |= going.snapshots & self.states.keys()
        return [
            *(f"image/{image}" for image in sorted(destroyed)),
            *(Snapshot(f"image/{self.states[s].image}", s) for s in sorted(gone)),
        ]

    def _unreferenced(self, going: Going) -> set[str]:
        """The images whose datasets go: as :meth:`ImageStore.unreferenced`, once ``going`` is carried out."""
        touched = going.snapshots.union(*(self._used_by[image] for image in going.images))
        lost = Counter(
            self.states[s].image
            for s in touched & self.states.keys()
            if (users := self._users.get(s)) and (s in going.snapshots or users <= going.images)
        )
        hidden = self._removed | going.images
        candidates = self._unused_removed | going.images | (lost.keys() & hidden)
        return {image for image in candidates if self._needed[image] == lost[image]}

    @cached_property
    def _removed(self) -> frozenset[str]:
        return frozenset(r.id for r in self.images.values() if r.state == "removed")

    @cached_property
    def _users(self) -> defaultdict[str, set[str]]:
        """For each snapshot, the images that refer to it."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for reference in self.references:
            for snapshot in filter(None, (reference.snapshot, reference.before)):
                users[snapshot].add(reference.image)
        for record in self.images.values():
            if record.snapshot and record.id not in self._removed:
                users[record.snapshot].add(record.id)
        return users

    @cached_property
    def _used_by(self) -> defaultdict[str, set[str]]:
        """For each image, the snapshots that it refers to."""
        used: defaultdict[str, set[str]] = defaultdict(set)
        for snapshot, images in self._users.items():
            for image in images:
                used[image].add(snapshot)
        return used

    @cached_property
    def _lying_in(self) -> defaultdict[str, list[str]]:
        """For each image, the snapshots of its dataset."""
        lying: defaultdict[str, list[str]] = defaultdict(list)
        for state in self.states.values():
            lying[state.image].append(state.id)
        return lying

    @cached_property
    def _needed(self) -> Counter[str]:
        """For each image, how many snapshots of its dataset something refers to."""
        return Counter(s.image for s in self.states.values() if self._users.get(s.id))

    @cached_property
    def _unused_removed(self) -> frozenset[str]:
        """The removed images that nothing keeps."""
        return frozenset(image for image in self._removed if not self._needed[image])


def names_of(record: ImageRecord) -> str:
    """``NAME:TAG``; ``""`` without a name."""
    return f"{record.name}:{record.tag}" if record.name else ""
