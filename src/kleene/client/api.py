"""The typed client: the operations of the API with the wire types of ``kleene.schemas``.

    with Client() as client:
        for container in client.containers.list(all=True):
            print(container.name, container.running)

Arguments that the operations take as ``Body`` are the wire types, or mappings of the same shape. Iterating
a stream gives ``Output`` and the ``ServerMessage`` types of ``kleene.schemas.stream``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from kleene.client.address import DEFAULT_HOST
from kleene.client.failures import DaemonFault
from kleene.client.operations import (
    DEFAULT_TIMEOUT,
    Builds,
    Containers,
    Images,
    JsonClient,
    Networks,
    StoredFiles,
    Volumes,
    encode,
)
from kleene.client.streams import Stream
from kleene.client.transport import Tls
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import (
    ContainerInspect,
    ContainerProcess,
    ContainerStats,
    ContainerSummary,
    FileChange,
)
from kleene.schemas.execs import ExecInfo
from kleene.schemas.history import Blame, HistoryStep, StateChange
from kleene.schemas.images import Image
from kleene.schemas.networks import Network, NetworkInspect
from kleene.schemas.secrets import Config, ConfigInspect, Secret
from kleene.schemas.space import PrunePlan, SystemUsage
from kleene.schemas.stream import ServerMessage
from kleene.schemas.system import Info, Version
from kleene.schemas.volumes import Volume, VolumeInspect, VolumeSnapshot

if TYPE_CHECKING:
    from kleene.client.operations import Body

T = TypeVar("T")
ProcessList = list[ContainerProcess]
StatsList = list[ContainerStats]
ChangeList = list[FileChange]
ExecList = list[ExecInfo]
SnapshotList = list[VolumeSnapshot]
StepList = list[HistoryStep]
StateChangeList = list[StateChange]


class TypedContainers(Containers):
    """Operations on containers, in wire types."""

    def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - the API's name
        filters: Iterable[str] = (),
    ) -> list[ContainerSummary]:
        """Summaries of the running containers, or of all; of these, those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(all=all, filters=filters), list[ContainerSummary])

    def inspect(self, ref: str) -> ContainerInspect:
        """All that is known of a container."""
        return _decode(super().inspect(ref), ContainerInspect)

    def change(self, ref: str, config: Body) -> IdResponse:
        """Change what ``config`` does not leave ``None``; the id, and what there is to know besides."""
        return _decode(super().change(ref, config), IdResponse)

    def top(self, ref: str) -> ProcessList:
        """Its processes. Raises Conflict if it does not run."""
        return _decode(super().top(ref), ProcessList)

    def stats(self, ref: str) -> ContainerStats:
        """What it uses. Raises Conflict if it does not run."""
        return _decode(super().stats(ref), ContainerStats)

    def all_stats(self) -> StatsList:
        """What all running containers use."""
        return _decode(super().all_stats(), StatsList)

    def diff(self, ref: str) -> ChangeList:
        """The files in which it differs from its image."""
        return _decode(super().diff(ref), ChangeList)

    def execs(self, ref: str) -> ExecList:
        """The execution instances that run in it, the oldest first."""
        return _decode(super().execs(ref), ExecList)


class TypedImages(Images):
    """Operations on images, in wire types."""

    def list(self, *, filters: Iterable[str] = ()) -> list[Image]:
        """All images, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(filters=filters), list[Image])

    def inspect(self, ref: str, *, size: bool = False) -> Image:
        """All that is known of an image; with ``size`` what it holds on disk, too."""
        return _decode(super().inspect(ref, size=size), Image)

    def history(self, ref: str) -> StepList:
        """The steps of the build that made it."""
        return _decode(super().history(ref), StepList)

    def blame(self, ref: str, path: str) -> Blame:
        """The step that wrote what is at ``path``, or removed it."""
        return _decode(super().blame(ref, path), Blame)

    def diff(self, older: str, newer: str) -> StateChangeList:
        """What differs between two states, ``IMAGE[@SNAPSHOT]``, by path."""
        return _decode(super().diff(older, newer), StateChangeList)

    def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> PrunePlan:  # noqa: A002
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return _decode(super().prune_plan(all=all, filters=filters), PrunePlan)


class TypedBuilds(Builds):
    """Operations on what builds left behind, in wire types."""

    def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> PrunePlan:  # noqa: A002
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return _decode(super().prune_plan(all=all, filters=filters), PrunePlan)


class TypedNetworks(Networks):
    """Operations on networks, in wire types."""

    def list(self, *, filters: Iterable[str] = ()) -> list[Network]:
        """All networks, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(filters=filters), list[Network])

    def inspect(self, ref: str) -> NetworkInspect:
        """A network and its endpoints."""
        return _decode(super().inspect(ref), NetworkInspect)


class TypedVolumes(Volumes):
    """Operations on volumes, in wire types."""

    def list(self, *, filters: Iterable[str] = ()) -> list[Volume]:
        """All volumes, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(filters=filters), list[Volume])

    def inspect(self, name: str) -> VolumeInspect:
        """A volume and its mounts."""
        return _decode(super().inspect(name), VolumeInspect)

    def snapshots(self, name: str, *, filters: Iterable[str] = ()) -> SnapshotList:
        """The snapshots of a volume, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().snapshots(name, filters=filters), SnapshotList)


class TypedSecrets(StoredFiles):
    """Operations on secrets, in wire types."""

    def list(self, *, filters: Iterable[str] = ()) -> list[Secret]:
        """All secrets, without their content, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(filters=filters), list[Secret])

    def inspect(self, name: str) -> Secret:
        """All of a secret but its content."""
        return _decode(super().inspect(name), Secret)


class TypedConfigs(StoredFiles):
    """Operations on configs, in wire types."""

    def list(self, *, filters: Iterable[str] = ()) -> list[Config]:
        """All configs, or those that ``KEY=VALUE`` filters fit."""
        return _decode(super().list(filters=filters), list[Config])

    def inspect(self, name: str) -> ConfigInspect:
        """A config with its content."""
        return _decode(super().inspect(name), ConfigInspect)


class Client(JsonClient):
    """A daemon's API in wire types.

    Every operation raises a KleeneError: what the daemon answered (NotFound, Conflict, InvalidInput,
    DaemonFault), or DaemonUnreachable.

    Args:
        host: ``http[s]:///PATH`` or ``http[s]://HOST[:PORT]``.
        timeout: seconds to wait for an answer; ``None`` waits for ever. Streams have none.
    """

    containers: TypedContainers
    images: TypedImages
    builds: TypedBuilds
    networks: TypedNetworks
    volumes: TypedVolumes
    secrets: TypedSecrets
    configs: TypedConfigs

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        *,
        tls: Tls | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(host, tls=tls, timeout=timeout)
        self.containers = TypedContainers(self._call, self._open_stream, self._http)
        self.images = TypedImages(self._call, self._open_stream)
        self.builds = TypedBuilds(self._call)
        self.networks = TypedNetworks(self._call)
        self.volumes = TypedVolumes(self._call, self._http)
        self.secrets = TypedSecrets(self._call, "secrets")
        self.configs = TypedConfigs(self._call, "configs")

    def version(self) -> Version:
        """Versions of the daemon and of its API."""
        return _decode(super().version(), Version)

    def info(self) -> Info:
        """The daemon and what it found on its host."""
        return _decode(super().info(), Info)

    def df(self) -> SystemUsage:
        """What all objects hold on disk, and what pruning would free."""
        return _decode(super().df(), SystemUsage)

    def _open_stream(self, target: str, config: Body) -> Stream:
        return Stream(self._address, self._tls, target, encode(config), decode_message)


def _decode(answer: Any, wanted: type[T]) -> T:
    try:
        return msgspec.convert(answer, wanted)
    except msgspec.ValidationError as error:
        raise DaemonFault(
            f"the daemon's answer has another shape than expected: {error}",
            hint="do klee and kleened fit? klee version",
        ) from error


def decode_message(text: str) -> ServerMessage:
    """A message of a stream, of its JSON text."""
    return cast(ServerMessage, msgspec.json.decode(text, type=cast(Any, ServerMessage)))
