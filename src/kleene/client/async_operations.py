"""The operations of the API, awaited. What each does and raises is said in ``operations.py`` and ``api.py``.

Written by ``make docs`` from those: change them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import TYPE_CHECKING, Any

from kleene.client.api import (
    ChangeList,
    ExecList,
    ProcessList,
    SnapshotList,
    StateChangeList,
    StatsList,
    StepList,
)
from kleene.client.async_runner import Runner
from kleene.client.async_transport import AsyncStream
from kleene.client.operations import Ids
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import ContainerInspect, ContainerStats, ContainerSummary
from kleene.schemas.history import Blame
from kleene.schemas.images import Image
from kleene.schemas.networks import Network, NetworkInspect
from kleene.schemas.secrets import Config, ConfigInspect, Secret
from kleene.schemas.space import PrunePlan
from kleene.schemas.volumes import Volume, VolumeInspect

if TYPE_CHECKING:
    from kleene.client.operations import Body


class AsyncContainers:
    """Operations on containers, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def all_stats(self) -> StatsList:
        """What all running containers use."""
        return await self._runner.run(lambda client: client.containers.all_stats())

    def attach(self, ref: str, config: Body) -> AsyncStream:
        """Connect to a process that runs in it, by an ``AttachConfig``."""
        return self._runner.stream(lambda client: client.containers.attach(ref, config))

    async def change(self, ref: str, config: Body) -> IdResponse:
        """Change what ``config`` does not leave ``None``; the id, and what there is to know besides."""
        return await self._runner.run(lambda client: client.containers.change(ref, config))

    async def commit(self, ref: str, config: Body) -> str:
        """Make an image of it, by a ``CommitConfig``; the image's id."""
        return await self._runner.run(lambda client: client.containers.commit(ref, config))

    async def create(self, config: Body) -> str:
        """Create a container from a ``ContainerConfig``; its id. ``note`` is told what there is to know."""
        return await self._runner.run(lambda client: client.containers.create(config))

    async def diff(self, ref: str) -> ChangeList:
        """The files in which it differs from its image."""
        return await self._runner.run(lambda client: client.containers.diff(ref))

    async def execs(self, ref: str) -> ExecList:
        """The execution instances that run in it, the oldest first."""
        return await self._runner.run(lambda client: client.containers.execs(ref))

    async def inspect(self, ref: str) -> ContainerInspect:
        """All that is known of a container."""
        return await self._runner.run(lambda client: client.containers.inspect(ref))

    async def kill(self, ref: str, signal: str = "SIGKILL") -> str:
        """Send all of its processes a signal; its id. Raises Conflict if it does not run."""
        return await self._runner.run(lambda client: client.containers.kill(ref, signal))

    async def list(
        self, *, all: bool = False, filters: Iterable[str] = ()
    ) -> list[ContainerSummary]:
        """Summaries of the running containers, or of all; of these, those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(
            lambda client: client.containers.list(all=all, filters=filters)
        )

    def logs(self, ref: str, config: Body) -> AsyncStream:
        """What its processes wrote, by a ``LogsConfig``."""
        return self._runner.stream(lambda client: client.containers.logs(ref, config))

    async def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the stopped containers that filters fit, but the persistent ones; their ids."""
        return await self._runner.run(lambda client: client.containers.prune(filters=filters))

    def read_archive(
        self, ref: str, path: str, *, follow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """What is at ``path`` in it, as a tar stream; it must be read to its end, or closed."""
        return self._runner.download(
            lambda client: client.containers.read_archive(ref, path, follow=follow)
        )

    async def remove(self, ref: str, *, force: bool = False) -> str:
        """Remove a stopped container, or with ``force`` any; its id."""
        return await self._runner.run(lambda client: client.containers.remove(ref, force=force))

    async def stats(self, ref: str) -> ContainerStats:
        """What it uses. Raises Conflict if it does not run."""
        return await self._runner.run(lambda client: client.containers.stats(ref))

    async def stop(self, ref: str, *, timeout: float | None = None) -> str:
        """Stop a container, killing what is left after ``timeout`` seconds (``None``: as it says); its id."""
        return await self._runner.run(lambda client: client.containers.stop(ref, timeout=timeout))

    async def top(self, ref: str) -> ProcessList:
        """Its processes. Raises Conflict if it does not run."""
        return await self._runner.run(lambda client: client.containers.top(ref))

    async def update(self, ref: str, config: Body) -> str:
        """Change what ``config`` (a ``ContainerConfig``) does not leave ``None``; the id."""
        return await self._runner.run(lambda client: client.containers.update(ref, config))

    def wait(self, ref: str) -> AsyncStream:
        """Wait until it stops: the last message has the exit status."""
        return self._runner.stream(lambda client: client.containers.wait(ref))

    async def write_archive(
        self,
        ref: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        name: str = "",
        directory: bool = False,
    ) -> None:
        """Extract a tar stream in its directory ``path``."""
        return await self._runner.run(
            lambda client: client.containers.write_archive(
                ref, path, chunks, name=name, directory=directory
            )
        )


class AsyncExecs:
    """Operations on execution instances: processes in containers."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def create(self, config: Body) -> str:
        """Create an execution instance from an ``ExecConfig``; its id."""
        return await self._runner.run(lambda client: client.execs.create(config))

    def start(self, config: Body) -> AsyncStream:
        """Start one, by an ``ExecStartConfig``; what it writes, and its end."""
        return self._runner.stream(lambda client: client.execs.start(config))

    async def stop(self, exec_id: str, *, force: bool = False, stop_container: bool = False) -> str:
        """Stop one (kill it with ``force``), or the whole container; its id."""
        return await self._runner.run(
            lambda client: client.execs.stop(exec_id, force=force, stop_container=stop_container)
        )


class AsyncImages:
    """Operations on images, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def bisect(self, config: Body) -> AsyncStream:
        """Find the first step after which a command fails, by a ``BisectConfig``."""
        return self._runner.stream(lambda client: client.images.bisect(config))

    async def blame(self, ref: str, path: str) -> Blame:
        """The step that wrote what is at ``path``, or removed it."""
        return await self._runner.run(lambda client: client.images.blame(ref, path))

    def build(self, config: Body) -> AsyncStream:
        """Build an image, by an ``ImageBuildConfig``. Closing the stream early cancels the build."""
        return self._runner.stream(lambda client: client.images.build(config))

    def create(self, config: Body) -> AsyncStream:
        """Make a base image, by an ``ImageCreateConfig``. Closing the stream early cancels it."""
        return self._runner.stream(lambda client: client.images.create(config))

    async def diff(self, older: str, newer: str) -> StateChangeList:
        """What differs between two states, ``IMAGE[@SNAPSHOT]``, by path."""
        return await self._runner.run(lambda client: client.images.diff(older, newer))

    async def history(self, ref: str) -> StepList:
        """The steps of the build that made it."""
        return await self._runner.run(lambda client: client.images.history(ref))

    async def inspect(self, ref: str, *, size: bool = False) -> Image:
        """All that is known of an image; with ``size`` what it holds on disk, too."""
        return await self._runner.run(lambda client: client.images.inspect(ref, size=size))

    async def list(self, *, filters: Iterable[str] = ()) -> list[Image]:
        """All images, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(lambda client: client.images.list(filters=filters))

    async def prune(
        self,
        *,
        all: bool = False,
        filters: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Ids:
        """Remove the untagged images that no container uses, or all unused; their ids."""
        return await self._runner.run(
            lambda client: client.images.prune(all=all, filters=filters, only=only)
        )

    async def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> PrunePlan:
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return await self._runner.run(
            lambda client: client.images.prune_plan(all=all, filters=filters)
        )

    async def remove(self, ref: str) -> str:
        """Remove an image; its id."""
        return await self._runner.run(lambda client: client.images.remove(ref))

    async def tag(self, ref: str, nametag: str) -> str:
        """Give an image the name ``NAME[:TAG]``; its id."""
        return await self._runner.run(lambda client: client.images.tag(ref, nametag))


class AsyncContexts:
    """Operations on build contexts that are sent to the daemon; :mod:`kleene.client.upload` uses them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def offer(self, listed: bytes) -> Any:
        """A ``ContextOffer`` for the list of a context (``kleene.contexts.manifest``)."""
        return await self._runner.run(lambda client: client.contexts.offer(listed))

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send contents of files (``kleene.schemas.contexts``)."""
        return await self._runner.run(lambda client: client.contexts.send(frames))

    async def send_archive(self, token: str, chunks: Iterable[bytes]) -> None:
        """Send a tar stream as the context ``token`` (32 hex digits)."""
        return await self._runner.run(lambda client: client.contexts.send_archive(token, chunks))


class AsyncBuilds:
    """Operations on what builds left behind, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def prune(
        self,
        *,
        all: bool = False,
        filters: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Ids:
        """Remove what no tagged image needs, or ``all`` but the images themselves; the ids."""
        return await self._runner.run(
            lambda client: client.builds.prune(all=all, filters=filters, only=only)
        )

    async def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> PrunePlan:
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return await self._runner.run(
            lambda client: client.builds.prune_plan(all=all, filters=filters)
        )


class AsyncNetworks:
    """Operations on networks, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def connect(self, config: Body) -> None:
        """Connect a container to a network, by an ``EndPointConfig``."""
        return await self._runner.run(lambda client: client.networks.connect(config))

    async def create(self, config: Body) -> str:
        """Create a network from a ``NetworkConfig``; its id."""
        return await self._runner.run(lambda client: client.networks.create(config))

    async def disconnect(self, network: str, container: str) -> None:
        """Take a container off a network."""
        return await self._runner.run(lambda client: client.networks.disconnect(network, container))

    async def inspect(self, ref: str) -> NetworkInspect:
        """A network and its endpoints."""
        return await self._runner.run(lambda client: client.networks.inspect(ref))

    async def list(self, *, filters: Iterable[str] = ()) -> list[Network]:
        """All networks, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(lambda client: client.networks.list(filters=filters))

    async def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the networks without containers; of these, those that filters fit; their ids."""
        return await self._runner.run(lambda client: client.networks.prune(filters=filters))

    async def remove(self, ref: str) -> str:
        """Remove a network; its id."""
        return await self._runner.run(lambda client: client.networks.remove(ref))


class AsyncVolumes:
    """Operations on volumes, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def clone(self, name: str, new: str, *, snapshot: str = "") -> str:
        """Make the volume ``new`` of the state of another, or of a snapshot of it; its name."""
        return await self._runner.run(
            lambda client: client.volumes.clone(name, new, snapshot=snapshot)
        )

    async def create(self, config: Body) -> str:
        """Create a volume from a ``VolumeConfig``; its name."""
        return await self._runner.run(lambda client: client.volumes.create(config))

    async def inspect(self, name: str) -> VolumeInspect:
        """A volume and its mounts."""
        return await self._runner.run(lambda client: client.volumes.inspect(name))

    async def list(self, *, filters: Iterable[str] = ()) -> list[Volume]:
        """All volumes, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(lambda client: client.volumes.list(filters=filters))

    async def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the volumes that are not mounted; of these, those that filters fit; their names."""
        return await self._runner.run(lambda client: client.volumes.prune(filters=filters))

    def read_archive(self, name: str, *, snapshot: str = "") -> AsyncGenerator[bytes, None]:
        """What is in it, as a tar stream; it must be read to its end, or closed."""
        return self._runner.download(
            lambda client: client.volumes.read_archive(name, snapshot=snapshot)
        )

    async def remove(self, name: str) -> str:
        """Remove a volume; its name."""
        return await self._runner.run(lambda client: client.volumes.remove(name))

    async def remove_snapshot(self, name: str, snapshot: str) -> str:
        """Remove a snapshot of a volume; its name."""
        return await self._runner.run(lambda client: client.volumes.remove_snapshot(name, snapshot))

    async def restore(self, name: str, snapshot: str) -> str:
        """Make a volume what it was; its name. Raises Conflict if running containers mount it."""
        return await self._runner.run(lambda client: client.volumes.restore(name, snapshot))

    async def snapshot(self, name: str, snapshot: str = "") -> str:
        """Keep the present state of a volume; the snapshot's name."""
        return await self._runner.run(lambda client: client.volumes.snapshot(name, snapshot))

    async def snapshots(self, name: str, *, filters: Iterable[str] = ()) -> SnapshotList:
        """The snapshots of a volume, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(
            lambda client: client.volumes.snapshots(name, filters=filters)
        )

    async def update(self, name: str, config: Body) -> str:
        """Change a volume by a ``VolumeUpdate``; its name."""
        return await self._runner.run(lambda client: client.volumes.update(name, config))

    async def write_archive(self, name: str, chunks: Iterable[bytes]) -> None:
        """Fill a new or empty volume from a tar stream."""
        return await self._runner.run(lambda client: client.volumes.write_archive(name, chunks))


class AsyncSecrets:
    """Operations on secrets, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def create(self, config: Body) -> str:
        """Keep one, by a ``StoredFileConfig``; its name."""
        return await self._runner.run(lambda client: client.secrets.create(config))

    async def inspect(self, name: str) -> Secret:
        """All of a secret but its content."""
        return await self._runner.run(lambda client: client.secrets.inspect(name))

    async def list(self, *, filters: Iterable[str] = ()) -> list[Secret]:
        """All secrets, without their content, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(lambda client: client.secrets.list(filters=filters))

    async def remove(self, name: str) -> str:
        """Remove one; its name. Raises Conflict if containers are given it."""
        return await self._runner.run(lambda client: client.secrets.remove(name))


class AsyncConfigs:
    """Operations on configs, in wire types."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def create(self, config: Body) -> str:
        """Keep one, by a ``StoredFileConfig``; its name."""
        return await self._runner.run(lambda client: client.configs.create(config))

    async def inspect(self, name: str) -> ConfigInspect:
        """A config with its content."""
        return await self._runner.run(lambda client: client.configs.inspect(name))

    async def list(self, *, filters: Iterable[str] = ()) -> list[Config]:
        """All configs, or those that ``KEY=VALUE`` filters fit."""
        return await self._runner.run(lambda client: client.configs.list(filters=filters))

    async def remove(self, name: str) -> str:
        """Remove one; its name. Raises Conflict if containers are given it."""
        return await self._runner.run(lambda client: client.configs.remove(name))


class AsyncOperations:
    """All groups of operations."""

    def __init__(self, runner: Runner) -> None:
        self.containers = AsyncContainers(runner)
        self.execs = AsyncExecs(runner)
        self.images = AsyncImages(runner)
        self.contexts = AsyncContexts(runner)
        self.builds = AsyncBuilds(runner)
        self.networks = AsyncNetworks(runner)
        self.volumes = AsyncVolumes(runner)
        self.secrets = AsyncSecrets(runner)
        self.configs = AsyncConfigs(runner)
