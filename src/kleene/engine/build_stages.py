"""The stages of a build, one after the other: a row, a solver and a build container for each.

Every stage that has to change a file has a dataset and a row of its own. The row of the last stage is the
image's; the others stay unseen for as long as an image refers to a state in them. That is as long as the
image that they were made for stays, for its instructions are those of all its stages.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from kleene.build.config import ImageConfig
from kleene.build.events import BuildFailed
from kleene.build.solver import EMPTY, Solver, State, Workshop
from kleene.build.stage_plan import StagePlan
from kleene.build.stages import SCRATCH
from kleene.dockerfile.document import Stage
from kleene.engine import making
from kleene.engine.build_container import BuildContainer, Services
from kleene.metadata.images import ImageRecord
from kleene.schemas.images import ImageBuildConfig


class Stages:
    """Builds the stages of one build.

    Args:
        image: the image in the making.
        undo: takes the rows and datasets away, unless :meth:`keep` is called.
    """

    def __init__(
        self,
        services: Services,
        config: ImageBuildConfig,
        workshop: Workshop,
        image: ImageRecord,
        undo: contextlib.AsyncExitStack,
    ) -> None:
        self._services = services
        self._core = services.core
        self._config = config
        self._shop = workshop
        self._image = image
        self._undo = undo
        self._states: dict[int, State] = {}
        self._last: tuple[State, ImageConfig] | None = None

    async def build(self, plan: StagePlan, *, is_last: bool) -> None:
        """Build a stage.

        Raises:
            BuildFailed: a step failed.
        """
        start = self._start(plan)
        record = self._image if is_last else self._begin(start)
        self._shop.stages.append(record.id)
        options = self._config.container_config
        container = BuildContainer(self._services, record, record, options, self._config.networks)
        solver = Solver(record.id, start, self._shop, container.execute)
        try:
            async with container:
                state = await solver.solve(plan)
        except BuildFailed as error:
            good = solver.state.snapshot
            error.snapshot = None if solver.state is start or good is None else good.id
            raise
        finally:
            self._last = solver.state, plan.outcome.config
            if not is_last and not solver.has_dataset:
                self._drop(record)
        index = plan.node.stage.index
        self._states[index] = state
        assert state.snapshot is not None
        self._shop.states[index] = state.snapshot

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

    def keep(self, name: str | None, tag: str | None) -> bool:
        """Make the image of what was reached; whether there is something that an image can be made of."""
        assert self._last is not None
        state, config = self._last
        if state.snapshot is None:
            return False
        finished = replace(
            self._image,
            name=name,
            tag=tag,
            snapshot=state.snapshot.id,
            cmd=list(config.cmd),
            env=list(config.env),
            user=config.user,
            workdir=config.workdir,
            settings=config.settings,
        )
        others = [stage for stage in self._shop.stages if stage != self._image.id]
        self._core.images.finish(finished, others)
        self._undo.pop_all()
        return True
