"""What a user may ask of a container's limits, privileges and looks: values that drivers are given. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """What all processes of a container together may use; 0 is no limit.

    Attributes:
        memory: bytes.
        swap: bytes of memory and swap together; 0 leaves it to ``memory``, -1 is no limit.
        cpus: processors' worth of time.
        pids: processes and threads.
    """

    memory: int = 0
    swap: int = 0
    cpus: float = 0
    pids: int = 0


@dataclass(frozen=True)
class Rlimit:
    """A limit of each process (getrlimit(2)): its name as ``nofile``, and values of which -1 is none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class Tmpfs:
    """A file system in memory at ``destination`` (absolute, in the container); options as of mount(8)."""

    destination: str
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Device:
    """A device node of the host, or all in a directory, at ``destination`` in the container.

    Attributes:
        access: of ``r``, ``w`` and ``m``: read, write, make nodes.
    """

    source: str
    destination: str
    access: str = "rwm"


@dataclass(frozen=True)
class Options:
    """What a user may ask of a container's limits, privileges and looks.

    Attributes:
        rlimits: besides the default ones.
        cap_add, cap_drop: names as of capabilities(7) without ``CAP_``, or ``ALL``.
        read_only: the root file system cannot be written to.
        hosts: pairs of a name and an address, for ``/etc/hosts``.
        dns: addresses of name servers, in place of the host's.
        dns_search, dns_options: of resolv.conf(5), in place of the host's.
        privileged: it may do all that the daemon may: nothing of the kernel is hidden from it.
        no_new_privileges: its processes gain none by set-user-ID programs.
        seccomp: whether system calls are filtered.
        shm_size: bytes of /dev/shm; 0 is 64 MiB.
        groups: further groups of its processes, names or numbers.
        sysctls: parameters of its own namespaces.
    """

    limits: Limits = Limits()
    rlimits: Sequence[Rlimit] = ()
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    read_only: bool = False
    tmpfs: Sequence[Tmpfs] = ()
    hosts: Sequence[tuple[str, str]] = ()
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: bool = True
    shm_size: int = 0
    groups: Sequence[str] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[Device] = ()


NO_OPTIONS = Options()
