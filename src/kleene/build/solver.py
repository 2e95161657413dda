"""The solver: carries a plan out, step by step, over snapshots and clones.

Owns the dataset of the image in the making from the first step that has to run until the build ends; the
caller owns the image's row and undoes both if the solver raises. Steps that the cache has are never run:
the state after them is a snapshot that exists, and nothing is cloned until a step must change something.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from kleene import names
from kleene.build import copying
from kleene.build.context import Context
from kleene.build.events import BuildFailed, Emit, OutputWritten, StepFinished, StepStarted
from kleene.build.plan import CopyStep, Plan, RunStep, Step, WorkdirStep, step_key
from kleene.build.selection import Selection
from kleene.dockerfile.source import DockerfileError, Source
from kleene.errors import KleeneError
from kleene.metadata.images import ImageStore, InstructionRecord, SnapshotRecord
from kleene.runtime.driver import Output, ProcessSpec
from kleene.storage.driver import Snapshot, StorageDriver


class StepProcess(Protocol):
    """A command of a RUN step."""

    def output(self) -> AsyncIterator[Output]: ...

    async def wait(self) -> int: ...


Execute = Callable[[ProcessSpec], Awaitable[StepProcess]]
"""Starts a command in the build container, bringing the container up if it is not."""


@dataclass(frozen=True)
class Workshop:
    """What a build works with.

    Attributes:
        source: the Dockerfile, for messages.
        environment: canonical text of all that configures the build container; part of every key.
        use_cache: whether states that exist may be taken.
    """

    storage: StorageDriver
    images: ImageStore
    context: Context
    source: Source
    execute: Execute
    emit: Emit
    environment: str
    use_cache: bool


class Solver:
    """One build. Use :meth:`solve` once.

    Attributes:
        state: the last good snapshot; at first the one that ``FROM`` means.
    """

    def __init__(self, image_id: str, base: SnapshotRecord, workshop: Workshop) -> None:
        self._image_id = image_id
        self._dataset = f"image/{image_id}"
        self._shop = workshop
        self._use_cache = workshop.use_cache
        self._key = base.id
        self._cloned = False
        self._directories: list[WorkdirStep] = []
        self.state = base

    async def solve(self, plan: Plan) -> SnapshotRecord:
        """Carry out every step; the snapshot that is the image's last state.

        Raises:
            BuildFailed: a step failed; :attr:`state` is the last good snapshot.
        """
        for step in plan.steps:
            await self._shop.emit(StepStarted(step.number, len(plan.steps), step.text))
            started = time.monotonic()
            snapshot, cached = await self._guarded(step)
            self._shop.images.add_instruction(
                InstructionRecord(self._image_id, step.number, step.text, snapshot)
            )
            seconds = time.monotonic() - started
            await self._shop.emit(StepFinished(step.number, snapshot, cached, seconds))
        if self._directories:
            await self._clone()
            await self._snapshot(None)
        return self.state

    async def _guarded(self, step: Step) -> tuple[str | None, bool]:
        """Take a step; what goes wrong in it is told with its place in the Dockerfile."""
        try:
            return await self._step(step)
        except BuildFailed:
            raise
        except KleeneError as error:
            placed = DockerfileError(self._shop.source, step.range, error.message, error.hint)
            raise BuildFailed(
                placed.message, hint=placed.hint, details=error.details or placed.details
            ) from error

    async def _step(self, step: Step) -> tuple[str | None, bool]:
        """Take one step; the snapshot of the state after it, if it has one, and whether it was there."""
        if isinstance(step, CopyStep):
            selection = await self._shop.context.select(step.sources)
            digest = await selection.digest()
            return await self._change(step, digest, lambda: self._copy(step, selection))
        if isinstance(step, RunStep):
            return await self._change(step, None, lambda: self._run(step))
        self._key = step_key(self._key, step)
        if isinstance(step, WorkdirStep):
            self._directories.append(step)
        return None, False

    async def _change(
        self, step: Step, digest: str | None, work: Callable[[], Awaitable[None]]
    ) -> tuple[str, bool]:
        """Find the state after a step that changes files, or make it."""
        environment = self._shop.environment
        self._key = step_key(self._key, step, copied_digest=digest, environment=environment)
        found = self._shop.images.by_key(self._key) if self._use_cache else None
        if found is not None:
            self.state = found
            self._directories.clear()
            return found.id, True
        self._use_cache = False
        await self._clone()
        await work()
        return await self._snapshot(self._key), False

    async def _clone(self) -> None:
        """Have a dataset with the present state, and in it the directories that WORKDIR named."""
        if not self._cloned:
            source = Snapshot(self.state.dataset, self.state.id)
            await self._shop.storage.clone(source, self._dataset)
            self._cloned = True
        root = self._shop.storage.mountpoint(self._dataset)
        for step in self._directories:
            await asyncio.to_thread(copying.make_workdir, root, step)
        self._directories.clear()

    async def _snapshot(self, key: str | None) -> str:
        record = SnapshotRecord(names.new_id(), self._image_id, key)
        await self._shop.storage.snapshot(Snapshot(self._dataset, record.id))
        self._shop.images.snapshots.insert(record)
        self.state = record
        return record.id

    async def _copy(self, step: CopyStep, selection: Selection) -> None:
        root = self._shop.storage.mountpoint(self._dataset)
        await copying.copy(root, step, selection)

    async def _run(self, step: RunStep) -> None:
        process = await self._shop.execute(
            ProcessSpec(args=step.args, env=step.env, cwd=step.cwd, user=step.user)
        )
        async for output in process.output():
            await self._shop.emit(OutputWritten(output.data, output.stream))
        code = await process.wait()
        if code != 0:
            raise BuildFailed(
                f"the command '{' '.join(step.args)}' returned a non-zero code: {code}",
                exit_code=code,
            )
