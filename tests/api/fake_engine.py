"""The engine's facade in memory: every method there is, and a script of what it shall do for the streams.

Lasts for one test. Errors are the real ones, so that the API maps what it will meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kleene.build.events import Emit, OutputWritten
from kleene.engine.lists import Lists
from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound
from kleene.names import new_id
from kleene.runtime.driver import Output
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import (
    CommitConfig,
    Container,
    ContainerConfig,
    ContainerInspect,
    ContainerProcess,
    ContainerStats,
    ContainerSummary,
    FileChange,
)
from kleene.schemas.contexts import ContextOffer
from kleene.schemas.events import Event, EventsConfig
from kleene.schemas.execs import AttachConfig, ExecConfig, ExecInfo
from kleene.schemas.history import BisectConfig, Blame, HistoryStep, StateChange
from kleene.schemas.images import Image, ImageBuildConfig, ImageCreateConfig
from kleene.schemas.logs import LogsConfig
from kleene.schemas.networks import (
    EndPoint,
    EndPointConfig,
    Network,
    NetworkConfig,
    NetworkInspect,
)
from kleene.schemas.secrets import Config, ConfigInspect, Secret, StoredFileConfig
from kleene.schemas.space import (
    HeldObject,
    ImageSize,
    KindUsage,
    PrunePlan,
    SnapshotSize,
    SystemUsage,
)
from kleene.schemas.system import Info
from kleene.schemas.volumes import (
    Volume,
    VolumeCloneConfig,
    VolumeConfig,
    VolumeInspect,
    VolumeSnapshot,
    VolumeUpdate,
)

CREATED = "2026-01-01T00:00:00Z"

Ids = list[str]
ImageList = list[Image]
ContainerList = list[ContainerSummary]
ProcessList = list[ContainerProcess]
NetworkList = list[Network]
VolumeList = list[Volume]


def image(name: str = "web") -> Image:
    return Image(
        id=new_id(),
        name=name,
        tag="latest",
        dataset="image/x",
        created=CREATED,
        cmd=["/bin/sh"],
        env=["A=b"],
        user="",
        instructions=[["RUN true", "c069e69af8cf"]],
    )


class FakeImages:
    def __init__(self) -> None:
        self.held = {made.id: made for made in (image("web"), image("library/web"))}
        self.making: Callable[[Emit], Awaitable[str]] | None = None
        self.config: ImageBuildConfig | ImageCreateConfig | None = None
        self.cancelled = asyncio.Event()

    def find(self, ref: str) -> Image:
        for made in self.held.values():
            if made.id.startswith(ref) or ref in (made.name, f"{made.name}:{made.tag}"):
                return made
        raise NotFound(f"image '{ref}' does not exist", hint="list them: klee lsi")

    async def list(self) -> ImageList:
        return [*self.held.values()]

    async def inspect(self, ref: str, /) -> Image:
        return self.find(ref)

    async def tag(self, ref: str, nametag: str, /) -> str:
        made = self.find(ref)
        made.name, _, made.tag = nametag.partition(":")
        return made.id

    async def remove(self, ref: str, /) -> str:
        return self.held.pop(self.find(ref).id).id

    async def create(self, config: ImageCreateConfig, emit: Emit, /) -> str:
        return await self._make(config, emit)

    async def build(self, config: ImageBuildConfig, emit: Emit, /) -> str:
        return await self._make(config, emit)

    async def _make(self, config: ImageBuildConfig | ImageCreateConfig, emit: Emit) -> str:
        self.config = config
        assert self.making is not None
        try:
            return await self.making(emit)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class FakeSpace:
    def __init__(self, images: FakeImages) -> None:
        self.images = images
        self.asked: list[tuple[str, bool, Sequence[str], Collection[str] | None]] = []

    async def usage(self) -> SystemUsage:
        kind = KindUsage(
            kind="images", count=1, active=0, own=1, prunable=1, objects=[self._held("web")]
        )
        return SystemUsage(kinds=[kind], own=1, prunable=1, free=9)

    def _held(self, name: str) -> HeldObject:
        return HeldObject(
            kind="image", id=new_id(), name=name, used=CREATED, own=1, size=2, prunable=True
        )

    async def of_image(self, ref: str, /) -> ImageSize:
        self.images.find(ref)
        return ImageSize(own=1, shared=2, size=3, snapshots=[SnapshotSize("c069e69af8cf", 0, 3)])

    async def plan_images(self, *, every: bool, filters: Sequence[str] = ()) -> PrunePlan:
        self.asked.append(("plan images", every, filters, None))
        return PrunePlan([self._held("web")], 1)

    async def plan_cache(self, *, every: bool, filters: Sequence[str] = ()) -> PrunePlan:
        self.asked.append(("plan cache", every, filters, None))
        return PrunePlan([], 0)

    async def prune_images(
        self, *, every: bool, filters: Sequence[str] = (), only: Collection[str] | None = None
    ) -> Ids:
        self.asked.append(("images", every, filters, only))
        return [*self.images.held] if every else []

    async def prune_cache(
        self, *, every: bool, filters: Sequence[str] = (), only: Collection[str] | None = None
    ) -> Ids:
        self.asked.append(("cache", every, filters, only))
        return ["c069e69af8cf"]


class FakeHistory:
    def __init__(self, images: FakeImages) -> None:
        self.images = images

    async def steps(self, ref: str, /) -> list[HistoryStep]:
        self.images.find(ref)
        step = HistoryStep(
            number=1,
            instruction="RUN true",
            snapshot="c069e69af8cf",
            before="",
            kept=True,
            failed=False,
            cached=False,
            reason="",
            seconds=0.1,
            size=None,
            key="k",
            stage=0,
            stage_name="",
            first_line=1,
            last_line=1,
            args=["true"],
            user="",
            workdir="/",
            shell=[],
            env=[],
        )
        return [step]

    async def diff(self, older: str, newer: str, /) -> list[StateChange]:
        self.images.find(older)
        self.images.find(newer)
        return [StateChange("added", "etc/passwd", None, 12)]

    async def blame(self, ref: str, path: str, /) -> Blame:
        made = self.images.find(ref)
        return Blame(
            path=path,
            found=True,
            image=made.id,
            image_name="web:latest",
            step=1,
            instruction="RUN true",
            snapshot="c069e69af8cf",
            since=1,
        )


@dataclass
class FakeFound:
    message: str
    snapshot: str


class FakeBisect:
    async def run(self, config: BisectConfig, emit: Emit, /) -> FakeFound:
        await emit(OutputWritten(config.command[0].encode()))
        return FakeFound("the command fails since step 2", "c069e69af8cf")


class FakeContainers:
    def __init__(self) -> None:
        self.held: dict[str, ContainerSummary] = {}
        self.calls: list[object] = []
        self.broken: Exception | None = None

    def find(self, ref: str) -> ContainerSummary:
        for made in self.held.values():
            if made.id.startswith(ref) or made.name == ref:
                return made
        raise NotFound(f"container '{ref}' does not exist")

    async def create(self, config: ContainerConfig, /) -> IdResponse:
        if config.image is None:
            raise InvalidInput("no image was named")
        if config.name in {made.name for made in self.held.values()}:
            raise Conflict(f"name '{config.name}' is taken")
        made = ContainerSummary(
            id=new_id(),
            name=config.name or "calm_noether",
            image_id=new_id(),
            dataset="container/x",
            created=CREATED,
            running=False,
            cmd=config.cmd or [],
            env=config.env or [],
            user="",
            jail_param=[],
            network_driver="host",
            persist=False,
            public_ports=[],
            restart_policy="no",
            image_name="web",
            image_tag="latest",
        )
        self.held[made.id] = made
        return IdResponse(made.id)

    async def list(
        self,
        all: bool,  # noqa: A002
        choose: Callable[[Any], Any] = lambda records: records,
        /,
    ) -> ContainerList:
        if self.broken:
            raise self.broken
        return [*choose([made for made in self.held.values() if all or made.running])]

    async def inspect(self, ref: str, /) -> ContainerInspect:
        made = msgspec.convert(msgspec.to_builtins(self.find(ref)), Container)
        endpoint = EndPoint(new_id(), made.id, new_id(), "10.0.0.2", "")
        return ContainerInspect(made, [endpoint], [])

    async def remove(self, ref: str, /, *, force: bool = False) -> str:
        made = self.find(ref)
        if made.running and not force:
            raise Conflict(f"container '{ref}' is running", hint=f"stop it first: klee stop {ref}")
        return self.held.pop(made.id).id

    async def prune(self, filters: Sequence[str] = (), /) -> Ids:
        return [made for made in self.held if not self.held[made].running]

    async def stop(self, ref: str, /, *, timeout: float | None = None) -> str:  # noqa: ASYNC109
        self.calls.append(timeout)
        return self.find(ref).id

    async def kill(self, ref: str, signal: str, /) -> str:
        self.calls.append(signal)
        return self.find(ref).id

    async def top(self, ref: str, /) -> ProcessList:
        made = self.find(ref)
        return [ContainerProcess(6, 1, 4711, "root", CREATED, 0.25, made.cmd)]

    async def update(self, ref: str, config: ContainerConfig, /) -> IdResponse:
        made = self.find(ref)
        made.name = config.name or made.name
        return IdResponse(made.id)


@dataclass
class FakeResult:
    exit_code: int
    container_stopped: bool


@dataclass
class FakeSession:
    """A process that writes ``chunks``, then what ``talk`` makes of its input, then ends."""

    exec_id: str
    chunks: list[Output]
    talk: Callable[[FakeSession], AsyncIterator[Output]] | None = None
    ending: FakeResult = field(default_factory=lambda: FakeResult(0, True))
    received: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    controls: asyncio.Queue[object] = field(default_factory=asyncio.Queue)
    detached: asyncio.Event = field(default_factory=asyncio.Event)

    async def output(self) -> AsyncIterator[Output]:
        try:
            for chunk in self.chunks:
                yield chunk
            if self.talk is not None:
                async for chunk in self.talk(self):
                    yield chunk
        finally:
            self.detached.set()

    async def write(self, data: bytes, /) -> None:
        self.received.put_nowait(data)

    async def close_stdin(self) -> None:
        self.received.put_nowait(None)

    async def resize(self, rows: int, columns: int, /) -> None:
        self.controls.put_nowait((rows, columns))

    async def signal(self, name: str, /) -> None:
        if not name.startswith("SIG"):
            raise InvalidInput(f"signal '{name}' is not known")
        self.controls.put_nowait(name)

    async def result(self) -> FakeResult:
        return self.ending


class FakeExecs:
    def __init__(self) -> None:
        self.sessions: dict[str, FakeSession] = {}
        self.started: list[dict[str, object]] = []
        self.failure: Exception | None = None

    def add(self, *chunks: Output, **options: object) -> FakeSession:
        session = FakeSession(new_id(), list(chunks), **options)  # type: ignore[arg-type]
        self.sessions[session.exec_id] = session
        return session

    async def create(self, config: ExecConfig, /) -> str:
        if config.container_id == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return self.add().exec_id

    async def start(
        self,
        exec_id: str,
        /,
        *,
        attach: bool,
        start_container: bool,
        rows: int | None = None,
        columns: int | None = None,
    ) -> FakeSession:
        if self.failure is not None:
            raise self.failure
        if exec_id not in self.sessions:
            raise NotFound(f"execution instance '{exec_id}' does not exist")
        self.started.append(
            {"attach": attach, "start_container": start_container, "size": (rows, columns)}
        )
        return self.sessions[exec_id]

    async def wait(self, container: str, /) -> int:
        if container == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return 7

    async def running(self, ref: str, /) -> list[ExecInfo]:
        return [ExecInfo(exec_id, ["/s"], "", False, True) for exec_id in self.sessions]

    async def attach(self, ref: str, config: AttachConfig, /) -> FakeSession:
        if config.exec_id not in self.sessions:
            raise Conflict(f"container '{ref}' is not running")
        return self.sessions[config.exec_id]

    async def stop(self, exec_id: str, /, *, force: bool, stop_container: bool) -> str:
        if exec_id not in self.sessions:
            raise NotFound(f"execution instance '{exec_id}' does not exist")
        self.started.append({"force": force, "stop_container": stop_container})
        return exec_id


class FakeStates:
    async def diff(self, ref: str, /) -> list[FileChange]:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return [FileChange("added", "/new"), FileChange("modified", "/etc/passwd")]

    async def commit(self, ref: str, config: CommitConfig, /) -> str:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return new_id()


class FakeStats:
    async def of(self, ref: str, /) -> ContainerStats:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return ContainerStats(new_id(), ref, CREATED, 1.5, 2, 1000, 0, 3, 4096, 0, 10, 20)

    async def all(self) -> list[ContainerStats]:
        return [await self.of("web")]


class FakeEvents:
    async def read(self, config: EventsConfig, /) -> AsyncGenerator[Event, None]:
        if config.filters == ["wrong"]:
            raise InvalidInput("filter 'wrong' cannot be understood")
        yield Event(CREATED, "container", "start", new_id(), "web", {"image": "web:latest"})


class FakeLogs:
    def __init__(self) -> None:
        self.written: list[Output] = []
        self.config: LogsConfig | None = None
        self.endless = False
        self.closed = asyncio.Event()

    async def read(self, ref: str, config: LogsConfig, /) -> AsyncGenerator[Output, None]:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        self.config = config
        try:
            for output in self.written:
                yield output
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


class FakeCopies:
    def __init__(self) -> None:
        self.received: list[tuple[str, str, str, bool, bytes]] = []
        self.content: list[bytes] = []

    async def read(
        self, ref: str, path: str, /, *, follow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        return self._read()

    async def _read(self) -> AsyncGenerator[bytes, None]:
        for chunk in self.content:
            yield chunk

    async def write(
        self,
        ref: str,
        path: str,
        chunks: AsyncIterator[bytes],
        /,
        *,
        name: str = "",
        directory: bool = False,
    ) -> None:
        if ref == "nothing":
            raise NotFound("container 'nothing' does not exist")
        data = b"".join([chunk async for chunk in chunks])
        self.received.append((ref, path, name, directory, data))


class FakeContexts:
    def __init__(self) -> None:
        self.listed: list[bytes] = []
        self.received: list[tuple[str, bytes]] = []

    async def offer(self, chunks: AsyncIterator[bytes], /) -> ContextOffer:
        listed = b"".join([chunk async for chunk in chunks])
        if not listed:
            raise InvalidInput("the list of the context cannot be understood")
        self.listed.append(listed)
        return ContextOffer("0" * 32, {"a" * 64: 7})

    async def receive(self, chunks: AsyncIterator[bytes], /) -> None:
        self.received.append(("", b"".join([chunk async for chunk in chunks])))

    async def receive_archive(self, token: str, chunks: AsyncIterator[bytes], /) -> None:
        self.received.append((token, b"".join([chunk async for chunk in chunks])))


class FakeNetworks:
    def __init__(self) -> None:
        self.held: dict[str, Network] = {}
        self.connected: list[tuple[str, str]] = []

    def find(self, ref: str) -> Network:
        for made in self.held.values():
            if made.id.startswith(ref) or made.name == ref:
                return made
        raise NotFound(f"network '{ref}' does not exist")

    async def create(self, config: NetworkConfig, /) -> str:
        if config.name in {made.name for made in self.held.values()}:
            raise Conflict(f"network '{config.name}' exists already")
        made = Network(id=new_id(), **msgspec.structs.asdict(config))
        self.held[made.id] = made
        return made.id

    async def list(self) -> NetworkList:
        return [*self.held.values()]

    async def inspect(self, ref: str, /) -> NetworkInspect:
        return NetworkInspect(self.find(ref), [])

    async def remove(self, ref: str, /) -> str:
        return self.held.pop(self.find(ref).id).id

    async def prune(self, filters: Sequence[str] = (), /) -> Ids:
        return [*self.held]

    async def connect(self, config: EndPointConfig, /) -> None:
        if (config.network, config.container) in self.connected:
            raise Conflict(f"container '{config.container}' is connected already")
        self.find(config.network)
        self.connected.append((config.network, config.container))

    async def disconnect(self, network: str, container: str, /) -> None:
        if (network, container) not in self.connected:
            raise NotFound(f"container '{container}' is not connected to network '{network}'")
        self.connected.remove((network, container))


class FakeVolumes:
    def __init__(self) -> None:
        self.held: dict[str, Volume] = {}

    async def create(self, config: VolumeConfig, /) -> str:
        self.held[config.name] = Volume(
            config.name, "volume/x", "/volume/x", CREATED, config.quota, config.labels
        )
        return config.name

    async def list(self) -> VolumeList:
        return [*self.held.values()]

    async def inspect(self, name: str, /) -> VolumeInspect:
        if name not in self.held:
            raise NotFound(f"volume '{name}' does not exist")
        return VolumeInspect(self.held[name], [])

    async def remove(self, name: str, /) -> str:
        if name not in self.held:
            raise NotFound(f"volume '{name}' does not exist")
        return self.held.pop(name).name

    async def prune(self, filters: Sequence[str] = (), /) -> Ids:
        return [*self.held]


class FakeVolumeStates:
    def __init__(self, volumes: FakeVolumes) -> None:
        self._volumes = volumes
        self.held: dict[tuple[str, str], VolumeSnapshot] = {}
        self.received: list[bytes] = []

    async def update(self, name: str, change: VolumeUpdate, /) -> str:
        volume = (await self._volumes.inspect(name)).volume
        volume.quota = change.quota
        return name

    async def snapshots(self, name: str, /) -> list[VolumeSnapshot]:
        await self._volumes.inspect(name)
        return [made for (volume, _), made in self.held.items() if volume == name]

    async def snapshot(self, name: str, wanted: str, /) -> str:
        await self._volumes.inspect(name)
        if (name, wanted) in self.held:
            raise Conflict(f"volume '{name}' has a snapshot '{wanted}' already")
        self.held[name, wanted] = VolumeSnapshot(wanted, CREATED)
        return wanted

    def _find(self, name: str, snapshot: str) -> None:
        if (name, snapshot) not in self.held:
            raise NotFound(f"no such snapshot: '{snapshot}' of volume '{name}'")

    async def remove_snapshot(self, name: str, snapshot: str, /) -> str:
        self._find(name, snapshot)
        return self.held.pop((name, snapshot)).name

    async def restore(self, name: str, snapshot: str, /) -> str:
        self._find(name, snapshot)
        return name

    async def clone(self, name: str, config: VolumeCloneConfig, /) -> str:
        await self._volumes.inspect(name)
        return await self._volumes.create(VolumeConfig(config.name))

    async def export(self, name: str, snapshot: str, /) -> AsyncGenerator[bytes, None]:
        await self._volumes.inspect(name)
        return self._export()

    async def _export(self) -> AsyncGenerator[bytes, None]:
        yield b"a tar stream"

    async def import_(self, name: str, chunks: AsyncIterator[bytes], /) -> str:
        self.received.append(b"".join([chunk async for chunk in chunks]))
        return await self._volumes.create(VolumeConfig(name))


class FakeStoredFiles:
    def __init__(self) -> None:
        self.held: dict[str, ConfigInspect] = {}

    async def create(self, config: StoredFileConfig, /) -> str:
        if config.name in self.held:
            raise Conflict(f"'{config.name}' exists already")
        made = ConfigInspect(config.name, CREATED, config.labels, [], 1, config.data)
        self.held[config.name] = made
        return config.name

    def find(self, name: str) -> ConfigInspect:
        if name not in self.held:
            raise NotFound(f"no such object: '{name}'")
        return self.held[name]

    async def remove(self, name: str, /) -> str:
        self.find(name)
        return self.held.pop(name).name


class FakeSecrets(FakeStoredFiles):
    async def inspect(self, name: str, /) -> Secret:
        made = self.find(name)
        return Secret(made.name, made.created, made.labels, made.containers)

    async def list(self) -> list[Secret]:
        return [await self.inspect(name) for name in self.held]


class FakeConfigs(FakeStoredFiles):
    async def inspect(self, name: str, /) -> ConfigInspect:
        return self.find(name)

    async def list(self) -> list[Config]:
        return [Config(m.name, m.created, m.labels, [], 1) for m in self.held.values()]


class FakeEngine:
    """All of it. ``failure``: what :meth:`info` raises."""

    def __init__(self) -> None:
        self.images = FakeImages()
        self.containers = FakeContainers()
        self.execs = FakeExecs()
        self.logs = FakeLogs()
        self.copies = FakeCopies()
        self.contexts = FakeContexts()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.volume_states = FakeVolumeStates(self.volumes)
        self.volume_archives = self.volume_states
        self.states = FakeStates()
        self.stats = FakeStats()
        self.events = FakeEvents()
        self.secrets = FakeSecrets()
        self.configs = FakeConfigs()
        self.lists = Lists(self)
        self.space = FakeSpace(self.images)
        self.history = FakeHistory(self.images)
        self.bisect = FakeBisect()
        self.failure: KleeneError | None = None

    async def info(self) -> Info:
        if self.failure is not None:
            raise self.failure
        return Info("0.1.0", "btrfs", "runc 1.1.5", "/var/lib/kleene", 0, 0, 2, {"btrfs": "ok"})
