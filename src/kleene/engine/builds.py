"""Builds: from an :class:`ImageBuildConfig` to an image. Looks up, plans, solves; decides what is kept."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

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
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.schemas.images import ImageBuildConfig


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
        nametag = names.parse_nametag(config.tag) if config.tag else None
        with await asyncio.to_thread(
            Context.open, config.context, dockerfile=config.dockerfile, digests=self._digests
        ) as context:
            source = Source.from_text(config.dockerfile, context.read_dockerfile())
            dockerfile = read_dockerfile(source)
            parent, base, plan = self._plan(config, dockerfile)
            async with contextlib.AsyncExitStack() as undo:
                record = making.begin(self._core, f"{parent.id}@{base.id}")
                undo.push_async_callback(making.destroy, self._core, record)
                await emit(Started(record.id))
                container = BuildContainer(
                    self._services, record, parent, config.container_config, config.networks
                )
                workshop = Workshop(
                    storage=self._core.platform.storage,
                    images=self._core.images,
                    context=context,
                    source=source,
                    execute=container.execute,
                    emit=_quiet(emit) if config.quiet else emit,
                    environment=_cache_environment(config),
                    use_cache=not config.no_cache,
                )
                finished = _configured(record, plan.config)
                await self._solve(config, nametag, finished, base, plan, workshop, container, undo)
        return record.id

    async def _solve(
        self,
        config: ImageBuildConfig,
        nametag: tuple[str, str] | None,
        image: ImageRecord,
        base: SnapshotRecord,
        plan: planning.Plan,
        workshop: Workshop,
        container: BuildContainer,
        undo: contextlib.AsyncExitStack,
    ) -> None:
        """Carry the plan out; keep what came of it, and then undo nothing."""
        solver = Solver(image.id, base, workshop)
        name, tag = nametag or (None, None)
        async with container:
            for warning in plan.warnings:
                await workshop.emit(OutputWritten(f"warning: {warning}\n".encode(), "stderr"))
            try:
                state = await solver.solve(plan)
            except BuildFailed as error:
                error.snapshot = None if solver.state is base else solver.state.id
                if config.cleanup:
                    raise
                error.image_id = image.id
                await container.aclose()
                self._keep(image, solver.state, name, name and "failed", undo)
                raise
        self._keep(image, state, name, tag, undo)

    def _keep(
        self,
        image: ImageRecord,
        state: SnapshotRecord,
        name: str | None,
        tag: str | None,
        undo: contextlib.AsyncExitStack,
    ) -> None:
        self._core.images.finish(replace(image, name=name, tag=tag, snapshot=state.id))
        undo.pop_all()

    def _plan(
        self, config: ImageBuildConfig, dockerfile: Dockerfile
    ) -> tuple[ImageRecord, SnapshotRecord, planning.Plan]:
        options = config.container_config
        override = options.image or ""
        reference = planning.base_reference(dockerfile, config.buildargs, override)
        try:
            parent, base = lookup.image(self._core.images, str(reference))
        except KleeneError as error:
            if override:
                raise
            place = dockerfile.stages[0].base.image
            raise place.error(error.message, error.hint) from error
        plan = planning.plan(
            dockerfile,
            _image_config(parent),
            config.buildargs,
            override=override,
            user=options.user or "",
            env=options.env or [],
        )
        return parent, base, plan


def _image_config(record: ImageRecord) -> planning.ImageConfig:
    return planning.ImageConfig(
        tuple(record.cmd), tuple(record.env), record.user, record.workdir or "/"
    )


def _configured(record: ImageRecord, config: planning.ImageConfig) -> ImageRecord:
    return replace(
        record,
        cmd=list(config.cmd),
        env=list(config.env),
        user=config.user,
        workdir=config.workdir,
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
