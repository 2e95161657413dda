"""Containers and their execution instances in the metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kleene.metadata.database import Database
from kleene.metadata.table import Table
from kleene.schemas.containers import (
    MountPointConfig,
    NetworkDriver,
    PublishedPortConfig,
)
from kleene.schemas.settings import ContainerSettings, Health, RestartPolicy


@dataclass(frozen=True)
class ContainerRecord:
    """A row of ``containers``. ``env`` is merged over the image's already; ``snapshot`` is what it began as.

    A build container is a row in state ``making`` whose ``dataset`` is its image's; it goes with the build.

    Attributes:
        wanted: a user has started its command and has not stopped it since.
        started, finished: when it came up and went down last; ``""`` before the first time.
        snapshot: that it was cloned from.
        health: since it is up; as of the last change.
    """

    id: str
    name: str
    state: Literal["making", "ready", "removing"]
    image_id: str
    image_name: str
    image_tag: str
    dataset: str
    created: str
    running: bool
    cmd: list[str]
    env: list[str]
    user: str
    workdir: str
    jail_param: list[str]
    network_driver: NetworkDriver
    persist: bool
    restart_policy: RestartPolicy
    auto_remove: bool
    mounts: list[MountPointConfig]
    ports: list[PublishedPortConfig]
    exit_code: int | None
    entrypoint: list[str] = field(default_factory=list)
    stop_signal: str = ""
    settings: ContainerSettings = field(default_factory=ContainerSettings)
    wanted: bool = False
    restart_count: int = 0
    started: str = ""
    finished: str = ""
    health: Health = field(default_factory=Health)
    snapshot: str = ""

    @property
    def is_build(self) -> bool:
        """Whether it only serves a build, and its dataset is the image's."""
        return not self.dataset.startswith("container/")


@dataclass(frozen=True)
class ExecRecord:
    """A row of ``execs``: an execution instance until it ends.

    Attributes:
        main: it is the container's own command, or what the container came up for. Known once it runs.
    """

    id: str
    container_id: str
    state: Literal["created", "running"]
    cmd: list[str]
    env: list[str]
    user: str
    tty: bool
    stdin: bool
    workdir: str = ""
    privileged: bool = False
    main: bool = False


class ContainerStore:
    """Reads and writes of containers and execution instances."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.containers = Table(database, "containers", ContainerRecord)
        self.execs = Table(database, "execs", ExecRecord)

    def ready(self, *, running_only: bool = False) -> list[ContainerRecord]:
        """The containers that a user can see, oldest first."""
        extra = " AND running = 1" if running_only else ""
        return self.containers.where(f"state = 'ready'{extra}")

    def present(self) -> list[ContainerRecord]:
        """The containers that a user can see or will: those in the making too, oldest first."""
        return self.containers.where("state != 'removing'")

    def by_name(self, name: str) -> ContainerRecord | None:
        found = self.containers.where("state = 'ready' AND name = ?", [name])
        return found[0] if found else None

    def by_prefix(self, prefix: str) -> list[ContainerRecord]:
        """Containers whose id begins with ``prefix`` (hex digits only)."""
        return self.containers.where("state = 'ready' AND id GLOB ?", [f"{prefix}*"])

    def names(self) -> set[str]:
        """Names that are taken."""
        return {row["name"] for row in self._database.query("SELECT name FROM containers")}

    def running(self) -> list[ContainerRecord]:
        """All that run, build containers too."""
        return self.containers.where("running = 1")

    def put_out_of_sight(self, container: str, **values: object) -> bool:
        """Mark a container as being removed and free its name; whether there is such a container."""
        return self.containers.update(container, state="removing", name=container, **values)

    def execs_of(self, container_id: str) -> list[ExecRecord]:
        return self.execs.where("container_id = ?", [container_id])

    def mounting(self, volume: str) -> list[ContainerRecord]:
        """The containers that mount a volume."""
        return [
            record
            for record in self.present()
            if any(m.type == "volume" and m.source == volume for m in record.mounts)
        ]
