"""What the solver asks of those around it: processes, mounts, other snapshots, repositories, servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from kleene.build.adding import RemoteFile
from kleene.build.context import Context
from kleene.build.mounts import RunMount
from kleene.build.selection import Selection
from kleene.build.steps import RunStep
from kleene.host.giturl import GitUrl
from kleene.metadata.images import SnapshotRecord
from kleene.runtime.driver import Output, ProcessSpec


class StepProcess(Protocol):
    """A command of a RUN step."""

    def output(self) -> AsyncIterator[Output]: ...

    async def wait(self) -> int: ...


Execute = Callable[[ProcessSpec, RunStep], AbstractAsyncContextManager[StepProcess]]
"""Starts a command in the build container, bringing it up if it is not; the step's mounts are there as long
as the block lasts."""


Fetch = Callable[[str], Awaitable[RemoteFile]]
"""Fetches what is at a URL."""


class Repositories(Protocol):
    """Git repositories, for ADD."""

    async def commit(self, repository: GitUrl) -> str:
        """What decides the files: the commit, or the part of its id that the user wrote."""
        ...

    def fetched(self, repository: GitUrl) -> AbstractAsyncContextManager[Context]: ...


class Mounts(Protocol):
    """The files in the mounts of RUN."""

    async def digest(
        self, mounts: Sequence[RunMount], states: Mapping[int | str, SnapshotRecord]
    ) -> str | None: ...

    async def manifest(
        self, mounts: Sequence[RunMount], states: Mapping[int | str, SnapshotRecord]
    ) -> bytes: ...


class Origins(Protocol):
    """The files of snapshots, for ``COPY --from``."""

    async def digest(
        self,
        snapshot: SnapshotRecord,
        name: str,
        sources: tuple[str, ...],
        pivots: tuple[int, ...] = (),
        exclude: tuple[str, ...] = (),
    ) -> str:
        """:meth:`Selection.digest` of what these sources take; ``name``: what the user calls the snapshot."""
        ...

    async def select(
        self,
        snapshot: SnapshotRecord,
        name: str,
        sources: tuple[str, ...],
        pivots: tuple[int, ...] = (),
        exclude: tuple[str, ...] = (),
    ) -> Selection: ...

    def writable(self, snapshot: SnapshotRecord) -> AbstractAsyncContextManager[Path]:
        """A clone of the snapshot, as long as the block lasts."""
        ...
