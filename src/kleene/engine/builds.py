"""Builds: from an :class:`ImageBuildConfig` to an image. Looks up, plans, solves; decides what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Sequence
from typing import IO

import msgspec

from kleene import names
from kleene.build import plan as planning
from kleene.build.adding import RemoteFile
from kleene.build.cachepolicy import cache_policy
from kleene.build.config import EMPTY_CONFIG, ImageConfig
from kleene.build.context import Context
from kleene.build.events import BuildFailed, Emit, Event, Started, Warned
from kleene.build.kept_digests import KeptDigests
from kleene.build.stages import SCRATCH, StageNode
from kleene.build.workshop import Workshop
from kleene.dockerfile.document import Dockerfile, Stage, read_dockerfile
from kleene.dockerfile.excerpt import nearest
from kleene.dockerfile.source import DockerfileError, Source
from kleene.engine import authorization, checks, lookup, making, named_contexts, resumed
from kleene.engine.build_arguments import with_settings
from kleene.engine.build_caches import BuildCaches
from kleene.engine.build_container import Services
from kleene.engine.build_mounts import DIRECTORY, BuildMounts
from kleene.engine.build_stages import Stages
from kleene.engine.contexts import Contexts, Place
from kleene.engine.core import Core
from kleene.engine.download import open_url
from kleene.engine.origins import Digests, Origins
from kleene.engine.repositories import Repositories
from kleene.errors import InvalidInput, KleeneError, NotFound
from kleene.host import bounded, oserrors
from kleene.host.archive import Bounds
from kleene.host.threads import Stop, in_thread
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.names import ImageReference
from kleene.schemas.images import ImageBuildConfig

_CHUNK = 1024 * 1024

Bases = dict[ImageReference, tuple[ImageRecord, SnapshotRecord]]
"""The images that a build refers to, with the snapshots that are meant."""


class Builds:
    """Builds images. Remembers digests of files from one build to the next."""

    def __init__(
        self, core: Core, services: Services, contexts: Contexts, caches: BuildCaches
    ) -> None:
        self._core = core
        self._contexts = contexts
        self._caches = caches
        self._services = services
        self._digests = KeptDigests(core.platform.root / "digests")
        self._origins: Digests = {}

    async def build(self, config: ImageBuildConfig, emit: Emit) -> str:
        """Build an image from a Dockerfile; its id. If only a check is wanted, tell its warnings, and no id.

        Raises:
            BuildFailed: a step failed. Without ``cleanup`` the image is kept as ``NAME:failed``.
            KleeneError: the build could not begin; nothing is left behind.
        """
        config = with_settings(config)
        nametag = names.parse_nametag(config.tag) if config.tag else None
        names.check_labels(config.labels)
        async with contextlib.AsyncExitStack() as stack:
            place = await stack.enter_async_context(self._contexts.opened(config, emit))
            context = await asyncio.to_thread(
                Context.open, place.path, dockerfile=config.dockerfile, digests=self._digests
            )
            stack.callback(context.close)
            stack.push_async_callback(asyncio.to_thread, self._digests.save)
            context.path = place.name
            dockerfile = await in_thread(lambda _: _read(context, place))
            images = self._core.images
            named = named_contexts.named(config)
            warnings = await checks.check(dockerfile, config.buildargs, context, images, named)
            if config.check:
                await self._check(config, dockerfile, warnings, emit)
                return ""
            checks.refuse(dockerfile, warnings)
            policy = cache_policy(
                dockerfile,
                use=not config.no_cache,
                filters=config.no_cache_filter,
                last_step=config.cache_last_step,
            )
            resumption = resumed.find(self._core, config.resume) if config.resume else None
            bases, plan = await self._plan(config, dockerfile)
            emit = checks.at_their_steps(emit, warnings, plan)
            undo = await stack.enter_async_context(contextlib.AsyncExitStack())
            parent, base = _parent(plan, bases)
            record = making.begin(self._core, parent=parent, base=base)
            undo.push_async_callback(making.destroy, self._core, record)
            await emit(Started(record.id))
            origins = await stack.enter_async_context(Origins(self._core, self._origins))
            mounts = await stack.enter_async_context(
                BuildMounts(self._core, self._caches, config, context, origins, dockerfile.source)
            )
            nodes = [stage.node for stage in plan.stages]
            wanted = [node.stage.given for node in nodes if node.stage.given is not None]
            given = await named_contexts.opened(
                stack, self._contexts, config, wanted, self._digests, emit
            )
            limits = self._core.platform.contexts
            workshop = Workshop(
                image_id=record.id,
                storage=self._core.platform.storage,
                images=images,
                context=context,
                origins=origins,
                mounts=mounts,
                repositories=Repositories(
                    self._core.platform.root / DIRECTORY,
                    self._contexts.login(config),
                    Bounds(limits.size, limits.entries),
                ),
                fetch=functools.partial(self._fetch, config),
                source=dockerfile.source,
                emit=_quiet(emit) if config.quiet else emit,
                environment=_cache_environment(config),
                cache=policy,
                keep_failed=not config.cleanup,
                total=len(plan.steps),
                states={str(reference): found[1] for reference, found in bases.items()},
                clone_container=functools.partial(resumed.clone, self._core),
                given=given,
            )
            stages = Stages(self._services, config, workshop, mounts, record, undo, resumption)
            name, tag = nametag or (None, None)
            try:
                for warning in plan.warnings:
                    await workshop.emit(Warned(warning))
                await stages.build(plan.stages, _parallel(config))
            except BuildFailed as error:
                if not config.cleanup and await stages.keep(name, name and "failed"):
                    error.image_id = record.id
                raise
            await stages.keep(name, tag)
        return record.id

    async def _check(
        self,
        config: ImageBuildConfig,
        dockerfile: Dockerfile,
        warnings: checks.Warnings,
        emit: Emit,
    ) -> None:
        """Tell all warnings, and raise what a build would raise before its first step."""
        for warning in warnings:
            await emit(checks.warned(warning))
        try:
            await self._plan(config, dockerfile)
        except DockerfileError as error:
            # An image that is not here yet says nothing of the Dockerfile.
            if not isinstance(error.__cause__, NotFound):
                raise

    async def _fetch(self, config: ImageBuildConfig, url: str) -> RemoteFile:
        """Fetch a file into one without a name, which goes with its last descriptor."""
        file = tempfile.TemporaryFile(dir=self._core.platform.root)  # noqa: SIM115
        limit = self._core.platform.contexts.size
        secrets = {name: secret.data for name, secret in config.secrets.items()}
        header = authorization.for_file(url, secrets)

        def work(stop: Stop) -> RemoteFile:
            digest = hashlib.sha256()
            with open_url(url, stop.check, authorization=header) as remote:
                while data := remote.stream.read(_CHUNK):
                    stop.check()
                    digest.update(data)
                    _write(file, data, limit)
            file.flush()
            return RemoteFile(file, f"sha256:{digest.hexdigest()}", remote.modified)

        try:
            return await in_thread(work)
        except BaseException:
            file.close()
            raise

    async def _plan(
        self, config: ImageBuildConfig, dockerfile: Dockerfile
    ) -> tuple[Bases, planning.Plan]:
        """Look up what is referred to, and plan. A hostile file takes seconds: it is planned in a thread."""
        options = config.container_config
        override = options.image or ""
        nodes, bases = await self._stages(config, dockerfile)
        configs = {reference: _image_config(found[0]) for reference, found in bases.items()}
        plan = await asyncio.to_thread(
            planning.plan,
            dockerfile,
            nodes,
            configs | {SCRATCH: EMPTY_CONFIG},
            config.buildargs,
            override=override,
            user=options.user or "",
            env=options.env or [],
        )
        return bases, plan

    async def _stages(
        self, config: ImageBuildConfig, dockerfile: Dockerfile
    ) -> tuple[Sequence[StageNode], Bases]:
        """The stages, and the images that they name: their ONBUILD may name more of both."""
        override = config.container_config.image or ""
        aliases = [stage.base.alias for stage in dockerfile.stages if stage.base.alias]
        named = named_contexts.named(config)
        bases: Bases = {}
        triggers: dict[ImageReference, list[str]] = {}
        while True:
            nodes = await asyncio.to_thread(
                planning.stages_of,
                dockerfile,
                config.buildargs,
                override,
                target=config.target,
                triggers=triggers,
                named=named,
            )
            self._look_up(nodes, aliases, override, bases)
            known = {ref: found.settings.onbuild for ref, (found, _) in bases.items()}
            asked = {reference: texts for reference, texts in known.items() if texts}
            if asked == triggers:
                return nodes, bases
            triggers = asked

    def _look_up(
        self, nodes: Sequence[StageNode], known: Sequence[str], override: str, found: Bases
    ) -> None:
        """Put the images that stages name into ``found``; ``known``: names of stages."""
        for node in nodes:
            for word, origin in ((node.stage.base.image, node.base), *node.origins):
                if isinstance(origin, Stage) or origin == SCRATCH or origin in found:
                    continue
                try:
                    found[origin] = lookup.image(self._core.images, str(origin))
                except KleeneError as error:
                    if str(origin) == override:
                        raise
                    near = nearest(str(origin), known)
                    hint = f"did you mean the stage '{near}'?" if near else error.hint
                    raise word.error(error.message, hint) from error


def _parallel(config: ImageBuildConfig) -> int:
    """How many stages are built at a time."""
    # Two build containers cannot have the same address, or publish the same ports.
    if any(e.ip_address or e.ip_address6 for e in config.networks):
        return 1
    if config.container_config.public_ports:
        return 1
    return config.parallel or len(os.sched_getaffinity(0))


def _write(file: IO[bytes], data: bytes, limit: int) -> None:
    if file.tell() + len(data) > limit:
        raise InvalidInput(
            f"what was to be added is too large: the most is {limit} bytes",
            hint="raise 'context_max_size' in the daemon's configuration",
        )
    bounded.check_space(file.fileno(), "what was fetched cannot be kept")
    try:
        file.write(data)
    except OSError as error:
        raise oserrors.explain(error, "what was fetched cannot be kept") from error


def _read(context: Context, place: Place) -> Dockerfile:
    data = context.read_dockerfile() if place.dockerfile is None else place.dockerfile
    return read_dockerfile(Source.from_bytes(context.dockerfile, data))


def _parent(plan: planning.Plan, bases: Bases) -> tuple[str, str | None]:
    """The image that the target starts from, by whatever stages, as ``ID@SNAPSHOT``; and its snapshot."""
    nodes = {stage.node.stage.index: stage.node for stage in plan.stages}
    base = plan.stages[-1].node.base
    while isinstance(base, Stage):
        base = nodes[base.index].base
    if base == SCRATCH:
        return "", None
    image, snapshot = bases[base]
    return f"{image.id}@{snapshot.id}", snapshot.id


def _image_config(record: ImageRecord) -> ImageConfig:
    return ImageConfig(
        tuple(record.cmd), tuple(record.env), record.user, record.workdir or "/", record.settings
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
    if options.hostname:
        relevant.append(options.hostname)
    return msgspec.json.encode(relevant).decode()
