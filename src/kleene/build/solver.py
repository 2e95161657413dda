"""The solver: carries a plan out, step by step, over snapshots and clones.

Owns the dataset of the image in the making from the first step that has to run until the build ends; the
caller owns the image's row and undoes both if the solver raises. Steps that the cache has are never run:
the state after them is a snapshot that exists, and nothing is cloned until a step must change something.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from kleene import names
from kleene.build.context import Context
from kleene.build.events import BuildFailed, Emit, OutputWritten, StepFinished, StepStarted
from kleene.build.plan import CopyStep, Plan, RunStep, Step, WorkdirStep, step_key
from kleene.errors import KleeneError
from kleene.host import inroot
from kleene.metadata.images import ImageStore, InstructionRecord, SnapshotRecord
from kleene.runtime.driver import Output, ProcessSpec
from kleene.storage.driver import Snapshot, StorageDriver


class StepProcess(Protocol):
    """A command of a RUN step."""

    def output(self) -> AsyncIterator[Output]: ...

    async def wait(self) -> int: ...


Execute = Callable[[ProcessSpec], Awaitable[StepProcess]]
"""Starts a command in the build container, bringing the container up if it is not."""


class Solver:
    """One build. Use :meth:`solve` once."""

    def __init__(
        self,
        image_id: str,
        base: SnapshotRecord,
        *,
        storage: StorageDriver,
        images: ImageStore,
        context: Context,
        execute: Execute,
        emit: Emit,
        environment: str,
        use_cache: bool,
    ) -> None:
        """
        Args:
            base: the snapshot that ``FROM`` means.
            environment: canonical text of all that configures the build container; part of every key.
        """
        self._image_id = image_id
        self._dataset = f"image/{image_id}"
        self._storage = storage
        self._images = images
        self._context = context
        self._execute = execute
        self._emit = emit
        self._environment = environment
        self._use_cache = use_cache
        self.state = base
        self._key = base.id
        self._cloned = False
        self._directories: list[WorkdirStep] = []

    @property
    def dataset(self) -> str:
        """The dataset of the image in the making."""
        return self._dataset

    async def solve(self, plan: Plan) -> SnapshotRecord:
        """Carry out every step; the snapshot that is the image's last state.

        Raises:
            BuildFailed: a step failed; :attr:`state` is the last good snapshot.
        """
        for step in plan.steps:
            await self._emit(StepStarted(step.number, len(plan.steps), step.text))
            started = time.monotonic()
            snapshot, cached = await self._guarded(step)
            self._images.add_instruction(
                InstructionRecord(self._image_id, step.number, step.text, snapshot)
            )
            seconds = time.monotonic() - started
            await self._emit(StepFinished(step.number, snapshot, cached, seconds))
        if self._directories:
            await self._clone()
            await self._snapshot(None)
        return self.state

    async def _guarded(self, step: Step) -> tuple[str | None, bool]:
        try:
            return await self._step(step)
        except BuildFailed:
            raise
        except KleeneError as error:
            raise BuildFailed(error.message, hint=error.hint, details=error.details) from error

    async def _step(self, step: Step) -> tuple[str | None, bool]:
        """Take one step; the snapshot of the state after it, if it has one, and whether it was there."""
        digest = await self._digest(step) if isinstance(step, CopyStep) else None
        self._key = step_key(self._key, step, copied_digest=digest, environment=self._environment)
        if isinstance(step, WorkdirStep):
            self._directories.append(step)
            return None, False
        if not isinstance(step, RunStep | CopyStep):
            return None, False
        if self._use_cache and (found := self._images.by_key(self._key)) is not None:
            self.state = found
            self._directories.clear()
            return found.id, True
        self._use_cache = False
        await self._clone()
        if isinstance(step, RunStep):
            await self._run(step)
        else:
            await self._copy(step)
        await self._snapshot(self._key)
        return self.state.id, False

    async def _clone(self) -> None:
        """Have a dataset with the present state, and in it the directories that WORKDIR named."""
        if not self._cloned:
            await self._storage.clone(Snapshot(self.state.dataset, self.state.id), self._dataset)
            self._cloned = True
        for step in self._directories:
            inroot.make_dirs(self._storage.mountpoint(self._dataset), step.path)
        self._directories.clear()

    async def _snapshot(self, key: str | None) -> None:
        record = SnapshotRecord(names.new_id(), self._image_id, key)
        await self._storage.snapshot(Snapshot(self._dataset, record.id))
        self._images.snapshots.insert(record)
        self.state = record

    async def _run(self, step: RunStep) -> None:
        process = await self._execute(
            ProcessSpec(args=step.args, env=step.env, cwd=step.cwd, user=step.user)
        )
        async for output in process.output():
            await self._emit(OutputWritten(output.data, output.stream))
        code = await process.wait()
        if code != 0:
            raise BuildFailed(
                f"the command '{_shown(step.args)}' returned a non-zero code: {code}",
                exit_code=code,
            )


def _shown(args: Sequence[str]) -> str:
    return " ".join(args)
