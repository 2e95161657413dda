"""Containers on the wire. Documented API: ContainerConfig, Container, ContainerSummary, ContainerInspect."""

from __future__ import annotations

from typing import Literal

import msgspec

from kleene.schemas.common import BuildSecret
from kleene.schemas.networks import EndPoint
from kleene.schemas.settings import ContainerSettings, Health, RestartPolicy, SettingsConfig

NetworkDriver = Literal["ipnet", "host", "vnet", "disabled"]
MountType = Literal["volume", "nullfs"]
Protocol = Literal["tcp", "udp"]


class MountPointConfig(msgspec.Struct):
    """A mount that is asked for.

    Attributes:
        type: ``volume``, or ``nullfs`` for a path of the host (a bind mount on Linux).
        source: a volume's name, or an absolute path on the host.
        destination: an absolute path in the container.
        read_only: whether the container may only read it.
    """

    type: MountType
    source: str
    destination: str
    read_only: bool = False


class MountPoint(msgspec.Struct):
    """A mount of a container."""

    container_id: str
    type: MountType
    source: str
    destination: str
    read_only: bool


class PublishedPortConfig(msgspec.Struct):
    """A port that is asked to be published.

    Attributes:
        interfaces: host interfaces; none means the host's gateway interface.
        host_port: ``PORT`` or ``FIRST:LAST``.
        container_port: ``PORT``, or ``FIRST:*`` beside a range of host ports.
        protocol: ``tcp`` or ``udp``.
    """

    interfaces: list[str]
    host_port: str
    container_port: str
    protocol: Protocol = "tcp"


class PublishedPort(msgspec.Struct):
    """A published port and the container's addresses that its traffic goes to."""

    interfaces: list[str]
    host_port: str
    container_port: str
    protocol: Protocol
    ip_address: str
    ip_address6: str


class ContainerConfig(SettingsConfig):
    """What a new container shall be; in an update, ``None`` keeps what is.

    Attributes:
        image: ``ID|NAME[:TAG][@SNAPSHOT]``; required to create, ignored in an update.
        cmd: argument vector; ``[]`` takes the image's.
        env: ``NAME=VALUE`` lines, merged over the image's.
        user: user name or id, optionally ``:GROUP``; ``""`` takes the image's.
        jail_param: jail parameters, ``name`` or ``name=value``.
        network_driver: ``None`` is ``ipnet``, but ``host`` for a build without networks.
        auto_remove: remove the container when it stops.
        start_soon: a process is going to be started in it at once: it may be brought up meanwhile.
        entrypoint: put before the command; ``None`` takes the image's. If it is given, the image's
            command is not taken.
        workdir: where processes start, an absolute path, made if it is missing; ``""`` takes the image's.
        stop_signal: asks its processes to end: a name or a number; ``""`` takes the image's.
        step: number of the step of the image's build whose environment, user and working directory it takes
            in place of the image's, and its mounts; ``None``: of ``IMAGE@SNAPSHOT`` those of the step that
            led there, without mounts.
        step_secrets, step_ssh: for the mounts of that step, by id, as in a build: kept in memory while the
            container exists.
    """

    name: str | None = None
    image: str | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    user: str | None = None
    jail_param: list[str] | None = None
    mounts: list[MountPointConfig] | None = None
    network_driver: NetworkDriver | None = None
    persist: bool | None = None
    public_ports: list[PublishedPortConfig] | None = None
    restart_policy: RestartPolicy | None = None
    auto_remove: bool | None = None
    start_soon: bool = False
    entrypoint: list[str] | None = None
    workdir: str | None = None
    stop_signal: str | None = None
    step: int | None = None
    step_secrets: dict[str, BuildSecret] | None = None
    step_ssh: dict[str, str] | None = None


class Container(ContainerSettings, kw_only=True):
    """A container.

    Attributes:
        created: ISO 8601 in UTC.
        dataset: its file system, as the storage names it.
        exit_code: exit status of its main process: of its own command, or of what it was started for;
            ``None`` before the first has ended.
        started, finished: when it came up and went down last, ISO 8601 in UTC; ``""`` before the first time.
        restarting: it is down, and its restart policy is about to start it.
        restart_count: how often its restart policy has started it since a user did.
        health: ``None`` without a health check, or if it does not run.
        snapshot: the snapshot that it was cloned from.
    """

    id: str
    name: str
    image_id: str
    dataset: str
    created: str
    running: bool
    cmd: list[str]
    env: list[str]
    user: str
    jail_param: list[str]
    network_driver: NetworkDriver
    persist: bool
    public_ports: list[PublishedPort]
    restart_policy: RestartPolicy
    exit_code: int | None = None
    auto_remove: bool = False
    entrypoint: list[str] = msgspec.field(default_factory=list)
    stop_signal: str = ""
    workdir: str = "/"
    started: str = ""
    finished: str = ""
    restarting: bool = False
    restart_count: int = 0
    health: Health | None = None
    snapshot: str = ""


class ContainerSummary(Container, kw_only=True):
    """A container in a list.

    Attributes:
        jid: the jail's id on FreeBSD, the process id of the container's init on Linux.
        networks: names of those that it is on.
        mounts: what is mounted in it: ``SOURCE:DESTINATION[:ro]``.
    """

    image_name: str
    image_tag: str
    jid: int | None = None
    networks: list[str] = msgspec.field(default_factory=list)
    mounts: list[str] = msgspec.field(default_factory=list)


class ContainerProcess(msgspec.Struct):
    """A process that runs in a container.

    Attributes:
        pid: in the container.
        ppid: its parent's in the container; 0 if that is outside.
        host_pid: on the host.
        user: the container's name of the user, or the number.
        started: ISO 8601 in UTC.
        cpu_seconds: processor time.
        command: its command line; in brackets its name if it has none.
    """

    pid: int
    ppid: int
    host_pid: int
    user: str
    started: str
    cpu_seconds: float
    command: list[str]


class ContainerStats(msgspec.Struct):
    """What a container uses at a moment; what is counted, is counted since it came up.

    Attributes:
        time: of the measurement, ISO 8601 in UTC, to the microsecond.
        cpu_seconds: processor time; its growth over a time is the share of one processor.
        processors: of the host.
        memory: bytes, without what the page cache could give back at once.
        memory_limit: bytes; 0 is none.
        pids: processes and threads, the init included.
        read_bytes, written_bytes: from and to block devices.
        received_bytes, sent_bytes: by its network interfaces; ``None`` if it shares the host's.
    """

    id: str
    name: str
    time: str
    cpu_seconds: float
    processors: int
    memory: int
    memory_limit: int
    pids: int
    read_bytes: int
    written_bytes: int
    received_bytes: int | None = None
    sent_bytes: int | None = None


class FileChange(msgspec.Struct):
    """A file in which a state differs from an older one. ``path`` is absolute, in the container.

    ``\\xff`` in it is a byte that is not UTF-8.
    """

    kind: Literal["added", "modified", "removed"]
    path: str


class CommitConfig(msgspec.Struct):
    """An image that is to be made of a container.

    Attributes:
        tag: ``NAME[:TAG]``; ``""`` leaves the image untagged.
        changes: instructions such as ``CMD ["/bin/sh"]``, which change what the image says of its containers.
        message: why it was made, for its history.
    """

    tag: str = ""
    changes: list[str] = []
    message: str = ""


class WaitConfig(msgspec.Struct):
    """First frame of ``/containers/ID/wait``: nothing but ``{}``."""


class ContainerInspect(msgspec.Struct):
    """All that is known of a container."""

    container: Container
    container_endpoints: list[EndPoint]
    container_mountpoints: list[MountPoint]
