"""What the solvers of a build work with and on. Owned by the build that makes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kleene.build.cachepolicy import CachePolicy
from kleene.build.context import Context
from kleene.build.events import Emit
from kleene.build.outside import Fetch, Mounts, Origins, Repositories
from kleene.build.steps import CopyStep
from kleene.dockerfile.source import Source
from kleene.metadata.images import ImageStore, SnapshotRecord
from kleene.storage.driver import StorageDriver


@dataclass(frozen=True)
class State:
    """A state of a file system.

    Attributes:
        snapshot: ``None`` is an empty one.
        key: of the build cache.
        fresh: it was made although the cache may have had it: what the cache has of the states that follow
            was made from another.
    """

    snapshot: SnapshotRecord | None
    key: str
    fresh: bool = False


EMPTY = State(None, "scratch")


@dataclass(frozen=True)
class Made:
    """What came of a step: the snapshot of the state after it, if it has one, and how it was come by."""

    snapshot: str | None
    cached: bool
    reason: str = ""


@dataclass(frozen=True)
class Workshop:
    """What a build works with.

    Attributes:
        image_id: the image that the build makes. All instructions become its own.
        source: the Dockerfile, for messages.
        given: the directories that the user gave beside the context, by name.
        environment: canonical text of all that configures the build container; part of every key.
        cache: which states that exist may be taken.
        keep_failed: whether the state in which a step that fails leaves its file system is kept.
        total: number of steps of all stages.
        states: what there is to copy from: images by reference, finished stages by :attr:`Stage.key`.
        stages: ids of the stages of this build, whose snapshots it may take although they are in the making.
        clone_container: makes a dataset of the present files of a container, by its id.
    """

    image_id: str
    storage: StorageDriver
    images: ImageStore
    context: Context
    origins: Origins
    mounts: Mounts
    repositories: Repositories
    fetch: Fetch
    source: Source
    emit: Emit
    environment: str
    cache: CachePolicy
    keep_failed: bool
    total: int
    states: dict[int | str, SnapshotRecord] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    clone_container: Callable[[str, str], Awaitable[None]] | None = None
    given: Mapping[str, Context] = field(default_factory=dict)

    def context_of(self, step: CopyStep) -> Context:
        """What a step that copies from a context takes its files from."""
        return self.given[step.context] if step.context else self.context
