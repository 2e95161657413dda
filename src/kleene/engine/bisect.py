"""The first step of a build after which a command fails, found by halving.

Each try is a clone of a state, with what a RUN there would have; it goes when the command has ended, or with
whoever asked. The image in the making that it is keeps its snapshot from being pruned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from kleene.build.events import Emit, OutputWritten, ProgressMade
from kleene.engine import lookup, making
from kleene.engine.build_container import BuildContainer, Services
from kleene.engine.core import Core
from kleene.engine.history import History, StateBefore
from kleene.engine.step_config import as_of
from kleene.errors import CommandNotStarted, Conflict, InvalidInput
from kleene.metadata.images import ImageRecord
from kleene.runtime.driver import ProcessSpec
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.history import BisectConfig
from kleene.storage.driver import Snapshot

_SKIP = 125
_NOT_IN_TIME = -1


@dataclass(frozen=True)
class Found:
    """``first``: the first state in which the command fails; ``certain``: the one before it was tried too."""

    first: StateBefore
    instruction: str
    certain: bool

    @property
    def snapshot(self) -> str:
        return self.first.snapshot

    @property
    def message(self) -> str:
        """What was found, for people."""
        where = (
            f"step {self.first.step}" if self.certain else f"step {self.first.step} at the latest"
        )
        return f"the command fails since {where} (@{self.snapshot}): {self.instruction}"


@dataclass(frozen=True)
class _Suspect:
    """A state to try. ``twin``: that after the same step of the good build, if there are two builds."""

    state: StateBefore
    twin: StateBefore | None


class Bisect:
    """Finds the step that broke something."""

    def __init__(self, core: Core, services: Services, history: History) -> None:
        self._core = core
        self._services = services
        self._history = history

    async def run(self, config: BisectConfig, emit: Emit) -> Found:
        """Find the first step after which the command fails.

        Of two builds, a state counts as bad only where that after the same step of the good build is not.

        Raises:
            Conflict: the command fails in the good state, or succeeds in the bad one.
        """
        if not config.command:
            raise InvalidInput("no command was given", hint="klee image bisect GOOD BAD -- COMMAND")
        good, good_snapshot = lookup.image(self._core.images, config.good)
        bad, bad_snapshot = lookup.image(self._core.images, config.bad)
        good_chain = self._history.chain(good_snapshot.id, good.id)
        bad_chain = self._history.chain(bad_snapshot.id, bad.id)
        suspects = self._kept(_suspects(good_chain, bad_chain))
        search = _Search(self._core, self._services, config, emit, (good, bad), len(suspects))
        if await search.code(good_chain[0], good) != 0:
            raise Conflict(
                f"the command fails in the good state '{config.good}' already",
                hint="name an earlier state: klee image history has the snapshots",
            )
        if not suspects or await search.code(bad_chain[0], bad) == 0:
            raise Conflict(
                f"the command succeeds in the bad state '{config.bad}'",
                hint="the exit status 0 is success; try it: klee run --rm IMAGE COMMAND",
            )
        low, high = await search.halve(suspects)
        first = suspects[high].state
        return Found(first, self._text(first), high - low == 1)

    def _kept(self, suspects: Sequence[_Suspect]) -> list[_Suspect]:
        """The states that were not pruned."""
        ids = {s.snapshot for each in suspects for s in (each.state, each.twin) if s}
        present = self._core.images.present(ids)
        return [
            _Suspect(each.state, each.twin if each.twin and each.twin.snapshot in present else None)
            for each in suspects
            if each.state.snapshot in present
        ]

    def _text(self, state: StateBefore) -> str:
        step = self._core.images.step(state.image, state.step)
        return step.text if step else ""


class _Search:
    """One search: tries states and tells of it."""

    def __init__(
        self,
        core: Core,
        services: Services,
        config: BisectConfig,
        emit: Emit,
        images: tuple[ImageRecord, ImageRecord],
        count: int,
    ) -> None:
        self._core = core
        self._services = services
        self._config = config
        self._emit = emit
        self._good, self._bad = images
        self._total = 2 + max(count - 1, 0).bit_length()
        self._done = 0

    async def halve(self, suspects: Sequence[_Suspect]) -> tuple[int, int]:
        """The last state known to be good, -1 for that before them, and the first known to be bad."""
        low, high = -1, len(suspects) - 1
        skipped: set[int] = set()
        while open_ := [i for i in range(low + 1, high) if i not in skipped]:
            middle = open_[len(open_) // 2]
            bad = await self._is_bad(suspects[middle])
            if bad is None:
                skipped.add(middle)
            elif bad:
                high = middle
            else:
                low = middle
        return low, high

    async def _is_bad(self, suspect: _Suspect) -> bool | None:
        code = await self.code(suspect.state, self._bad)
        if code == 0:
            return False
        if code == _SKIP:
            return None
        return suspect.twin is None or await self.code(suspect.twin, self._good) == 0

    async def code(self, state: StateBefore, image: ImageRecord) -> int:
        """The exit status of the command in a clone of a state."""
        step = self._core.images.step(state.image, state.step)
        what = f"step {state.step}: {step.text}" if step else "the base image"
        await self._emit(ProgressMade("bisecting", self._done, self._total, "entries"))
        await self._say(f"trying @{state.snapshot}, {what}\n")
        code = await self._try(state, image)
        told = "not in time" if code == _NOT_IN_TIME else f"exit status {code}"
        await self._say(f"@{state.snapshot}: {'good' if code == 0 else 'bad'} ({told})\n")
        self._done += 1
        self._total = max(self._total, self._done)
        await self._emit(ProgressMade("bisecting", self._done, self._total, "entries"))
        return code

    async def _say(self, text: str) -> None:
        await self._emit(OutputWritten(text.encode(), "stderr"))

    async def _try(self, state: StateBefore, image: ImageRecord) -> int:
        images, storage = self._core.images, self._core.platform.storage
        snapshot = images.snapshots.get(state.snapshot)
        if snapshot is None:
            raise Conflict(f"snapshot '@{state.snapshot}' was pruned meanwhile", hint="try again")
        owner = images.images.get(state.image) or image
        like = as_of(images, owner, snapshot, state.step or None)
        async with contextlib.AsyncExitStack() as stack:
            record = making.begin(self._core, base=snapshot.id)
            stack.push_async_callback(making.destroy, self._core, record)
            await storage.clone(Snapshot(snapshot.dataset, snapshot.id), record.dataset)
            container = await stack.enter_async_context(
                BuildContainer(self._services, record, like, ContainerConfig(), [])
            )
            try:
                async with asyncio.timeout(self._config.timeout or None):
                    return await self._execute(container, like)
            except TimeoutError:
                return _NOT_IN_TIME
            except CommandNotStarted as error:  # a step may have taken the program away
                await self._say(f"{error.message}\n")
                return error.exit_code

    async def _execute(self, container: BuildContainer, like: ImageRecord) -> int:
        process = await container.execute(
            ProcessSpec(
                args=self._config.command, env=like.env, cwd=like.workdir or "/", user=like.user
            )
        )
        async for output in process.output():
            await self._emit(OutputWritten(output.data, output.stream))
        return await process.wait()


def _suspects(good: Sequence[StateBefore], bad: Sequence[StateBefore]) -> list[_Suspect]:
    """The states that may be the first bad one, oldest first. Both chains begin with the newest."""
    known = {state.snapshot for state in good}
    after = [state for state in bad if state.snapshot not in known][::-1]
    twins = {}
    if good[0].snapshot not in {state.snapshot for state in bad}:
        both = known & {state.snapshot for state in bad}
        twins = {state.step: state for state in good if state.snapshot not in both}
    return [_Suspect(state, twins.get(state.step)) for state in after]
