"""What a container, and a process in it, look like to the OCI runtime: config.json and process.json. Pure.

Facts: the runtime specification 1.0.2 (config.md, config-linux.md, runtime.md), capabilities(7), proc(5).
Where it leaves the choice, containers are what Docker's users expect: its default capabilities, its masked
and read-only paths.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kleene.runtime import limits, privileges, seccomp
from kleene.runtime.devices import NOTHING, Given
from kleene.runtime.driver import ContainerSpec, Mount, Network, ProcessSpec
from kleene.runtime.jail_params import Adjustments
from kleene.runtime.options import NO_OPTIONS, Options, Rlimit, Tmpfs
from kleene.runtime.users import Identity

Json = dict[str, Any]

INIT_IN_CONTAINER = "/dev/kleene-init"
"""Where the init is seen: on the container's own /dev, so that nothing is written into the image."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DEFAULT_CAPABILITIES = frozenset(
    "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD"
    " CAP_NET_BIND_SERVICE CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT".split()
)
_VNET_CAPABILITIES = frozenset(("CAP_NET_ADMIN", "CAP_NET_RAW"))

_MASKED = (
    "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats"
    " /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats"
    " /sys/devices/virtual/powercap /sys/firmware"
).split()
_READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()

# Device numbers (Documentation/admin-guide/devices.txt in the kernel's source): making any node is
# allowed, opening only these: null, zero, full, random, urandom, tty, console, ptmx, pts.
_DEVICES: tuple[tuple[int, int | None], ...] = (
    *((1, minor) for minor in (3, 5, 7, 8, 9)),
    *((5, minor) for minor in (0, 1, 2)),
    (136, None),
)

_OPEN_FILES = (1024, 524288)  # soft and hard limit, as systemd gives a service


@dataclass(frozen=True)
class Host:
    """What the specification needs to know of the host and the daemon.

    Attributes:
        init: path of the static program that becomes the container's first process.
        machine: the architecture as ``uname -m`` tells it.
        profile: the parsed seccomp profile of containers-common.
        unified: whether all control groups are in the one tree of version 2 (cgroups(7)).
        capabilities: those that the daemon may hand on.
        open_files, core: the daemon's hard limits (getrlimit(2)) in files and bytes; -1 is no limit.
        oom_score_adj: of what runs in a container (see :mod:`kleene.runtime.oom`).
        hard_limits: all of the daemon's hard limits, by the names of :class:`Rlimit`.
        counts_swap: whether the kernel counts swap by control group.
    """

    init: Path
    machine: str
    profile: Mapping[str, Any]
    unified: bool
    capabilities: frozenset[str]
    open_files: int
    core: int
    oom_score_adj: int
    hard_limits: Mapping[str, int] = field(default_factory=dict)
    counts_swap: bool = True


@dataclass(frozen=True)
class EtcFile:
    """A file of the daemon's that the container sees in its /etc."""

    source: Path
    destination: str


def capabilities(
    driver: Literal["host", "ipnet", "vnet", "disabled"],
    adjusted: Adjustments,
    available: Collection[str],
    options: Options = NO_OPTIONS,
) -> list[str]:
    """The bounding set of a container, sorted: what root in it may do.

    Jail parameters change the default, options what comes of it.
    """
    if options.privileged:
        return sorted(available)
    if adjusted.bare:
        return []
    default = _DEFAULT_CAPABILITIES | (_VNET_CAPABILITIES if driver == "vnet" else frozenset())
    default = (default | adjusted.added) - adjusted.dropped
    return sorted(privileges.bounding_set(default, options.cap_add, options.cap_drop, available))


def container(
    spec: ContainerSpec,
    adjusted: Adjustments,
    host: Host,
    *,
    cgroup: str,
    files: Sequence[EtcFile] = (),
    with_32_bit: bool = True,
    given: Given = NOTHING,
    args: Sequence[str] = (INIT_IN_CONTAINER, "-P"),
) -> Json:
    """``config.json`` of a container.

    Args:
        cgroup: absolute path in each hierarchy.
        files: mounted over what the image has.
        with_32_bit: whether 32-bit programs may run (see :mod:`kleene.runtime.seccomp`).
        given: devices of the host, beside those of every container.
        args: of the first process.
    """
    options = spec.options
    bounding = capabilities(spec.network_driver, adjusted, host.capabilities, options)
    resources = limits.resources(options.limits, swap=host.counts_swap)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": [f"PATH={DEFAULT_PATH}"],
            "cwd": "/",
            "capabilities": _capability_sets(bounding, 0),
            "rlimits": rlimits(host, options.rlimits),
            "oomScoreAdj": host.oom_score_adj,
            "noNewPrivileges": options.no_new_privileges,
        },
        "root": {"path": str(spec.rootfs), "readonly": options.read_only},
        "hostname": adjusted.hostname or spec.hostname,
        "mounts": _mounts(spec, files, host),
        "linux": {
            "namespaces": _namespaces(spec.network, host),
            "cgroupsPath": cgroup,
            "sysctl": {**_sysctls(spec.network, adjusted), **options.sysctls},
            "maskedPaths": [] if options.privileged else list(_MASKED),
            "readonlyPaths": [] if options.privileged else list(_READ_ONLY),
            "rootfsPropagation": "rslave",
            "resources": {"devices": [*_device_rules(), *given.rules], **resources},
            **({"devices": given.nodes} if given.nodes else {}),
            **_seccomp(options, host, bounding, with_32_bit),
        },
    }


def _seccomp(options: Options, host: Host, bounding: Sequence[str], with_32_bit: bool) -> Json:
    if options.privileged or not options.seccomp:
        return {}
    found = seccomp.oci_filter(host.profile, host.machine, bounding, with_32_bit=with_32_bit)
    return {"seccomp": found}


def process(
    spec: ProcessSpec,
    identity: Identity,
    bounding: Sequence[str],
    limits: Sequence[Json],
    *,
    no_new: bool = False,
) -> Json:
    """``process.json`` of an execution instance.

    Args:
        bounding: the container's capabilities; only root gets them as its own.
        limits: the container's resource limits.
        no_new: it gains no privileges by set-user-ID programs.
    """
    # The primary group is among the others, as in Docker: else a setgid program could drop it, and with it
    # what a file's mode denies to that group (CVE-2022-36109).
    groups = sorted({identity.gid, *identity.groups})
    user: Json = {"uid": identity.uid, "gid": identity.gid, "additionalGids": groups}
    result: Json = {
        "terminal": spec.terminal,
        "user": user,
        "args": list(spec.args),
        "env": environment(spec, identity),
        "cwd": spec.cwd,
        "capabilities": _capability_sets(bounding, identity.uid),
        "rlimits": list(limits),
        "noNewPrivileges": no_new,
    }
    if spec.terminal:
        result["consoleSize"] = {"height": spec.rows, "width": spec.columns}
    return result


def environment(spec: ProcessSpec, identity: Identity) -> list[str]:
    """The process's environment, with what every program expects added where it is missing."""
    names = {line.partition("=")[0] for line in spec.env}
    added = {"PATH": DEFAULT_PATH, "HOME": identity.home}
    if spec.terminal:
        added["TERM"] = "xterm"
    return [*spec.env, *(f"{k}={v}" for k, v in added.items() if k not in names)]


def rlimits(host: Host, wanted: Sequence[Rlimit] = ()) -> list[Json]:
    """Resource limits that do not depend on how the daemon was started, but never exceed its hard ones:
    without CAP_SYS_RESOURCE these cannot be raised (getrlimit(2)). What is wanted counts over them."""
    found = _default_rlimits(host)
    for limit in wanted:
        kind = f"RLIMIT_{limit.name.upper()}"
        soft, hard = (_UNLIMITED if value == -1 else value for value in (limit.soft, limit.hard))
        found[kind] = {"type": kind, "soft": soft, "hard": hard}
    return list(found.values())


def _default_rlimits(host: Host) -> dict[str, Json]:
    soft, hard = _OPEN_FILES
    if host.open_files >= 0:
        hard = min(hard, host.open_files)
    core = {"type": "RLIMIT_CORE", "soft": 0, "hard": host.core if host.core >= 0 else _UNLIMITED}
    files = {"type": "RLIMIT_NOFILE", "soft": min(soft, hard), "hard": hard}
    return {"RLIMIT_CORE": core, "RLIMIT_NOFILE": files}


_UNLIMITED = 2**64 - 1


def _capability_sets(bounding: Sequence[str], uid: int) -> Json:
    """Nothing is inheritable, and only root has what it may have; others gain it by set-user-ID programs."""
    own = list(bounding) if uid == 0 else []
    return {"bounding": list(bounding), "effective": own, "permitted": list(own)}


def _namespaces(network: Network, host: Host) -> list[Json]:
    kinds = ["mount", "pid", "ipc", "uts", *(["cgroup"] if host.unified else [])]
    namespaces: list[Json] = [{"type": kind} for kind in kinds]
    if network.kind == "none":
        namespaces.append({"type": "network"})
    if network.kind == "namespace":
        namespaces.append({"type": "network", "path": str(network.path)})
    return namespaces


def _sysctls(network: Network, adjusted: Adjustments) -> Json:
    """In a network stack of its own, everybody may ping and listen on low ports: they disturb nobody else."""
    values: Json = {}
    if adjusted.domainname:
        values["kernel.domainname"] = adjusted.domainname
    if network.kind != "host":
        values["net.ipv4.ping_group_range"] = "0 2147483647"
        if adjusted.low_ports:
            values["net.ipv4.ip_unprivileged_port_start"] = "0"
    return values


def _device_rules() -> list[Json]:
    rules: list[Json] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for major, minor in _DEVICES:
        rule: Json = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    return rules


def _mounts(spec: ContainerSpec, files: Sequence[EtcFile], host: Host) -> list[Json]:
    """In the order in which they are made: the system's, then the daemon's files, then the user's, so
    that a file system in memory below a mount comes after it."""
    safe = ["nosuid", "noexec", "nodev"]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    shm = [*safe, "mode=1777", _shm_size(spec.options)]
    read_only = [] if spec.options.privileged else ["ro"]
    result = [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/dev/shm", "tmpfs", "shm", shm),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        _mount("/sys", "sysfs", "sysfs", [*safe, *read_only]),
        _mount(INIT_IN_CONTAINER, "bind", str(host.init), ["bind", "ro", "nosuid", "nodev"]),
    ]
    if host.unified:
        # Version 1 would take a mount per controller, and there is no limit of ours to be read there.
        result.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "relatime", *read_only]))
    result += [_mount(f.destination, "bind", str(f.source), ["bind", "nodev"]) for f in files]
    places = [f"{mount.destination.rstrip('/')}/" for mount in spec.mounts]
    below = [t for t in spec.options.tmpfs if t.destination.startswith(tuple(places))]
    above = [t for t in spec.options.tmpfs if t not in below]
    result += [_tmpfs(t) for t in above]
    result += [_user_mount(m) for m in spec.mounts]
    return result + [_tmpfs(t) for t in below]


def _shm_size(options: Options) -> str:
    return f"size={options.shm_size}" if options.shm_size else "size=65536k"


def _tmpfs(tmpfs: Tmpfs) -> Json:
    """Options of the user's count over the default ones."""
    options = ["nosuid", "nodev", "noexec", "mode=1777", *tmpfs.options]
    return _mount(tmpfs.destination, "tmpfs", "tmpfs", options)


def _user_mount(mount: Mount) -> Json:
    """Set-user-ID programs work in it, as in the image; device nodes do not."""
    access = "ro" if mount.read_only else "rw"
    return _mount(mount.destination, "bind", str(mount.source), ["rbind", access, "nodev"])


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
