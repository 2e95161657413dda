"""Containers going up and down: network, mounts, runtime, and the metadata that says so.

A container that is up has a *supervisor*, a task that waits until nothing runs in it any more and then
takes it down. It lives as long as the container is up and the daemon watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from kleene.engine.core import Core
from kleene.engine.endpoints import Endpoints
from kleene.engine.volumes import Volumes
from kleene.errors import InvalidInput
from kleene.metadata.containers import ContainerRecord
from kleene.runtime.driver import ContainerSpec, Mount
from kleene.schemas.containers import MountPointConfig


def jail_params(lines: list[str]) -> dict[str, str]:
    """``name=value`` lines as a mapping; a bare name is ``true`` (jail(8))."""
    pairs = (line.partition("=") for line in lines)
    return {name: value if equals else "true" for name, equals, value in pairs}


class Lifecycle:
    """Brings containers up and takes them down. Callers hold the container's lock (:meth:`lock`)."""

    def __init__(self, core: Core, endpoints: Endpoints, volumes: Volumes) -> None:
        self._core = core
        self._endpoints = endpoints
        self._volumes = volumes
        self._supervised: dict[str, asyncio.Event] = {}

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
            spec = ContainerSpec(
                id=record.id,
                rootfs=platform.storage.mountpoint(record.dataset),
                hostname=record.id,
                network=network,
                network_driver=record.network_driver,
                mounts=[self.mount(mount) for mount in record.mounts],
                jail_params=jail_params(record.jail_param),
            )
            undo.push_async_callback(platform.runtime.delete, record.id)
            await platform.runtime.create(spec)
            self._core.containers.containers.update(record.id, running=True)
            undo.callback(self._mark_down, record)
            if record.ports:
                await self._endpoints.refresh_firewall()
            undo.pop_all()

    def _mark_down(self, record: ContainerRecord) -> None:
        self._core.containers.containers.update(record.id, running=False)

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
        self._mark_down(record)
        stopped = self._supervised.pop(record.id, None)
        if stopped is not None:
            stopped.set()
        await self._core.platform.runtime.delete(record.id)
        await self._endpoints.release(record)
        if record.ports:
            await self._endpoints.refresh_firewall()

    async def take_down_if_empty(self, record: ContainerRecord) -> None:
        """Take the container down if it is up and nothing runs in it."""
        present = self._core.containers.containers.get(record.id)
        runtime = self._core.platform.runtime
        if present is not None and present.running and not await runtime.processes(record.id):
            await self.take_down(record)

    def supervise(
        self, record: ContainerRecord, then: Callable[[ContainerRecord], Awaitable[None]]
    ) -> None:
        """Take the container down when it is empty, unless somebody does so before.

        Args:
            then: awaited after that, however it went down; for what follows, such as ``auto_remove``.
        """
        if record.id not in self._supervised:
            stopped = asyncio.Event()
            self._supervised[record.id] = stopped
            self._core.background(self._supervise(record, stopped, then), f"supervise {record.id}")

    async def _supervise(
        self,
        record: ContainerRecord,
        stopped: asyncio.Event,
        then: Callable[[ContainerRecord], Awaitable[None]],
    ) -> None:
        runtime = self._core.platform.runtime
        while not stopped.is_set():
            await runtime.wait_empty(record.id)
            async with self.lock(record.id):
                # An instance may have been started between the two lines above.
                if not stopped.is_set() and not await runtime.processes(record.id):
                    await self.take_down(record)
        await then(record)

    async def wait_down(self, container: str) -> None:
        """Return when a container is marked as stopped; at once if it does not run."""
        if (stopped := self._supervised.get(container)) is not None:
            await stopped.wait()

    async def wait_stopped(self, container: str) -> bool:
        """After a process ended: whether the container stops with it. Waits until it is marked so."""
        stopped = self._supervised.get(container)
        if stopped is None:
            return True
        if await self._core.platform.runtime.processes(container):
            return False
        await stopped.wait()
        return True
