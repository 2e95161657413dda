"""What the mounts of RUN are made of: caches, secrets, agents, files of the context, of stages and images.

Lives as long as a build. What a step may write to and throws away is made for it alone; files of the context
that it may only read are copied once, so that ``.dockerignore`` holds, all belongs to root, and a change of
the context meanwhile changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kleene.build import manifests
from kleene.build.context import Context
from kleene.build.mounts import RunMount
from kleene.build.selection import Selection
from kleene.dockerfile.source import DockerfileError, Source
from kleene.engine.agents import forwarded
from kleene.engine.build_caches import BuildCaches, cache_key
from kleene.engine.core import Core
from kleene.engine.origins import Origins
from kleene.errors import InvalidInput, KleeneError
from kleene.host import inroot, removal
from kleene.metadata.images import SnapshotRecord
from kleene.runtime.driver import ProcessSpec, StepMount
from kleene.schemas.images import ImageBuildConfig

States = Mapping[int | str, SnapshotRecord]
"""What there is to mount: images by reference, finished stages by index."""

DIRECTORY = "build-mounts"
"""In the data directory: what is in it belongs to builds that run."""

SECRET_LIMIT = 500 * 1024
"""Bytes of a secret, as in BuildKit."""

_GLOB = str.maketrans({character: f"\\{character}" for character in "*?[\\"})


@dataclass
class Prepared:
    """What one step is given."""

    mounts: list[tuple[RunMount, StepMount]] = field(default_factory=list)
    env: list[str] = field(default_factory=list)

    def process(self, spec: ProcessSpec) -> ProcessSpec:
        """The same process, with the variables that come with the mounts."""
        return replace(spec, env=[*spec.env, *self.env])


class BuildMounts(contextlib.AsyncExitStack):
    """The mounts of one build: an async context manager that takes the copies away."""

    def __init__(
        self,
        core: Core,
        caches: BuildCaches,
        config: ImageBuildConfig,
        context: Context | None,
        origins: Origins,
        source: Source,
    ) -> None:
        super().__init__()
        self._core = core
        self._caches = caches
        self._context = context
        self._origins = origins
        self._source = source
        self._secrets = {name: secret.data for name, secret in config.secrets.items()}
        self._agents = config.ssh
        self._copies: dict[str, Path] = {}
        self._selected: dict[str, Selection] = {}
        for name, data in self._secrets.items():
            if len(data) > SECRET_LIMIT:
                raise InvalidInput(f"secret '{name}' is larger than {SECRET_LIMIT} bytes")

    async def digest(self, mounts: Iterable[RunMount], states: States) -> str | None:
        """What of the files in the mounts decides the state after the step; ``None`` if there are none."""
        digests = [await self._digest(mount, states) for mount in mounts if mount.has_content]
        return " ".join(digests) if digests else None

    async def _digest(self, mount: RunMount, states: States) -> str:
        if mount.origin is not None and mount.source == ".":
            snapshot = states[mount.origin]
            return snapshot.key or snapshot.id
        with self.placed(mount):
            if mount.origin is None:
                return await (await self._of_context(mount)).digest()
            where = states[mount.origin], mount.origin_name
            return await self._origins.digest(*where, (literal(mount.source),))

    async def manifest(self, mounts: Iterable[RunMount], states: States) -> bytes:
        """What files are in the mounts, as far as :meth:`digest` has read them (``build.manifests``)."""
        parts = []
        for mount in (mount for mount in mounts if mount.has_content):
            where = f"{mount.origin_name}:/" if mount.origin is not None else ""
            parts.append((where, await self._manifest(mount, states)))
        return await asyncio.to_thread(manifests.joined, parts)

    async def _manifest(self, mount: RunMount, states: States) -> bytes:
        if mount.origin is None:
            return await (await self._of_context(mount)).manifest()
        snapshot = states[mount.origin]
        if mount.source == ".":  # to read all of an image would take longer than to build it
            return manifests.pack([manifests.whole(snapshot.key or snapshot.id)])
        name = mount.origin_name
        return await (
            await self._origins.select(snapshot, name, (literal(mount.source),))
        ).manifest()

    async def _of_context(self, mount: RunMount) -> Selection:
        """The same in all of the build: what counts for a key is what the command sees."""
        assert self._context is not None  # whoever has no context has no such mounts
        if mount.source not in self._selected:
            taken = await self._context.select((literal(mount.source),))
            self._selected.setdefault(mount.source, taken)  # another stage may have been faster
        return self._selected[mount.source]

    @contextlib.contextmanager
    def placed(self, mount: RunMount) -> Iterator[None]:
        """Errors point to the mount."""
        try:
            yield
        except DockerfileError:
            raise
        except KleeneError as error:
            if mount.range is None:
                raise
            raise DockerfileError(self._source, mount.range, error.message, error.hint) from error

    @contextlib.asynccontextmanager
    async def prepared(self, mounts: Iterable[RunMount], states: States) -> AsyncIterator[Prepared]:
        """The mounts of one step, as long as the block lasts; waits for caches that are locked."""
        async with contextlib.AsyncExitStack() as stack:
            held = await self._hold(mounts, states, stack)
            prepared = Prepared()
            for mount in mounts:
                with self.placed(mount):
                    await self._prepare(mount, states, held, prepared, stack)
            yield prepared

    async def _hold(
        self, mounts: Iterable[RunMount], states: States, stack: contextlib.AsyncExitStack
    ) -> dict[RunMount, Path]:
        """The caches. In one order, lest two steps wait for each other; each once, lest a step for itself."""
        wanted = []
        for mount in mounts:
            if mount.kind == "cache":
                base = await self._digest(mount, states) if mount.origin is not None else ""
                wanted.append((cache_key(mount, base), base, mount))
        held: dict[RunMount, Path] = {}
        by_key: dict[str, Path] = {}
        for key, base, mount in sorted(wanted, key=lambda found: found[0]):
            if key not in by_key:

                async def fill(root: Path, mount: RunMount = mount) -> None:
                    await self._fill(root, mount, states)

                with self.placed(mount):
                    by_key[key] = await stack.enter_async_context(
                        self._caches.held(mount, base, fill)
                    )
            held[mount] = by_key[key]
        return held

    async def _fill(self, root: Path, mount: RunMount, states: States) -> None:
        """Put into a new cache what it begins with."""
        if mount.origin is not None:
            name = mount.origin_name
            taken = await self._origins.select(states[mount.origin], name, (literal(mount.source),))
            await taken.copy_into(root, "/", directory=True, owner=None)

    async def _prepare(
        self,
        mount: RunMount,
        states: States,
        held: Mapping[RunMount, Path],
        prepared: Prepared,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        target, read_only = mount.target, mount.read_only
        match mount.kind:
            case "cache":
                prepared.mounts.append((mount, StepMount(target, held[mount], "/", read_only)))
            case "tmpfs":
                prepared.mounts.append((mount, StepMount(target, size=mount.size)))
            case "secret":
                self._prepare_secret(mount, prepared)
            case "ssh":
                await self._prepare_agent(mount, prepared, stack)
            case "bind":
                source, path = await self._files(mount, states, stack)
                prepared.mounts.append((mount, StepMount(target, source, path, read_only)))

    def _prepare_secret(self, mount: RunMount, prepared: Prepared) -> None:
        data = self._secrets.get(mount.id)
        if data is None:
            if mount.required:
                raise InvalidInput(
                    f"the build was given no secret '{mount.id}'",
                    hint=f"klee build --secret id={mount.id},src=FILE",
                )
            return
        if mount.env:
            prepared.env.append(f"{mount.env}={_text(mount.id, data)}")
        if mount.target:
            file = StepMount(mount.target, content=data, read_only=True)
            file = replace(file, mode=mount.mode, uid=mount.uid, gid=mount.gid)
            prepared.mounts.append((mount, file))

    async def _prepare_agent(
        self, mount: RunMount, prepared: Prepared, stack: contextlib.AsyncExitStack
    ) -> None:
        agent = self._agents.get(mount.id)
        if agent is None:
            if mount.required:
                raise InvalidInput(
                    f"the build was given no SSH agent '{mount.id}'",
                    hint=f"klee build --ssh {mount.id}",
                )
            return
        look = mount.mode, mount.uid, mount.gid
        run = self._core.platform.run
        directory = await stack.enter_async_context(forwarded(agent, run, *look))
        prepared.mounts.append((mount, StepMount(mount.target, directory, "agent")))
        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in prepared.env):
            prepared.env.append(f"SSH_AUTH_SOCK={mount.target}")

    async def _files(
        self, mount: RunMount, states: States, stack: contextlib.AsyncExitStack
    ) -> tuple[Path, str]:
        """A directory of the host, and the path in it."""
        if mount.origin is None:
            return await self._copied(mount, stack), "/content"
        snapshot, name = states[mount.origin], mount.origin_name
        if mount.read_only:
            root = await self._origins.root(snapshot, name)
        else:
            root = await stack.enter_async_context(self._origins.writable(snapshot))
        if not await asyncio.to_thread(_exists, root, mount.source):
            raise InvalidInput(
                f"'{mount.source}' is not in '{name}'", hint="sources are paths from its root"
            )
        return root, mount.source

    async def _copied(self, mount: RunMount, stack: contextlib.AsyncExitStack) -> Path:
        taken = await self._of_context(mount)
        digest = await taken.digest()
        if mount.read_only and digest in self._copies:
            return self._copies[digest]
        parent = self._core.platform.root / DIRECTORY
        parent.mkdir(mode=0o700, exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=parent))
        (self if mount.read_only else stack).push_async_callback(_remove, copy)
        await taken.copy_into(copy, "/content", directory=False, keep_look=True)
        if mount.read_only:
            self._copies[digest] = copy
        return copy


async def _remove(directory: Path) -> None:
    await asyncio.shield(asyncio.to_thread(removal.discard, directory))


def _exists(root: Path, path: str) -> bool:
    return inroot.exists(root, path)


def literal(path: str) -> str:
    """As a pattern that means just this path."""
    return path.translate(_GLOB)


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidInput(
            f"secret '{name}' is not text, so no variable can have it",
            hint="mount it as a file: leave env= out",
        )
    return text
