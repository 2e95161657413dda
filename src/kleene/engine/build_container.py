"""The build container: runs a build's RUN steps in the dataset that becomes the image.

It is a container like any other, configured by the same options, but it is brought up at the first step
that needs it, no user sees it, and it goes with the build. What a step left running runs on in the next.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from types import TracebackType

from kleene import names
from kleene.engine.containers import Containers
from kleene.engine.core import Core
from kleene.engine.endpoints import Endpoints
from kleene.engine.lifecycle import Lifecycle
from kleene.engine.volumes import Volumes
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.images import ImageRecord
from kleene.runtime.driver import Process, ProcessSpec
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.networks import EndPointConfig


@dataclass(frozen=True)
class Services:
    """What a build container is made with."""

    core: Core
    lifecycle: Lifecycle
    containers: Containers
    endpoints: Endpoints
    volumes: Volumes


class BuildContainer:
    """An async context manager: whatever was brought up is gone when it is left."""

    def __init__(
        self,
        services: Services,
        image: ImageRecord,
        parent: ImageRecord,
        config: ContainerConfig,
        wanted: list[EndPointConfig],
        *,
        variant: str = "",
    ) -> None:
        """
        Args:
            image: the image in the making, whose dataset is the container's file system.
            config: its privileges, mounts and network driver; command and environment come with the steps.
            wanted: the networks to connect it to.
            variant: part of its name, if there are several.
        """
        self._services = services
        self._image = image
        self._parent = parent
        self._config = config
        self._wanted = wanted
        self._variant = variant
        self._undo = contextlib.AsyncExitStack()
        self._up: ContainerRecord | None = None

    async def execute(self, spec: ProcessSpec) -> Process:
        """Start a command, bringing the container up first if it is not."""
        container = await self.up()
        runtime = self._services.core.platform.runtime
        return await runtime.exec_build(container, names.new_id(), spec)

    async def up(self) -> str:
        """The id of the container, which is brought up if it is not."""
        if self._up is None:
            self._up = await self._bring_up()
        return self._up.id

    async def _bring_up(self) -> ContainerRecord:
        services = self._services
        record = await self._describe()
        services.core.containers.containers.insert(record)
        self._undo.push_async_callback(services.containers.destroy, record)
        for endpoint in self._wanted:
            await services.endpoints.connect(record, endpoint)
        await services.volumes.prepare(record)
        await services.lifecycle.bring_up(record)
        self._undo.push_async_callback(services.lifecycle.take_down, record)
        return record

    async def _describe(self) -> ContainerRecord:
        config = self._config
        described = await self._services.containers.describe(
            ContainerConfig(
                name=f"build_{self._image.id}{self._variant}",
                jail_param=config.jail_param,
                mounts=config.mounts,
                network_driver=config.network_driver or ("ipnet" if self._wanted else "host"),
                public_ports=config.public_ports,
                cap_add=config.cap_add,
                hostname=config.hostname,
            ),
            self._parent,
        )
        return replace(described, dataset=self._image.dataset)

    async def aclose(self) -> None:
        """Take the container down and away; nothing happens if it is not there."""
        await self._undo.aclose()

    async def __aenter__(self) -> BuildContainer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
