"""The build container: runs a build's RUN steps in the dataset that becomes the image.

It is a container like any other, configured by the same options, but it is brought up at the first step
that needs it, no user sees it, and it goes with the build. What a step left running runs on in the next.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import TracebackType

from kleene import names
from kleene.engine import lookup
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


class BuildContainer:
    """An async context manager: whatever was brought up is gone when it is left."""

    def __init__(
        self,
        core: Core,
        lifecycle: Lifecycle,
        containers: Containers,
        endpoints: Endpoints,
        volumes: Volumes,
        *,
        image: ImageRecord,
        parent: ImageRecord,
        config: ContainerConfig,
        wanted: list[EndPointConfig],
    ) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._containers = containers
        self._endpoints = endpoints
        self._volumes = volumes
        self._wanted = wanted
        self._parent_env = lookup.environment(parent.env)
        self._own_env = lookup.environment(config.env or [])
        self._undo = contextlib.AsyncExitStack()
        self._config = config
        self._parent = parent
        self._image = image
        self._up: ContainerRecord | None = None

    async def __aenter__(self) -> BuildContainer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._undo.aclose()

    async def execute(self, spec: ProcessSpec) -> Process:
        """Start a command, bringing the container up first if it is not."""
        if self._up is None:
            self._up = await self._bring_up()
        spec = replace(spec, env=self._environment(spec))
        runtime = self._core.platform.runtime
        return await runtime.exec_build(self._up.id, names.new_id(), spec)

    def _environment(self, spec: ProcessSpec) -> list[str]:
        """The step's environment; the container's own variables win over the parent image's, and
        ENV instructions over both."""
        step = lookup.environment(spec.env)
        for name, value in self._own_env.items():
            if step.get(name) == self._parent_env.get(name):
                step[name] = value
        return [f"{name}={value}" for name, value in step.items()]

    async def _bring_up(self) -> ContainerRecord:
        record = await self._describe()
        self._core.containers.containers.insert(record)
        self._undo.push_async_callback(self._containers.destroy, record)
        for endpoint in self._wanted:
            await self._endpoints.connect(record, endpoint)
        await self._volumes.prepare(record)
        await self._lifecycle.bring_up(record)
        self._undo.push_async_callback(self._lifecycle.take_down, record)
        return record

    async def _describe(self) -> ContainerRecord:
        config = self._config
        described = await self._containers.describe(
            ContainerConfig(
                name=f"build_{self._image.id}",
                jail_param=config.jail_param,
                mounts=config.mounts,
                network_driver=config.network_driver or ("ipnet" if self._wanted else "host"),
                public_ports=config.public_ports,
            ),
            self._parent,
        )
        return replace(described, dataset=self._image.dataset)
