"""Lists of objects, of which only those are told that are wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from kleene.engine.filters import OF_RECORDS, Related, Words, select
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.containers import ContainerSummary
from kleene.schemas.filters import Kind, Wanted, parse
from kleene.schemas.images import Image
from kleene.schemas.networks import Network
from kleene.schemas.secrets import Config, Secret
from kleene.schemas.volumes import Volume, VolumeSnapshot

T = TypeVar("T")
Choice = Callable[[list[ContainerRecord]], list[ContainerRecord]]


class _Lister(Protocol[T]):
    def list(self) -> Awaitable[list[T]]: ...


class _Containers(Protocol):
    def list(
        self,
        all: bool,  # noqa: A002
        choose: Choice = ...,
        /,
    ) -> Awaitable[list[ContainerSummary]]: ...


class _Snapshots(Protocol):
    def snapshots(self, name: str, /) -> Awaitable[list[VolumeSnapshot]]: ...


class _Services(Protocol):
    """What lists are made from."""

    @property
    def containers(self) -> _Containers: ...
    @property
    def images(self) -> _Lister[Image]: ...
    @property
    def networks(self) -> _Lister[Network]: ...
    @property
    def volumes(self) -> _Lister[Volume]: ...
    @property
    def volume_states(self) -> _Snapshots: ...
    @property
    def secrets(self) -> _Lister[Secret]: ...
    @property
    def configs(self) -> _Lister[Config]: ...


class Lists:
    """Every list takes filters, ``KEY=VALUE``, as :mod:`kleene.schemas.filters` describes them.

    All methods raise InvalidInput for a filter that cannot be understood, and NotFound for one that names an
    object which is not there.
    """

    def __init__(self, services: _Services) -> None:
        self._services = services

    async def containers(self, words: Words, *, every: bool) -> list[ContainerSummary]:
        """Containers that run, or all. A filter by state says by itself whether they run."""
        wanted = parse("container", words)
        only_running = not every and not wanted.keys() & {"status", "exited"}
        # Of `before` and `since`, the other container may be one that does not run.
        narrow = only_running and not wanted.keys() & {"before", "since"}
        images = await self._services.images.list() if "ancestor" in wanted else ()
        first = {key: values for key, values in wanted.items() if key in OF_RECORDS}
        rest = {key: values for key, values in wanted.items() if key not in OF_RECORDS}

        def choose(records: list[ContainerRecord]) -> list[ContainerRecord]:
            fitting = select("container", records, first, Related(images))
            return [each for each in fitting if each.running or not only_running]

        found = await self._services.containers.list(not narrow, choose)
        return select("container", found, rest, Related())

    async def images(self, words: Words) -> list[Image]:
        """Images."""
        return self._select("image", await self._services.images.list(), parse("image", words))

    async def networks(self, words: Words) -> list[Network]:
        """Networks."""
        wanted = parse("network", words)
        used = {name for each in await self._users(wanted) for name in each.networks}
        return self._select("network", await self._services.networks.list(), wanted, used)

    async def volumes(self, words: Words) -> list[Volume]:
        """Volumes."""
        wanted = parse("volume", words)
        mounts = [mount for each in await self._users(wanted) for mount in each.mounts]
        used = {mount.partition(":")[0] for mount in mounts}
        return self._select("volume", await self._services.volumes.list(), wanted, used)

    async def snapshots(self, volume: str, words: Words) -> list[VolumeSnapshot]:
        """Snapshots of a volume."""
        wanted = parse("snapshot", words)
        return self._select(
            "snapshot", await self._services.volume_states.snapshots(volume), wanted
        )

    async def secrets(self, words: Words) -> list[Secret]:
        """Secrets."""
        return self._select("secret", await self._services.secrets.list(), parse("secret", words))

    async def configs(self, words: Words) -> list[Config]:
        """Configs."""
        return self._select("config", await self._services.configs.list(), parse("config", words))

    def _select(self, kind: Kind, objects: list[T], wanted: Wanted, used: Any = ()) -> list[T]:
        return select(kind, objects, wanted, Related(used=used)) if wanted else objects

    async def _users(self, wanted: Wanted) -> list[ContainerSummary]:
        """The containers, if it matters what they use."""
        return await self._services.containers.list(True) if "dangling" in wanted else []
