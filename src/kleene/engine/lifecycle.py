"""Containers going up and down: network, mounts, runtime, and the metadata that says so.

A container that is up has a *supervisor*, a task that waits until nothing runs in it any more and then
takes it down. It lives as long as the container is up and the daemon watches.

Whoever waits for a container hears of its end when the metadata has it, and before its remains are cleared
away: that takes a while and concerns nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from kleene.engine import settings
from kleene.engine.core import Core, now
from kleene.engine.endpoints import Endpoints
from kleene.engine.provided import ProvidedFiles
from kleene.engine.step_shells import StepShells
from kleene.engine.volumes import Volumes
from kleene.errors import InvalidInput
from kleene.metadata.containers import ContainerRecord
from kleene.runtime.driver import ContainerSpec, Mount
from kleene.schemas.containers import MountPointConfig
from kleene.schemas.settings import Health


def jail_params(lines: list[str]) -> dict[str, str]:
    """``name=value`` lines as a mapping; a bare name is ``true`` (jail(8))."""
    pairs = (line.partition("=") for line in lines)
    return {name: value if equals else "true" for name, equals, value in pairs}


_KEEPERS = 5.0  # seconds to wait for exit statuses when nothing runs any more


@dataclass(frozen=True)
class _Supervised:
    """A container that is up: ``stopped`` is set when it goes down, ``ends`` record how its instances end."""

    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    ends: set[asyncio.Task[int]] = field(default_factory=set)


class Lifecycle:
    """Brings containers up and takes them down. Callers hold the container's lock (:meth:`lock`).

    Attributes:
        files: the secrets and configs that containers are given.
        shells: the mounts of build steps that containers are given.
        on_up: called with each container that goes up for its processes, or is found up.
        after_stop: awaited in turn when a container has gone down, however it did.
        restarting: ids of containers that a restart policy is about to start.
    """

    def __init__(
        self,
        core: Core,
        endpoints: Endpoints,
        volumes: Volumes,
        files: ProvidedFiles,
        shells: StepShells,
    ) -> None:
        self.files = files
        self.shells = shells
        self._core = core
        self._endpoints = endpoints
        self._volumes = volumes
        self._supervised: dict[str, _Supervised] = {}
        self.on_up: list[Callable[[ContainerRecord], None]] = []
        self.after_stop: list[Callable[[ContainerRecord], Awaitable[None]]] = []
        self.restarting: set[str] = set()

    def lock(self, container: str) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock under which a container goes up, down or away."""
        return self._core.locks.hold(f"container/{container}")

    async def bring_up(self, record: ContainerRecord) -> None:
        """Set up the network and create the container, with nothing but its init running.

        Raises:
            KleeneError: it cannot be brought up; nothing is left of the attempt.
        """
        platform = self._core.platform
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._endpoints.release, record)
            network = await self._endpoints.set_up(record)
            undo.callback(self.files.withdraw, record.id)
            files = self.files.provide(record)
            spec = ContainerSpec(
                id=record.id,
                rootfs=platform.storage.mountpoint(record.dataset),
                hostname=record.settings.hostname or record.id,
                network=network,
                network_driver=record.network_driver,
                mounts=[*(self.mount(mount) for mount in record.mounts), *files],
                jail_params=jail_params(record.jail_param),
                options=settings.options(record.settings, self._gateway(record)),
            )
            undo.push_async_callback(platform.runtime.delete, record.id)
            await platform.runtime.create(spec)
            undo.push_async_callback(self.shells.withdraw, record.id)
            await self.shells.provide(record.id)
            self._core.containers.containers.update(
                record.id, running=True, started=now(), health=Health()
            )
            undo.callback(self._mark_down, record)
            if record.ports:
                await self._endpoints.refresh_firewall()
            undo.pop_all()
        self._core.events.of_container("start", record)

    def _gateway(self, record: ContainerRecord) -> str:
        """The host's address for the container, if it asks for that."""
        if not settings.asks_for_gateway(record.settings):
            return ""
        return self._endpoints.host_address(record)

    def _mark_down(self, record: ContainerRecord) -> None:
        self._core.containers.containers.update(record.id, running=False, finished=now())

    def mount(self, mount: MountPointConfig) -> Mount:
        """What a mount is on the host.

        Raises:
            InvalidInput: its source does not exist.
        """
        if mount.type == "volume":
            source = self._volumes.mountpoint(mount.source)
        else:
            source = Path(mount.source)
            if not source.exists():
                raise InvalidInput(
                    f"mount source '{mount.source}' does not exist on the host",
                    hint=f"make it first: mkdir -p {mount.source}",
                )
        return Mount(source, mount.destination, mount.read_only)

    async def take_down(self, record: ContainerRecord) -> None:
        """Kill what runs in the container and release what it held in the kernel."""
        supervised = self._supervised.pop(record.id, None)
        if supervised is None:
            self._mark_down(record)
        else:
            self._mark_ended(record)
            supervised.stopped.set()
        present = self._core.containers.containers.get(record.id) or record
        self._core.events.of_container("die", record, exit_code=present.exit_code or 0)
        await self.shells.withdraw(record.id)
        await self._core.platform.runtime.delete(record.id)
        self.files.withdraw(record.id)
        await self._endpoints.release(record)
        if record.ports:
            await self._endpoints.refresh_firewall()

    def _mark_ended(self, record: ContainerRecord) -> None:
        """Mark a container as down that had processes; out of sight, if it is to be removed now."""
        store = self._core.containers
        present = store.containers.get(record.id)
        if present is not None and present.auto_remove:
            store.put_out_of_sight(record.id, running=False)
        else:
            self._mark_down(record)

    async def take_down_if_empty(self, record: ContainerRecord) -> None:
        """Take the container down if it is up and nothing runs in it."""
        present = self._core.containers.containers.get(record.id)
        runtime = self._core.platform.runtime
        if present is not None and present.running and not await runtime.processes(record.id):
            await self.take_down(record)

    def supervise(self, record: ContainerRecord, end: asyncio.Task[int] | None) -> None:
        """Take the container down when it is empty, unless somebody does so before.

        Args:
            end: records how an instance ends that was just started in it: that comes first.
        """
        if record.id not in self._supervised:
            supervised = self._supervised[record.id] = _Supervised()
            work = self._supervise(record, supervised)
            self._core.background(work, f"supervise {record.id}")
            for hook in self.on_up:
                hook(record)
        if end is not None:
            ends = self._supervised[record.id].ends
            ends.add(end)
            end.add_done_callback(ends.discard)

    async def _supervise(self, record: ContainerRecord, supervised: _Supervised) -> None:
        runtime = self._core.platform.runtime
        while not supervised.stopped.is_set():
            await runtime.wait_empty(record.id)
            if supervised.ends:
                await asyncio.wait(set(supervised.ends), timeout=_KEEPERS)
            async with self.lock(record.id):
                # An instance may have been started between the lines above.
                if not supervised.stopped.is_set() and not await runtime.processes(record.id):
                    await self.take_down(record)
        for hook in self.after_stop:
            await hook(record)

    async def wait_down(self, container: str) -> None:
        """Return when a container is marked as stopped; at once if it does not run."""
        if (supervised := self._supervised.get(container)) is not None:
            await supervised.stopped.wait()

    async def wait_stopped(self, container: str) -> bool:
        """After a process ended: whether the container stops with it. Waits until it is marked so."""
        supervised = self._supervised.get(container)
        if supervised is None:
            return True
        if await self._core.platform.runtime.processes(container):
            return False
        await supervised.stopped.wait()
        return True
