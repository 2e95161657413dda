"""Containers that begin in the middle of a build get the mounts of that step: ``klee build shell``.

What a container is to have is decided when it is made, and told where it cannot be had any more. The mounts
themselves are made when it goes up, as for a step, and go when it goes down. Secrets stay in memory, as long
as the container exists and the daemon runs: after the daemon's restart a kept container has no such mounts.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kleene.build.context import Context
from kleene.build.mounts import RunMount
from kleene.build.step_mounts import restored
from kleene.dockerfile.source import Source
from kleene.engine.build_caches import BuildCaches
from kleene.engine.build_mounts import BuildMounts, States, literal
from kleene.engine.contexts import Contexts
from kleene.engine.core import Core
from kleene.engine.origins import Origins
from kleene.errors import KleeneError, NotFound
from kleene.metadata.images import ImageRecord, SnapshotRecord
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.history import BuildPlace, StepMountInfo
from kleene.schemas.images import ImageBuildConfig

_CHANGED = " has changed since: what is mounted is what is there now"
_NOWHERE = Source.from_text("Dockerfile", "")


@dataclass(frozen=True)
class _Wanted:
    """What a container gets when it goes up."""

    mounts: tuple[RunMount, ...]
    states: States
    config: ImageBuildConfig = field(repr=False)


@dataclass(frozen=True)
class _Held:
    """What a container that is up has."""

    env: list[str] = field(repr=False)
    undo: contextlib.AsyncExitStack


class StepShells:
    """The mounts of steps that containers have."""

    def __init__(self, core: Core, contexts: Contexts, caches: BuildCaches) -> None:
        self._core = core
        self._contexts = contexts
        self._caches = caches
        self._wanted: dict[str, _Wanted] = {}
        self._held: dict[str, _Held] = {}

    async def want(self, container: str, image: ImageRecord, config: ContainerConfig) -> list[str]:
        """Note what a container that is made for a step is to have; what it cannot have, for the user."""
        step = None if config.step is None else self._core.images.step(image.id, config.step)
        if step is None or not step.mounts:
            return []
        place = ImageBuildConfig(
            context=image.place.context,
            upload=image.place.upload,
            dockerfile=image.place.dockerfile,
            container_config=ContainerConfig(),
            secrets=config.step_secrets or {},
            ssh=config.step_ssh or {},
        )
        mounts, states, notes = [], dict[int | str, SnapshotRecord](), []
        for mount in step.mounts:
            note = await self._missing(mount, place, image.place)
            if note:
                notes.append(note)
            if note and not note.endswith(_CHANGED):
                continue
            if mount.snapshot:
                states[mount.origin] = self._snapshot(mount)
            mounts.append(restored(mount))
        self._wanted[container] = _Wanted(tuple(mounts), states, place)
        return notes

    async def _missing(
        self, mount: StepMountInfo, config: ImageBuildConfig, place: BuildPlace
    ) -> str:
        """What there is to tell of a mount; ``""``: it is as the step had it."""
        match mount.kind:
            case "secret" if mount.id not in config.secrets:
                return (
                    f"secret '{mount.id}' was not given, so '{mount.target or mount.env}' is missing:"
                    f" --secret id={mount.id},src=FILE"
                )
            case "ssh" if mount.id not in config.ssh:
                return f"SSH agent '{mount.id}' was not given, so there is none: --ssh {mount.id}"
            case "bind" if not mount.origin:
                return await self._missing_files(mount, config, place)
        if mount.origin and self._core.images.snapshots.get(mount.snapshot) is None:
            return (
                f"the state of '{mount.origin}' that the step saw is gone, so '{mount.target}' is missing:"
                " build again"
            )
        return ""

    async def _missing_files(
        self, mount: StepMountInfo, config: ImageBuildConfig, place: BuildPlace
    ) -> str:
        what = f"'{mount.source}' of the build context"
        if not place.context and not place.upload:
            return f"{what} was fetched or streamed and is not kept, so '{mount.target}' is missing"
        try:
            async with self._context(config) as context:
                now = await (await context.select((literal(mount.source),))).digest()
        except KleeneError as error:
            return f"{what} cannot be had, so '{mount.target}' is missing: {error.message}"
        return "" if now == mount.digest or not mount.digest else f"{what}{_CHANGED}"

    @contextlib.asynccontextmanager
    async def _context(self, config: ImageBuildConfig) -> AsyncIterator[Context]:
        async with self._contexts.opened(config, _nobody) as place:
            with Context.open(place.path, dockerfile=config.dockerfile) as context:
                yield context

    def _snapshot(self, mount: StepMountInfo) -> SnapshotRecord:
        found = self._core.images.snapshots.get(mount.snapshot)
        if found is None:
            raise NotFound(f"snapshot '@{mount.snapshot}' was pruned", hint="build the image again")
        return found

    def forget(self, container: str) -> None:
        """A container is removed."""
        self._wanted.pop(container, None)

    async def provide(self, container: str) -> None:
        """Make the mounts in a container that has just come up; waits for caches that are locked."""
        wanted = self._wanted.get(container)
        if wanted is None:
            return
        await self.withdraw(container)
        async with contextlib.AsyncExitStack() as undo:
            origins = await undo.enter_async_context(Origins(self._core, {}))
            async with contextlib.AsyncExitStack() as reading:
                context = None
                if any(mount.kind == "bind" and mount.origin is None for mount in wanted.mounts):
                    context = await reading.enter_async_context(self._context(wanted.config))
                made = BuildMounts(
                    self._core, self._caches, wanted.config, context, origins, _NOWHERE
                )
                mounts = await undo.enter_async_context(made)
                prepared = await undo.enter_async_context(
                    mounts.prepared(wanted.mounts, wanted.states)
                )
            runtime = self._core.platform.runtime
            for _, mount in prepared.mounts:
                undo.enter_context(runtime.mounted(container, [mount]))
            self._held[container] = _Held(prepared.env, undo.pop_all())

    def env(self, container: str) -> list[str]:
        """The variables that come with the mounts: ``NAME=VALUE``."""
        held = self._held.get(container)
        return list(held.env) if held else []

    async def withdraw(self, container: str) -> None:
        """Take the mounts of a container away that goes down."""
        held = self._held.pop(container, None)
        if held is not None:
            await held.undo.aclose()


async def _nobody(_: object) -> None:
    """Nobody is told of progress."""
