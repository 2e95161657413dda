"""Builds: from an :class:`ImageBuildConfig` to an image. Looks up, plans, solves; decides what is kept."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace

import msgspec

from kleene import names
from kleene.build import plan as planning
from kleene.build.context import Context
from kleene.build.digests import MemoryDigests
from kleene.build.events import BuildFailed, Emit, Event, OutputWritten, Started
from kleene.build.solver import Solver, Workshop
from kleene.dockerfile.document import Dockerfile, read_dockerfile
from kleene.dockerfile.source import Source
from kleene.engine import lookup, making
from kleene.engine.build_container import BuildContainer, Services
from kleene.engine.core import Core
from kleene.errors import KleeneError
from kleene.host.threads import in_thread
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.schemas.images import ImageBuildConfig


@dataclass(frozen=True)
class _Job:
    """A build that was understood: what it makes, where it begins, what it does."""

    image: ImageRecord
    nametag: tuple[str | None, str | None]
    base: SnapshotRecord
    plan: planning.Plan


class Builds:
    """Builds images. Remembers digests of context files from one build to the next."""

    def __init__(self, core: Core, services: Services) -> None:
        self._core = core
        self._services = services
        self._digests = MemoryDigests()

    async def build(self, config: ImageBuildConfig, emit: Emit) -> str:
        """Build an image from a Dockerfile; its id.

        Raises:
            BuildFailed: a step failed. Without ``cleanup`` the image is kept as ``NAME:failed``.
            KleeneError: the build could not begin; nothing is left behind.
        """
        nametag = names.parse_nametag(config.tag) if config.tag else (None, None)
        with await asyncio.to_thread(
            Context.open, config.context, dockerfile=config.dockerfile, digests=self._digests
        ) as context:
            dockerfile = await in_thread(lambda _: _read(config.dockerfile, context))
            parent, base, plan = await self._plan(config, dockerfile)
            async with contextlib.AsyncExitStack() as undo:
                record = making.begin(self._core, parent=f"{parent.id}@{base.id}", base=base.id)
                undo.push_async_callback(making.destroy, self._core, record)
                await emit(Started(record.id))
                container = BuildContainer(
                    self._services, record, parent, config.container_config, config.networks
                )
                workshop = Workshop(
                    storage=self._core.platform.storage,
                    images=self._core.images,
                    context=context,
                    source=dockerfile.source,
                    execute=container.execute,
                    emit=_quiet(emit) if config.quiet else emit,
                    environment=_cache_environment(config),
                    use_cache=not config.no_cache,
                )
                job = _Job(_configured(record, plan.config), nametag, base, plan)
                try:
                    async with container:
                        state = await _solve(job, workshop)
                    self._keep(job, state, nametag[1])
                except BuildFailed as error:
                    if config.cleanup:
                        raise
                    self._keep_failed(job, error)
                    undo.pop_all()
                    raise
                undo.pop_all()
        return record.id

    def _keep(self, job: _Job, state: str, tag: str | None) -> None:
        image = replace(job.image, name=job.nametag[0], tag=tag, snapshot=state)
        self._core.images.finish(image)

    def _keep_failed(self, job: _Job, error: BuildFailed) -> None:
        error.image_id = job.image.id
        self._keep(job, error.snapshot or job.base.id, job.nametag[0] and "failed")

    async def _plan(
        self, config: ImageBuildConfig, dockerfile: Dockerfile
    ) -> tuple[ImageRecord, SnapshotRecord, planning.Plan]:
        """Look the parent up, and plan. A hostile file takes seconds, so it is planned in a thread."""
        options = config.container_config
        override = options.image or ""
        reference = await asyncio.to_thread(
            planning.base_reference, dockerfile, config.buildargs, override
        )
        try:
            parent, base = lookup.image(self._core.images, str(reference))
        except KleeneError as error:
            if override:
                raise
            place = dockerfile.stages[0].base.image
            raise place.error(error.message, error.hint) from error
        plan = await asyncio.to_thread(
            planning.plan,
            dockerfile,
            _image_config(parent),
            config.buildargs,
            override=override,
            user=options.user or "",
            env=options.env or [],
        )
        return parent, base, plan


def _read(name: str, context: Context) -> Dockerfile:
    return read_dockerfile(Source.from_bytes(name, context.read_dockerfile()))


async def _solve(job: _Job, workshop: Workshop) -> str:
    """Carry the plan out; the snapshot of the last state. A failure says the last good one."""
    for warning in job.plan.warnings:
        await workshop.emit(OutputWritten(f"warning: {warning}\n".encode(), "stderr"))
    solver = Solver(job.image.id, job.base, workshop)
    try:
        return (await solver.solve(job.plan)).id
    except BuildFailed as error:
        error.snapshot = None if solver.state is job.base else solver.state.id
        raise


def _image_config(record: ImageRecord) -> planning.ImageConfig:
    return planning.ImageConfig(
        tuple(record.cmd), tuple(record.env), record.user, record.workdir or "/", record.settings
    )


def _configured(record: ImageRecord, config: planning.ImageConfig) -> ImageRecord:
    return replace(
        record,
        cmd=list(config.cmd),
        env=list(config.env),
        user=config.user,
        workdir=config.workdir,
        settings=config.settings,
    )


def _quiet(emit: Emit) -> Emit:
    """Hand on nothing of what the steps say."""

    async def quiet(event: Event) -> None:
        if isinstance(event, Started):
            await emit(event)

    return quiet


def _cache_environment(config: ImageBuildConfig) -> str:
    """Canonical text of the options of the build container that a step's outcome may depend on."""
    options = config.container_config
    relevant = [
        sorted(options.jail_param or []),
        options.mounts or [],
        options.network_driver,
        sorted(endpoint.network for endpoint in config.networks),
    ]
    return msgspec.json.encode(relevant).decode()
