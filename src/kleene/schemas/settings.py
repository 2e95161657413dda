"""What a container may use and looks like inside, beyond the documented API: limits, privileges, checks."""

from __future__ import annotations

from typing import Literal

import msgspec

from kleene.schemas.secrets import FileMount

RestartPolicy = Literal["no", "on-startup", "on-failure", "always", "unless-stopped"]
HealthStatus = Literal["starting", "healthy", "unhealthy"]

NO_CHECK = "NONE"
"""As the only word of a :class:`HealthCheck`'s ``test``, in a configuration: switch the image's check off."""


class HealthCheck(msgspec.Struct):
    """How a container is asked whether it is well: by a process that is started in it.

    Attributes:
        test: argument vector. In an image ``[]`` switches the parent's check off; in a container's
            configuration it takes the image's, and ``["NONE"]`` switches that off.
        interval, timeout, start_period, start_interval: in seconds; 0 is the default: 30, 30, 0 and 5.
        retries: failures in a row after which the container is unhealthy; 0 is the default, 3.
    """

    test: list[str] = []
    interval: float = 0
    timeout: float = 0
    start_period: float = 0
    start_interval: float = 0
    retries: int = 0


class HealthResult(msgspec.Struct):
    """What one check came to.

    Attributes:
        started, ended: ISO 8601 in UTC.
        exit_code: ``None`` if it did not end in time or could not be started.
        output: the beginning of what it wrote.
    """

    started: str
    ended: str
    exit_code: int | None
    output: str


class Health(msgspec.Struct):
    """How a container is.

    Attributes:
        failures: in a row.
        log: the last results, the newest last.
    """

    status: HealthStatus = "starting"
    failures: int = 0
    log: list[HealthResult] = []


class Ulimit(msgspec.Struct):
    """A resource limit of each process (getrlimit(2)).

    Attributes:
        name: as ``nofile``.
        soft, hard: in the units of the limit; -1 is none.
    """

    name: str
    soft: int
    hard: int


class TmpfsConfig(msgspec.Struct):
    """A file system in memory.

    Attributes:
        destination: absolute path in the container.
        options: as of mount(8) for tmpfs, such as ``size=64m``.
    """

    destination: str
    options: list[str] = []


Seccomp = Literal["default", "unconfined"]


class DeviceConfig(msgspec.Struct):
    """A device of the host.

    Attributes:
        source: absolute path of a device, or of a directory of devices.
        destination: absolute path in the container; ``""`` is the same.
        permissions: of ``r``, ``w`` and ``m``: read, write, make nodes.
    """

    source: str
    destination: str = ""
    permissions: str = "rwm"


class ContainerSettings(msgspec.Struct, kw_only=True):
    """What holds for a container.

    Attributes:
        memory: bytes that it may use; 0 is no limit.
        memory_swap: bytes of memory and swap together; 0 is twice ``memory``, -1 no limit of swap.
        cpus: processors' worth of time; 0 is no limit.
        pids_limit: processes and threads; 0 is no limit.
        cap_add, cap_drop: capabilities without ``CAP_``, or ``ALL``; ``cap_add`` counts more.
        read_only: its root file system cannot be written to.
        hostname: ``""`` is its id.
        stop_timeout: seconds between the request to end and the kill; ``None`` is 10.
        add_hosts: further lines of its ``/etc/hosts``, ``NAME:ADDRESS``; ``host-gateway`` as the address is
            that of the host on its first network.
        dns: addresses of name servers, in place of the host's.
        dns_search, dns_options: domains and options of its ``/etc/resolv.conf``, in place of the host's.
        privileged: it may do all that the daemon may, and sees all devices.
        no_new_privileges: set-user-ID programs in it give no privileges.
        seccomp: whether its system calls are filtered.
        shm_size: bytes of its ``/dev/shm``; 0 is 64 MiB.
        group_add: further groups of its processes, names or numbers.
        sysctls: kernel parameters of its own namespaces.
        restart_retries: how often ``on-failure`` restarts it in a row; 0 is without end.
        healthcheck: ``None`` if there is none.
        secrets, configs: files that it is given while it is up, in memory.
    """

    memory: int = 0
    memory_swap: int = 0
    cpus: float = 0
    pids_limit: int = 0
    ulimits: list[Ulimit] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    read_only: bool = False
    tmpfs: list[TmpfsConfig] = []
    hostname: str = ""
    labels: dict[str, str] = {}
    stop_timeout: float | None = None
    add_hosts: list[str] = []
    dns: list[str] = []
    restart_retries: int = 0
    healthcheck: HealthCheck | None = None
    secrets: list[FileMount] = []
    configs: list[FileMount] = []
    dns_search: list[str] = []
    dns_options: list[str] = []
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: Seccomp = "default"
    shm_size: int = 0
    group_add: list[str] = []
    sysctls: dict[str, str] = {}
    devices: list[DeviceConfig] = []


class SettingsConfig(msgspec.Struct, kw_only=True):
    """The same as it is asked for: ``None`` takes the image's or the default, or keeps what is.

    Attributes:
        labels: merged over the image's.
        healthcheck: what it leaves empty is the image's.
    """

    memory: int | None = None
    memory_swap: int | None = None
    cpus: float | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    read_only: bool | None = None
    tmpfs: list[TmpfsConfig] | None = None
    hostname: str | None = None
    labels: dict[str, str] | None = None
    stop_timeout: float | None = None
    add_hosts: list[str] | None = None
    dns: list[str] | None = None
    restart_retries: int | None = None
    healthcheck: HealthCheck | None = None
    secrets: list[FileMount] | None = None
    configs: list[FileMount] | None = None
    dns_search: list[str] | None = None
    dns_options: list[str] | None = None
    privileged: bool | None = None
    no_new_privileges: bool | None = None
    seccomp: Seccomp | None = None
    shm_size: int | None = None
    group_add: list[str] | None = None
    sysctls: dict[str, str] | None = None
    devices: list[DeviceConfig] | None = None
