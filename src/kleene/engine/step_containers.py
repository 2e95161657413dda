"""The containers that a stage's RUN steps run in: the build container, and one for each other confinement.

They share the dataset of the stage. ``--network`` and ``--security`` differ from step to step, but namespaces
and privileges are a container's own; so a step that asks for others runs in another container, which is
brought up for the first of its kind. All go with the stage.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from kleene.build.steps import NetworkMode, RunStep
from kleene.engine.build_container import BuildContainer, Services
from kleene.engine.build_mounts import BuildMounts, States
from kleene.errors import InvalidInput
from kleene.metadata.images import ImageRecord
from kleene.runtime.driver import Process, ProcessSpec
from kleene.schemas.images import Entitlement, ImageBuildConfig


class StepContainers(contextlib.AsyncExitStack):
    """An async context manager: whatever was brought up is gone when it is left.

    Args:
        image: of the stage, whose dataset is the file system.
        mounts: makes what the steps' own mounts are of.
        states: what those may refer to.
    """

    def __init__(
        self,
        services: Services,
        image: ImageRecord,
        config: ImageBuildConfig,
        mounts: BuildMounts,
        states: States,
    ) -> None:
        super().__init__()
        self._services = services
        self._image = image
        self._config = config
        self._mounts = mounts
        self._states = states
        self._containers: dict[tuple[NetworkMode, bool], BuildContainer] = {}

    @contextlib.asynccontextmanager
    async def execute(self, spec: ProcessSpec, step: RunStep) -> AsyncIterator[Process]:
        """Start the command of a step; its mounts are there as long as the block lasts.

        Raises:
            InvalidInput: the step asks for more than the build allows, or for what was not given to it.
        """
        container = await self._container(step)
        if not step.mounts:
            yield await container.execute(spec)
            return
        runtime = self._services.core.platform.runtime
        async with self._mounts.prepared(step.mounts, self._states) as prepared:
            with contextlib.ExitStack() as stack:
                up = await container.up()
                for mount, made in prepared.mounts:
                    with self._mounts.placed(mount):
                        stack.enter_context(runtime.mounted(up, [made]))
                yield await container.execute(prepared.process(spec))

    async def _container(self, step: RunStep) -> BuildContainer:
        confinement = self._network(step), step.insecure
        if step.insecure:
            self._check_allowed("security.insecure", "--security=insecure")
        if confinement not in self._containers:
            made = self._describe(*confinement)
            self._containers[confinement] = await self.enter_async_context(made)
        return self._containers[confinement]

    def _network(self, step: RunStep) -> NetworkMode:
        """What is not the network that the build container has anyhow."""
        given = self._config.container_config.network_driver
        if step.network == "host" and (given or "host") == "host" and not self._config.networks:
            return "default"
        if step.network == "host":
            self._check_allowed("network.host", "--network=host")
        return step.network

    def _check_allowed(self, entitlement: Entitlement, flag: str) -> None:
        if entitlement not in self._config.allow:
            raise InvalidInput(
                f"'{flag}' is not allowed in this build",
                hint=f"if you trust the Dockerfile: klee build --allow {entitlement}",
            )

    def _describe(self, network: NetworkMode, insecure: bool) -> BuildContainer:
        options, networks = self._config.container_config, self._config.networks
        variant = "" if network == "default" else f"_{network}"
        if network != "default":
            driver = "disabled" if network == "none" else "host"
            options = msgspec.structs.replace(options, network_driver=driver, public_ports=[])
            networks = []
        if insecure:
            options = msgspec.structs.replace(options, cap_add=["ALL"])
            variant += "_insecure"
        image = self._image
        return BuildContainer(self._services, image, image, options, networks, variant=variant)
