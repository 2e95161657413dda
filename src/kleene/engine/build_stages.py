"""The stages of a build, several at a time: a row, a solver and a build container for each.

Every stage that has to change a file has a dataset and a row of its own. The row of the last stage is the
image's; the others stay unseen for as long as an image refers to a state in them. That is as long as the
image that they were made for stays, for its instructions are those of all its stages.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from kleene.build.config import ImageConfig
from kleene.build.events import BuildFailed
from kleene.build.ordering import InOrder
from kleene.build.resuming import Resumption
from kleene.build.schedule import Schedule
from kleene.build.solver import Solver
from kleene.build.stage_plan import StagePlan
from kleene.build.stages import SCRATCH
from kleene.build.workshop import EMPTY, State, Workshop
from kleene.contexts.kinds import is_remote
from kleene.dockerfile.document import Stage
from kleene.engine import making
from kleene.engine.build_container import Services
from kleene.engine.build_mounts import BuildMounts
from kleene.engine.step_containers import StepContainers
from kleene.metadata.images import ImageRecord
from kleene.schemas.history import BuildPlace
from kleene.schemas.images import ImageBuildConfig


class Stages:
    """Builds the stages of one build.

    Args:
        image: the image in the making.
        undo: takes the rows and datasets away, unless :meth:`keep` is called.
        resumption: the build to go on with, if there is one.
    """

    def __init__(
        self,
        services: Services,
        config: ImageBuildConfig,
        workshop: Workshop,
        mounts: BuildMounts,
        image: ImageRecord,
        undo: contextlib.AsyncExitStack,
        resumption: Resumption | None = None,
    ) -> None:
        self._services = services
        self._core = services.core
        self._config = config
        self._shop = workshop
        self._mounts = mounts
        self._image = image
        self._undo = undo
        self._resumption = resumption
        self._states: dict[int, State] = {}
        self._ends: dict[int, tuple[State, ImageConfig]] = {}
        self._last: tuple[State, ImageConfig] | None = None
        self._order: InOrder | None = None

    async def build(self, plans: Sequence[StagePlan], parallel: int) -> None:
        """Build all stages; the last one becomes the image. When one fails, the others are given up.

        Args:
            parallel: how many at a time.

        Raises:
            BuildFailed: a step failed.
        """
        by_index = {plan.node.stage.index: plan for plan in plans}
        schedule = Schedule([plan.node for plan in plans], parallel)
        places = {index: place for place, index in enumerate(by_index)}
        if self._config.ordered:
            self._order = InOrder(self._shop.emit, list(by_index))
        running: dict[asyncio.Task[None], int] = {}
        try:
            while True:
                for index in schedule.begin():
                    plan = by_index[index]
                    running[asyncio.create_task(self._build(plan, plan is plans[-1]))] = index
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: places[running[task]]):
                    await self._finished(task, running[task])
                    schedule.finish(running.pop(task))
        finally:
            await _end(running)
        self._last = self._ends[plans[-1].node.stage.index]

    async def _finished(self, task: asyncio.Task[None], index: int) -> None:
        """Take the outcome of a stage."""
        try:
            task.result()
        except BuildFailed:
            self._last = self._ends[index]
            if self._order is not None:
                await self._order.stop_at(index)
            raise
        if self._order is not None:
            await self._order.finish(index)

    async def _build(self, plan: StagePlan, is_last: bool) -> None:
        start = self._start(plan)
        index = plan.node.stage.index
        record = self._image if is_last else self._begin(start)
        self._shop.stages.append(record.id)
        where = (self._mounts, self._shop.states)
        container = StepContainers(self._services, record, self._config, *where)
        emit = self._shop.emit if self._order is None else self._order.of(index)
        taken = self._resumption.of(plan) if self._resumption is not None else None
        solver = Solver(record.id, start, self._shop, container.execute, emit, taken)
        try:
            async with container:
                state = await solver.solve(plan)
        except BuildFailed as error:
            good = solver.state.snapshot
            error.snapshot = None if solver.state is start or good is None else good.id
            raise
        finally:
            self._ends[index] = solver.state, plan.outcome.config
            if not is_last and not solver.has_dataset:
                self._drop(record)
        self._states[index] = state
        assert state.snapshot is not None
        self._shop.states[plan.node.stage.key] = state.snapshot

    def _begin(self, start: State) -> ImageRecord:
        base = None if start.snapshot is None else start.snapshot.id
        record = making.begin(self._core, base=base)
        self._undo.push_async_callback(making.destroy, self._core, record)
        return record

    def _drop(self, record: ImageRecord) -> None:
        """The cache had every step of a stage."""
        self._shop.stages.remove(record.id)
        self._core.images.images.delete(record.id)

    def _start(self, plan: StagePlan) -> State:
        base = plan.node.base
        if isinstance(base, Stage):
            return self._states[base.index]
        if base == SCRATCH:
            return EMPTY
        snapshot = self._shop.states[str(base)]
        return State(snapshot, snapshot.id)

    async def keep(self, name: str | None, tag: str | None) -> bool:
        """Make the image of what was reached; whether there is something that an image can be made of."""
        if self._last is None or self._last[0].snapshot is None:
            return False
        state, config = self._last
        assert state.snapshot is not None
        labels = config.settings.labels | self._config.labels
        finished = replace(
            self._image,
            name=name,
            tag=tag,
            snapshot=state.snapshot.id,
            cmd=list(config.cmd),
            env=list(config.env),
            user=config.user,
            workdir=config.workdir,
            settings=msgspec.structs.replace(config.settings, labels=labels),
            place=_place(self._config),
        )
        others = [stage for stage in self._shop.stages if stage != self._image.id]
        self._core.images.finish(finished, others)
        self._undo.pop_all()
        # A stage that was given up in its first step has left a dataset that nothing refers to.
        await making.collect(self._core)
        return True


def _place(config: ImageBuildConfig) -> BuildPlace:
    """Where the context can be found again; what was fetched cannot, and its address may have a password."""
    context = "" if is_remote(config.context) else config.context
    return BuildPlace(context, config.upload, config.dockerfile)


async def _end(tasks: dict[asyncio.Task[None], int]) -> None:
    """Cancel what still runs, and wait until it has tidied up, even if this is cancelled meanwhile."""
    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()
