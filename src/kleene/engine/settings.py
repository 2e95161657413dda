"""What a container may use and looks like inside: from what is asked for to what holds. Pure.

A configuration leaves out what it does not care for; then the image, or what the container has, counts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kleene.build.signals import signal_name
from kleene.errors import Conflict, InvalidInput
from kleene.metadata.containers import ContainerRecord
from kleene.names import check_labels
from kleene.runtime.options import Device, Limits, Options, Rlimit, Tmpfs
from kleene.runtime.privileges import capability_names
from kleene.runtime.sysctls import is_of_network
from kleene.schemas.containers import NetworkDriver
from kleene.schemas.images import ImageSettings
from kleene.schemas.settings import (
    NO_CHECK,
    ContainerSettings,
    HealthCheck,
    SettingsConfig,
    TmpfsConfig,
)

HOST_GATEWAY = "host-gateway"
"""In place of an address in ``add_hosts``: that of the host."""

_HOSTNAME = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*))*"
)
_HOSTNAME_LENGTH = 63  # hostname(7)
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_RESOLVER_WORD = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.:-]{0,252}")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_LONGEST = 10 * 365 * 86400.0  # seconds: what a duration may be, and a timer take
_SECONDS = f"use 0 to {_LONGEST:g}"
_TMPFS_FLAGS = {"rw", "ro", "suid", "nosuid", "exec", "noexec", "nodev", "noatime", "relatime"}
_TMPFS_VALUES = re.compile(
    r"size=[0-9]+[kmgKMG%]?|mode=[0-7]{3,4}|(uid|gid)=[0-9]{1,10}|nr_inodes=[0-9]+[kmgKMG]?"
)


def of_new(config: SettingsConfig, image: ImageSettings) -> ContainerSettings:
    """The settings of a new container.

    Raises:
        InvalidInput: names what cannot be used.
    """
    start = ContainerSettings(labels=image.labels, healthcheck=_enabled(image.healthcheck))
    return _changed(start, config, labels={**image.labels, **(config.labels or {})})


def of_changed(now: ContainerSettings, config: SettingsConfig) -> ContainerSettings:
    """The settings of a container that is changed; errors as for :func:`of_new`."""
    return _changed(now, config)


def _changed(now: ContainerSettings, config: SettingsConfig, **more: Any) -> ContainerSettings:
    names = SettingsConfig.__struct_fields__
    changes = {n: value for n in names if (value := getattr(config, n)) is not None}
    changes |= more
    if config.healthcheck is not None:
        changes["healthcheck"] = _merged_check(now.healthcheck, config.healthcheck)
    for name in ("cap_add", "cap_drop"):
        changes[name] = capability_names(changes.get(name, getattr(now, name)))
    settings: ContainerSettings = msgspec.structs.replace(now, **changes)
    _check(settings)
    return settings


def _check(settings: ContainerSettings) -> None:
    name = settings.hostname
    if name and (_HOSTNAME.fullmatch(name) is None or len(name) > _HOSTNAME_LENGTH):
        raise InvalidInput(
            f"host name '{name}' is not valid",
            hint="use letters, digits, '-' and '.', 63 characters at most",
        )
    check_labels(settings.labels)
    for seconds in (settings.stop_timeout,):
        if seconds is not None and not 0 <= seconds <= _LONGEST:
            raise InvalidInput(
                f"stop timeout {seconds:g} is not a number of seconds", hint=_SECONDS
            )
    for tmpfs in settings.tmpfs:
        _check_tmpfs(tmpfs)
    for line in settings.add_hosts:
        _host(line, "127.0.0.1")
    for address in settings.dns:
        _address(address)
    for word in (*settings.dns_search, *settings.dns_options):
        _check_resolver_word(word)
    for group in settings.group_add:
        if not _GROUP.fullmatch(group):
            raise InvalidInput(f"'{group}' is not a group", hint="write its name, or its number")
    if settings.shm_size < 0:
        raise InvalidInput("the size of /dev/shm is negative", hint="write --shm-size 64m")


def check_driver(settings: ContainerSettings, driver: NetworkDriver) -> None:
    """See that a container with this network driver can have its settings.

    Raises:
        InvalidInput: there is a kernel parameter of the network, and the network stack is the host's.
    """
    of_network = [name for name in settings.sysctls if is_of_network(name)]
    if of_network and driver == "host":
        raise InvalidInput(
            f"kernel parameter '{of_network[0]}' belongs to a network stack, and driver 'host' shares that"
            " of the host",
            hint="give the container one of its own: --network NETWORK, or --driver vnet",
        )


def _check_resolver_word(word: str) -> None:
    """A domain or an option: it becomes part of a line of resolv.conf(5)."""
    if not _RESOLVER_WORD.fullmatch(word):
        raise InvalidInput(
            f"'{word}' cannot stand in resolv.conf",
            hint="write --dns-search example.org, --dns-option ndots:1",
        )


def _check_tmpfs(tmpfs: TmpfsConfig) -> None:
    path = tmpfs.destination
    if not path.startswith("/") or ".." in path.split("/") or not path.strip("/") or "\0" in path:
        raise InvalidInput(
            f"tmpfs '{path}' is not an absolute path below '/'",
            hint="write --tmpfs /PATH[:OPTION,...]",
        )
    for option in tmpfs.options:
        if option not in _TMPFS_FLAGS and _TMPFS_VALUES.fullmatch(option) is None:
            raise InvalidInput(
                f"tmpfs '{path}' has the unknown option '{option}'",
                hint="use size=64m, mode=1777, uid=N, gid=N, nr_inodes=N, ro, exec, suid",
            )


def _host(line: str, gateway: str) -> tuple[str, str]:
    """A name and its address; ``gateway`` is that of the host."""
    name, colon, address = line.partition(":")
    if _HOSTNAME.fullmatch(name) is None or len(name) > 253:
        raise InvalidInput(f"host '{line}' has no valid name", hint="write --add-host NAME:ADDRESS")
    if not colon:
        raise InvalidInput(f"host '{line}' has no address", hint="write --add-host NAME:ADDRESS")
    if address == HOST_GATEWAY:
        return name, gateway
    return name, _address(address.removeprefix("[").removesuffix("]"))


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
        # Python takes anything after a '%', lines too; an interface's name goes there (RFC 4007, section 11).
        if isinstance(address, ipaddress.IPv6Address) and not _ZONE.fullmatch(
            address.scope_id or "0"
        ):
            raise ValueError
        return str(address)
    except ValueError as error:
        raise InvalidInput(
            f"'{text}' is not an IP address", hint="write it as 10.0.0.1 or fd00::1"
        ) from error


def _enabled(check: HealthCheck | None) -> HealthCheck | None:
    return check if check is not None and check.test else None


def _merged_check(now: HealthCheck | None, asked: HealthCheck) -> HealthCheck | None:
    """What is asked for, and what it leaves empty as it is now."""
    if asked.test == [NO_CHECK]:
        return None
    base = now or HealthCheck()
    values: dict[str, Any] = {
        name: getattr(asked, name) or getattr(base, name) for name in asked.__struct_fields__
    }
    merged = HealthCheck(**values)
    if not merged.test:
        raise InvalidInput(
            "there is no health check whose options could be set", hint="add --health-cmd COMMAND"
        )
    for name in ("interval", "timeout", "start_period", "start_interval"):
        if not 0 <= values[name] <= _LONGEST:
            raise InvalidInput(f"the health check's {name} is no number of seconds", hint=_SECONDS)
    if merged.retries < 0:
        raise InvalidInput("the health check's retries are less than 0", hint="use 0 or more")
    if any("\0" in word for word in merged.test):
        raise InvalidInput("the health check's command has a NUL byte in it", hint="remove it")
    return merged


def limits(settings: ContainerSettings) -> Limits:
    """What its control groups limit."""
    return Limits(settings.memory, settings.memory_swap, settings.cpus, settings.pids_limit)


def asks_for_gateway(settings: ContainerSettings) -> bool:
    """Whether a name is to lead to the host."""
    return any(line.endswith(f":{HOST_GATEWAY}") for line in settings.add_hosts)


def options(settings: ContainerSettings, gateway: str = "127.0.0.1") -> Options:
    """The settings as the runtime driver takes them.

    Args:
        gateway: the host's address for the container.
    """
    return Options(
        limits=limits(settings),
        rlimits=[Rlimit(u.name, u.soft, u.hard) for u in settings.ulimits],
        cap_add=settings.cap_add,
        cap_drop=settings.cap_drop,
        read_only=settings.read_only,
        tmpfs=[Tmpfs(t.destination, t.options) for t in settings.tmpfs],
        hosts=[_host(line, gateway) for line in settings.add_hosts],
        dns=[_address(address) for address in settings.dns],
        dns_search=settings.dns_search,
        dns_options=settings.dns_options,
        privileged=settings.privileged,
        no_new_privileges=settings.no_new_privileges,
        seccomp=settings.seccomp == "default",
        shm_size=settings.shm_size,
        groups=settings.group_add,
        sysctls=settings.sysctls,
        devices=[
            Device(d.source, d.destination or d.source, d.permissions) for d in settings.devices
        ],
    )


def check_policy(policy: str, settings: ContainerSettings, *, auto_remove: bool) -> None:
    """See that a restart policy fits.

    Raises:
        InvalidInput: there is a number of restarts without ``on-failure``.
        Conflict: the container is to be removed when it stops.
    """
    if settings.restart_retries < 0 or (settings.restart_retries and policy != "on-failure"):
        raise InvalidInput(
            "a number of restarts goes with the policy 'on-failure' only",
            hint="write --restart on-failure:N",
        )
    if auto_remove and policy not in ("no", "on-startup"):
        raise Conflict(
            f"a container that is removed when it stops cannot be restarted ('{policy}')",
            hint="leave out --rm or --restart",
        )


def stop_signal(text: str) -> str:
    """The signal in the way in which it is recorded.

    Raises:
        InvalidInput: there is no such signal.
    """
    name = signal_name(text) if text else ""
    if name is None:
        raise InvalidInput(f"no such signal: '{text}'", hint="write it as SIGTERM, TERM or 15")
    return name


LIVE = {"memory", "memory_swap", "cpus", "pids_limit"}
"""What the kernel changes for a container that is up."""

_NEXT_START: Mapping[str, str] = {
    "cmd": "command",
    "entrypoint": "entrypoint",
    "env": "environment",
    "user": "user",
    "workdir": "working directory",
    "jail_param": "jail parameters",
    "network_driver": "network driver",
    "mounts": "mounts",
    "ulimits": "resource limits of processes",
    "cap_add": "capabilities",
    "cap_drop": "capabilities",
    "read_only": "read-only root",
    "tmpfs": "file systems in memory",
    "hostname": "host name",
    "secrets": "secrets",
    "configs": "configs",
    "add_hosts": "hosts",
    "dns": "name servers",
    "dns_search": "name servers",
    "dns_options": "name servers",
    "privileged": "privileges",
    "no_new_privileges": "privileges",
    "seccomp": "privileges",
    "shm_size": "shared memory",
    "group_add": "groups",
    "sysctls": "kernel parameters",
    "devices": "devices",
}


def notes(record: ContainerRecord, changes: Mapping[str, object]) -> list[str]:
    """What of the changes takes effect when the container starts next, in a sentence."""
    changed = {name for name, value in changes.items() if value != getattr(record, name)}
    new = changes.get("settings")
    if isinstance(new, ContainerSettings):
        names = ContainerSettings.__struct_fields__
        changed |= {n for n in names if getattr(new, n) != getattr(record.settings, n)}
    later: Sequence[str] = list(dict.fromkeys(_NEXT_START[n] for n in _NEXT_START if n in changed))
    return [f"takes effect at the next start: {', '.join(later)}"] if later else []
