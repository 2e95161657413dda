"""The solver: carries the plan of a stage out, step by step, over snapshots and clones.

Owns the dataset of the stage in the making from the first step that has to run until the build ends; the
caller owns the rows of the stages and undoes all if the solver raises. Steps that the cache has are never
run: the state after them is a snapshot that exists, and nothing is cloned until a step must change something.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from kleene import names
from kleene.build import adding, copying, manifests, reasons, step_mounts, updating
from kleene.build.adding import RemoteFile
from kleene.build.events import BuildFailed, Emit, OutputWritten, StepFinished, StepStarted
from kleene.build.outside import Execute
from kleene.build.resuming import TakenOver
from kleene.build.selection import BadSource, Earlier, Selection
from kleene.build.stage_plan import Place, StagePlan
from kleene.build.stages import SCRATCH, Origin, StageNode, trigger_source
from kleene.build.steps import (
    AddStep,
    CopyStep,
    FromStep,
    RunStep,
    Step,
    Url,
    WorkdirStep,
    step_key,
)
from kleene.build.workshop import Made, State, Workshop
from kleene.dockerfile.document import Stage
from kleene.dockerfile.source import DockerfileError, Range, Source, located
from kleene.errors import InvalidInput, KleeneError, NotFound
from kleene.metadata.images import InstructionRecord, SnapshotRecord
from kleene.runtime.driver import ProcessSpec
from kleene.storage.driver import Snapshot


class Solver:
    """One stage. Use :meth:`solve` once.

    Args:
        stage_id: of the image in the making that gets the stage's dataset, if it needs one.
        start: what FROM means.
        emit: takes the events of this stage.
        taken: the steps that an earlier build has taken.

    Attributes:
        state: the last good one.
        has_dataset: whether it made the dataset.
    """

    def __init__(
        self,
        stage_id: str,
        start: State,
        workshop: Workshop,
        execute: Execute,
        emit: Emit,
        taken: TakenOver | None = None,
    ) -> None:
        self._stage_id = stage_id
        self._dataset = f"image/{stage_id}"
        self._shop = workshop
        self._execute = execute
        self._emit = emit
        self._taken = taken
        self._missed = reasons.FRESH if start.fresh else ""
        self._key = start.key
        self._digest: str | None = None
        self._directories: list[WorkdirStep] = []
        self._half_changed: str | None = None
        self._earlier: updating.Result | None = None
        self._fresh = start.fresh
        self._stage = 0
        self._from = ""
        self._node: StageNode | None = None
        self.has_dataset = False
        self.state = self._start = start

    async def solve(self, plan: StagePlan) -> State:
        """Carry out every step; the last state, which has a snapshot.

        Raises:
            BuildFailed: a step failed; :attr:`state` is the last good state.
        """
        self._stage, self._node = plan.node.stage.index, plan.node
        self._from = _described(plan.node.base)
        already = await self._take_over(plan) if self._taken else 0
        for step, place in list(zip(plan.steps, plan.places, strict=True))[already:]:
            started = time.monotonic()
            record = await self._begun(plan, step, place)
            try:
                made = await self._guarded(step)
            except BuildFailed as error:
                self._failed(record, error, time.monotonic() - started)
                raise
            await self._done(record, made, time.monotonic() - started)
        await self._finish(plan.steps[-1])
        return self.state

    async def _begun(self, plan: StagePlan, step: Step, place: Place) -> InstructionRecord:
        stage = plan.node.stage
        name = stage.base.alias or ""
        await self._emit(StepStarted(step.number, self._shop.total, step.text, stage.index, name))
        before = self.state.snapshot
        return self._record(plan, step, place, before.id if before else None)

    async def _done(self, record: InstructionRecord, made: Made, seconds: float) -> None:
        self._shop.images.add_instruction(
            replace(
                record,
                snapshot_id=made.snapshot,
                key=self._key,
                cached=made.cached,
                reason=made.reason,
                seconds=seconds,
                mounts=step_mounts.with_digests(record.mounts, self._digest),
            )
        )
        await self._emit(
            StepFinished(record.position, made.snapshot, made.cached, seconds, made.reason)
        )

    async def _take_over(self, plan: StagePlan) -> int:
        """Do as if the first steps had been taken, as an earlier build has; how many they are."""
        assert self._taken is not None
        images, old = self._shop.images, self._taken.steps
        found = images.snapshots.get(self._taken.snapshot)
        assert found is not None
        key = self._taken.key or names.new_id()
        for number, (step, place) in enumerate(zip(plan.steps, plan.places, strict=True)):
            if number == len(old):
                break
            record = await self._begun(plan, step, place)
            self._key, made = old[number].key, Made(old[number].snapshot_id, True, reasons.RESUMED)
            if number == len(old) - 1:
                self.state, self._key = State(found, key), key
                if self._taken.container:
                    made = Made(await self._adopt(self._taken.container), False, reasons.RESUMED)
            record = replace(record, before=old[number].before, mounts=old[number].mounts)
            await self._done(record, made, 0.0)
        return len(old)

    async def _adopt(self, container: str) -> str:
        """Go on from the files of a container."""
        assert self._shop.clone_container is not None
        await self._shop.clone_container(container, self._dataset)
        self.has_dataset = True
        return await self._snapshot(None, {})

    def _record(
        self, plan: StagePlan, step: Step, place: Place, before: str | None
    ) -> InstructionRecord:
        """What is known of a step before it is taken."""
        stage, run = plan.node.stage, step if isinstance(step, RunStep) else None
        return InstructionRecord(
            self._shop.image_id,
            step.number,
            step.text,
            None,
            before=before,
            stage=stage.index,
            stage_name=stage.base.alias or "",
            first_line=step.range.start.line,
            last_line=step.range.end.line,
            args=list(run.args) if run else [],
            user=place.user,
            cwd=place.cwd,
            shell=list(place.shell),
            env=list(place.env or ()),
            sets=list(place.sets),
            mounts=step_mounts.described(run.mounts, self._shop.states) if run else [],
            network=run.network if run else "default",
            insecure=run is not None and run.insecure,
        )

    def _failed(self, record: InstructionRecord, error: BuildFailed, seconds: float) -> None:
        error.step, error.failed_snapshot = record.position, self._half_changed
        self._shop.images.add_instruction(
            replace(
                record,
                failed=True,
                snapshot_id=self._half_changed,
                seconds=seconds,
                mounts=step_mounts.with_digests(record.mounts, self._digest),
            )
        )

    async def _finish(self, last: Step) -> None:
        """What the last steps left to the next one: directories, or an empty file system."""
        if self._directories or self.state.snapshot is None:
            position = (self._directories[-1] if self._directories else last).number
            made = await self._made(None, lambda: asyncio.sleep(0))
            assert made.snapshot is not None
            self._shop.images.set_snapshot(self._shop.image_id, position, made.snapshot)

    async def _guarded(self, step: Step) -> Made:
        """Take a step; what goes wrong in it is told with its place in the Dockerfile."""
        try:
            return await self._step(step)
        except BuildFailed as error:
            error.details = error.details or located(*self._where(step, error))
            raise
        except KleeneError as error:
            raise self._failure(error, step) from error

    def _failure(self, error: KleeneError, step: Step) -> BuildFailed:
        """What went wrong in a step, with its place."""
        placed = (
            error
            if isinstance(error, DockerfileError)
            else DockerfileError(*self._where(step, error), error.message, error.hint)
        )
        details = placed.details
        if error is not placed and error.details:
            details = f"{details}\n{error.details}"
        return BuildFailed(placed.message, hint=placed.hint, details=details)

    def _where(self, step: Step, error: KleeneError | None = None) -> tuple[Source, Range]:
        """The place to point to; of what ONBUILD of the parent asked for, its own text as well."""
        node = self._node
        triggered = (
            node is not None
            and not isinstance(step, FromStep)
            and node.stage.given is None
            and step.range == node.stage.base.range
        )
        if node is None or not triggered:
            if isinstance(error, BadSource) and isinstance(step, CopyStep):
                return self._shop.source, step.places[error.number]
            return self._shop.source, step.range
        source = trigger_source(node.stage, node.base, step.text)
        return source, source.range(0, len(step.text))

    async def _step(self, step: Step) -> Made:
        """Take one step."""
        if isinstance(step, AddStep):
            return await self._add(step)
        if isinstance(step, CopyStep):
            return await self._copy(step)
        if isinstance(step, RunStep):
            return await self._take_run(step)
        self._key = step_key(self._key, step)
        if isinstance(step, WorkdirStep):
            self._directories.append(step)
        return Made(None, False)

    async def _take_run(self, step: RunStep) -> Made:
        self._digest = None
        mounts, files = self._shop.mounts, (step.mounts, self._shop.states)
        self._change_key(step, await mounts.digest(*files))
        manifest = None if self._digest is None else lambda: mounts.manifest(*files)
        return await self._made(step, lambda: self._run(step), manifest)

    def _change_key(self, step: Step, digest: str | None) -> None:
        environment = self._shop.environment
        self._digest = digest
        self._key = step_key(self._key, step, copied_digest=digest, environment=environment)

    async def _made(
        self,
        step: Step | None,
        work: Callable[[], Awaitable[None]],
        manifest: Callable[[], Awaitable[bytes]] | None = None,
        find_key: Callable[[], Awaitable[None]] | None = None,
        taken: Callable[[], Awaitable[Selection]] | None = None,
    ) -> Made:
        """Find the state that bears the key, or make it.

        Args:
            manifest: what files it takes (``build.manifests``).
            find_key: finds the key by reading what ``work`` copies. Where the cache cannot have the state
                anyway, it comes after the work, which has read it all then.
            taken: what a COPY takes; an earlier one may have made most of it (``build.updating``).
        """
        images = self._shop.images
        number = step.number if step else 0
        self._missed = self._missed or self._shop.cache.refusal(self._stage, number)
        asked = not self._missed and images.has_following(self.state.key)
        if find_key is not None and asked:
            await find_key()
        found = images.by_key(self._key, among=self._shop.stages) if asked else None
        if found is not None:
            self.state = State(found, self._key)
            self._directories.clear()
            return Made(found.id, True, f"it was made in the build of image {found.image_id}")
        directories = list(self._directories)
        async with self._earlier_result(step, taken if asked else None) as self._earlier:
            await self._prepare()
            try:
                await work()
                if find_key is not None and not asked:
                    await find_key()
            except KleeneError:
                await self._keep_half_changed()
                raise
        inputs = reasons.inputs(step, directories, self._digest, self._shop.environment)
        return await self._freeze(inputs, await manifest() if manifest else None)

    @contextlib.asynccontextmanager
    async def _earlier_result(
        self, step: Step | None, taken: Callable[[], Awaitable[Selection]] | None
    ) -> AsyncIterator[updating.Result | None]:
        """What of an earlier build the step may go on from."""
        if taken is None or self.has_dataset:
            yield None
            return
        shop, directories = self._shop, list(self._directories)
        inputs = reasons.inputs(step, directories, self._digest, shop.environment)
        files = await taken()
        async with updating.earlier_result(
            shop, self.state, step, files, inputs, directories
        ) as found:
            yield found

    async def _keep_half_changed(self) -> None:
        """Freeze what the step that failed has left; no key leads to that state."""
        if not self._shop.keep_failed:
            return
        record = SnapshotRecord(names.new_id(), self._stage_id, None)
        with contextlib.suppress(KleeneError):  # the pool may be full; the step's own error matters
            await self._shop.storage.snapshot(Snapshot(self._dataset, record.id))
            self._shop.images.snapshots.insert(record)
            self._half_changed = record.id

    async def _why_not(self, inputs: reasons.Inputs, manifest: bytes | None) -> str:
        images = self._shop.images
        if images.was_built(self._key):
            return reasons.AT_ONCE if images.by_key(self._key) else reasons.GONE
        known = images.following(self.state.key)
        nearest = reasons.nearest_of(inputs, [record.inputs for record in known])
        if nearest is None:
            return reasons.new_from(self._from) if self.state is self._start else reasons.NEW
        number, names_of_inputs = nearest
        old = images.manifest(known[number].manifest or "")
        files = ""
        if manifest is not None and old is not None:
            files = await asyncio.to_thread(manifests.changes, old, manifest)
        return reasons.miss(names_of_inputs, files)

    async def _prepare(self) -> None:
        """Have a dataset with the present state, and in it the directories that WORKDIR named."""
        storage, start = self._shop.storage, self.state.snapshot
        if not self.has_dataset and not await self._go_on_from_earlier():
            if start is None:
                await storage.create(self._dataset)
            else:
                await storage.clone(Snapshot(start.dataset, start.id), self._dataset)
        self.has_dataset = True
        root = storage.mountpoint(self._dataset)
        for step in self._directories:
            try:
                await asyncio.to_thread(copying.make_workdir, root, step)
            except KleeneError as error:
                raise self._failure(error, step) from error
        self._directories.clear()

    async def _go_on_from_earlier(self) -> bool:
        """Have a dataset with the earlier result, if there is one and nobody has pruned it meanwhile."""
        if self._earlier is None:
            return False
        found = self._earlier.snapshot
        try:
            await self._shop.storage.clone(Snapshot(found.dataset, found.id), self._dataset)
        except NotFound:
            self._earlier = None
        return self._earlier is not None

    async def _freeze(self, inputs: reasons.Inputs, manifest: bytes | None) -> Made:
        """Take a snapshot of the state that was made."""
        parent = self.state.key
        reason = self._missed or await self._why_not(inputs, manifest)
        self._fresh = self._fresh or self._missed not in ("", reasons.FOLLOWS)
        self._missed = self._missed or reasons.FOLLOWS
        return Made(await self._snapshot(parent, inputs, manifest), False, reason)

    async def _snapshot(
        self, parent: str | None, inputs: reasons.Inputs, manifest: bytes | None = None
    ) -> str:
        images = self._shop.images
        digest = None if manifest is None else hashlib.sha256(manifest).hexdigest()
        record = SnapshotRecord(names.new_id(), self._stage_id, self._key, parent, inputs, digest)
        await self._shop.storage.snapshot(Snapshot(self._dataset, record.id))
        images.snapshots.insert(record)
        if digest is not None and manifest is not None:
            images.keep_manifest(digest, manifest)
        self.state = State(record, self._key, self._fresh)
        return record.id

    async def _add(self, step: AddStep) -> Made:
        root = self._shop.storage.mountpoint(self._dataset)
        taken = (await self._shop.context_of(step).select(step.sources)).without(step.exclude)
        async with contextlib.AsyncExitStack() as files:
            fetched: list[tuple[Url, RemoteFile]] = []

            async def fetch() -> None:
                for url in step.urls:
                    file = await self._shop.fetch(url.url)
                    files.callback(file.file.close)
                    fetched.append((url, file))

            # What is known by its checksum is fetched only if the cache does not have it.
            if step.checksum is None:
                await fetch()
            digests = [step.checksum or "", *(file.digest for _, file in fetched)]
            commits = [await self._shop.repositories.commit(repo) for repo in step.repositories]

            async def find_key() -> None:
                self._change_key(step, " ".join([await taken.digest(), *digests, *commits]))

            async def work() -> None:
                if step.checksum is not None:
                    await fetch()
                    _check(fetched[0][1], step.checksum)
                await self._tell(step, await adding.add(root, step, taken, fetched))
                for repo in step.repositories:
                    async with self._shop.repositories.fetched(repo) as tree:
                        await self._tell(step, await adding.add_tree(root, step, tree))

            return await self._made(step, work, taken.manifest, find_key)

    async def _copy(self, step: CopyStep) -> Made:
        root = self._shop.storage.mountpoint(self._dataset)
        if step.origin is not None:
            return await self._copy_from(step, step.origin)
        taken = await self._shop.context_of(step).select(step.sources, step.pivots)
        taken = taken.without(step.exclude)

        async def find_key() -> None:
            self._change_key(step, await taken.digest())

        async def select() -> Selection:
            return taken

        async def copy() -> None:
            await self._tell(step, await copying.copy(root, step, taken, self._change()))

        return await self._made(step, copy, taken.manifest, find_key, select)

    async def _copy_from(self, step: CopyStep, origin: int | str) -> Made:
        root = self._shop.storage.mountpoint(self._dataset)
        name = f"stage {origin}" if isinstance(origin, int) else origin
        wanted = (self._shop.states[origin], name, step.sources, step.pivots, step.exclude)
        origins = self._shop.origins

        async def select() -> Selection:
            return await origins.select(*wanted)

        async def copy() -> None:
            files = await select()
            await self._tell(step, await copying.copy(root, step, files, self._change()))

        async def find_key() -> None:
            self._change_key(step, await origins.digest(*wanted))

        async def manifest() -> bytes:
            return await (await select()).manifest()

        return await self._made(step, copy, manifest, find_key, select)

    def _change(self) -> Earlier | None:
        return self._earlier.earlier if self._earlier else None

    async def _tell(self, step: CopyStep, remarks: Sequence[copying.Remark]) -> None:
        for warning in copying.warnings(*self._where(step), remarks):
            await self._emit(warning)

    async def _run(self, step: RunStep) -> None:
        spec = ProcessSpec(args=step.args, env=step.env, cwd=step.cwd, user=step.user)
        async with self._execute(spec, step) as process:
            async for output in process.output():
                await self._emit(OutputWritten(output.data, output.stream, step.number))
            code = await process.wait()
        if code != 0:
            raise BuildFailed(
                f"the command '{' '.join(step.args)}' returned a non-zero code: {code}",
                exit_code=code,
            )


def _described(base: Origin) -> str:
    """What a stage starts from, as people call it."""
    if isinstance(base, Stage):
        return f"stage '{base.base.alias or base.index}'"
    return "scratch" if base == SCRATCH else f"image '{base}'"


def _check(fetched: RemoteFile, checksum: str) -> None:
    if fetched.digest != checksum:
        raise InvalidInput(
            f"the file has the checksum '{fetched.digest}'",
            hint="if that is the file that you mean, write it after --checksum=",
        )
