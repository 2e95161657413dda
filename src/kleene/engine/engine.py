"""The engine as a whole: opened by the daemon once, closed when it ends. Containers outlive it."""

from __future__ import annotations

import asyncio

from kleene import __version__
from kleene.engine.bisect import Bisect
from kleene.engine.build_caches import BuildCaches
from kleene.engine.build_container import Services
from kleene.engine.containers import Containers
from kleene.engine.contexts import Contexts
from kleene.engine.copies import Copies
from kleene.engine.core import Core, log
from kleene.engine.endpoints import Endpoints
from kleene.engine.execs import Execs
from kleene.engine.health import HealthChecks
from kleene.engine.history import History
from kleene.engine.images import Images
from kleene.engine.lifecycle import Lifecycle
from kleene.engine.lists import Lists
from kleene.engine.logs import Logs
from kleene.engine.networks import Networks
from kleene.engine.platform import Platform
from kleene.engine.provided import ProvidedFiles
from kleene.engine.reconcile import Reconciler
from kleene.engine.restarts import Restarts
from kleene.engine.retention import Retention
from kleene.engine.retention_limits import Limits
from kleene.engine.space import Space
from kleene.engine.states import States
from kleene.engine.stats import Stats
from kleene.engine.step_shells import StepShells
from kleene.engine.stored_files import Configs, Secrets
from kleene.engine.volume_archives import VolumeArchives
from kleene.engine.volume_states import VolumeStates
from kleene.engine.volumes import Volumes
from kleene.metadata.database import Database
from kleene.schemas.system import Info

_LOG_INTERVAL = 1.0  # seconds between two looks at the sizes of logs
_BUSY_LOG_INTERVAL = 0.05  # of those that grow fast


class Engine:
    """The services, wired together. Use :meth:`open`."""

    def __init__(
        self, platform: Platform, database: Database, limits: Limits | None = None
    ) -> None:
        self._database = database
        self._core = core = Core(platform, database)
        endpoints = Endpoints(core)
        self.networks = Networks(core, endpoints)
        self.volumes = Volumes(core)
        self.volume_states = VolumeStates(core, self.volumes)
        self.volume_archives = VolumeArchives(core, self.volumes, self.volume_states)
        self.events = core.events
        self.secrets = Secrets(core)
        self.configs = Configs(core)
        files = ProvidedFiles(core, self.secrets, self.configs)
        self.contexts = Contexts(core)
        caches = BuildCaches(core)
        shells = StepShells(core, self.contexts, caches)
        lifecycle = Lifecycle(core, endpoints, self.volumes, files, shells)
        self.containers = Containers(core, lifecycle, endpoints, self.volumes)
        services = Services(core, lifecycle, self.containers, endpoints, self.volumes)
        self.images = Images(core, services, self.contexts, caches)
        self.execs = Execs(core, lifecycle, self.containers)
        self._restarts = Restarts(core, lifecycle, self.execs)
        self._health = HealthChecks(core, lifecycle)
        self.lists = Lists(self)
        self.logs = Logs(core, lifecycle)
        self.copies = Copies(core, lifecycle)
        self.states = States(core)
        self.stats = Stats(core)
        self.history = History(core)
        self.bisect = Bisect(core, services, self.history)
        self.space = Space(core, self.images, self.contexts)
        self._retention = Retention(self.space, limits or Limits())
        self._reconciler = Reconciler(
            core,
            lifecycle,
            self.images,
            self.containers,
            self.execs,
            endpoints,
            self.networks,
            self.volumes,
            self.volume_states,
        )

    @classmethod
    async def open(cls, platform: Platform, limits: Limits | None = None) -> Engine:
        """Open the metadata, reconcile, and start the containers that are to run with the daemon.

        Args:
            limits: what builds may leave behind.

        Raises:
            HostUnavailable: the metadata or a driver cannot be used.
        """
        database = Database.open(platform.root / "kleene.db")
        engine = cls(platform, database, limits)
        try:
            await engine._reconciler.run()
            core = engine._core
            core.events.emit("daemon", "start", platform.instance, "kleened", version=__version__)
            found = engine._reconciler
            await engine._restarts.start_all(found.interrupted, found.adopted)
            engine._core.background(engine._rotate_logs(), "rotate logs")
            engine._core.background(engine.volumes.keep_quotas(), "keep quotas")
            await engine.space.finish()
            engine._core.background(engine._retention.run(), "retention")
            interval = engine._retention.limits.interval
            engine._core.background(engine.contexts.keep_bounds(interval), "context limits")
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _rotate_logs(self) -> None:
        busy = False
        while True:
            await asyncio.sleep(_BUSY_LOG_INTERVAL if busy else _LOG_INTERVAL)
            busy = False
            try:
                busy = await self._core.platform.runtime.rotate_logs()
            except OSError as error:  # a full disk, which may pass
                log.warning("logs cannot be rotated: %s", error)

    async def close(self) -> None:
        """Stop watching. Containers keep running."""
        await self._core.cancel_background()
        await self._core.platform.storage.close()
        self._database.close()

    async def info(self) -> Info:
        """What the daemon is, has and found."""
        platform = self._core.platform
        runtime = platform.runtime.capabilities
        containers = self._core.containers.ready()
        return Info(
            version=__version__,
            storage=platform.storage.name,
            runtime=f"{runtime.name} {runtime.version}",
            root=str(platform.root),
            containers=len(containers),
            containers_running=sum(record.running for record in containers),
            images=len(self._core.images.ready()),
            probed=platform.probed,
        )
