"""Jail parameters on Linux: what each means there, or why it is refused. Pure.

Jail parameters (``-J``) are Kleene's language for what a container may do. The table :data:`PARAMETERS` has
every parameter of jail(8), FreeBSD 14, and the manual is printed from it. A value that the table does not
honour is refused by name, never passed over. Privileges that would hand over the host are not granted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from kleene.errors import InvalidInput
from kleene.names import nearest


@dataclass(frozen=True)
class Adjustments:
    """What a container's jail parameters change in its specification.

    Attributes:
        hostname, domainname: instead of the container's own; ``None`` leaves it.
        user: of every process in the container, over what was asked for the process.
        added: capabilities (capabilities(7)) beyond the default set.
        dropped: capabilities taken out of it.
        bare: no capability at all, not even for root.
        low_ports: whether everybody may listen on ports below 1024.
    """

    hostname: str | None = None
    domainname: str | None = None
    user: str | None = None
    added: frozenset[str] = field(default=frozenset())
    dropped: frozenset[str] = field(default=frozenset())
    bare: bool = False
    low_ports: bool = True


@dataclass(frozen=True)
class Parameter:
    """A row of the table.

    Attributes:
        name: as jail(8) has it.
        kind: ``flag`` is true or false (also written ``noNAME``); ``text`` is any other value.
        meaning: on Linux, in a sentence; for the manual.
        holds: values that are so on Linux anyway.
        sets: for other values: which fields of :class:`Adjustments` become what.
        why: the reason to refuse every other value; empty if there is none.
        hint: what to do instead.
    """

    name: str
    kind: Literal["flag", "text"]
    meaning: str
    holds: tuple[str, ...] = ()
    sets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    why: str = ""
    hint: str | None = None


def _grants(name: str, capability: str, meaning: str) -> Parameter:
    """A flag that adds a capability when it is true."""
    return Parameter(name, "flag", meaning, ("false",), {"true": {"added": capability}})


def _withheld(name: str, why: str, hint: str | None = None) -> Parameter:
    """A flag that may not be true."""
    return Parameter(
        name, "flag", "Only `false`, which it always is.", ("false",), why=why, hint=hint
    )


def _always(name: str, meaning: str, why: str) -> Parameter:
    """A flag that cannot be false."""
    return Parameter(name, "flag", meaning, ("true",), why=why)


def _refused(names: str, why: str, hint: str | None = None) -> tuple[Parameter, ...]:
    """Parameters, separated by blanks, that no value makes sense for."""
    return tuple(Parameter(n, "text", "Refused.", why=why, hint=hint) for n in names.split())


_HOST_COMMAND = "the daemon runs no command on the host for a container"
_OWN = "Kleene sets it itself"
_NETWORK = "networks and addresses are not given by jail parameters"
_NETWORK_HINT = "use the options --driver, --network, --ip and --ip6"
_SYS_ADMIN = (
    "it needs the capability CAP_SYS_ADMIN, with which a container could take over the host"
)
_KERNEL = "it belongs to FreeBSD's kernel, and Linux has nothing like it for one container"
_HOSTNAME = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)

_ROWS: tuple[Parameter, ...] = (
    Parameter("host.hostname", "text", "The container's host name."),
    Parameter("host.domainname", "text", "The container's NIS domain name."),
    *_refused(
        "host.hostid host.hostuuid", _KERNEL, "write /etc/hostid or /etc/machine-id in the image"
    ),
    Parameter(
        "host",
        "text",
        "Only `new`: a host name of its own.",
        ("new",),
        why="a container always has a host name of its own",
    ),
    Parameter(
        "exec.jail_user", "text", "The user of every process, over `--user` and the image's."
    ),
    _withheld(
        "exec.system_jail_user", "user names are looked up in the container's own files only"
    ),
    _always(
        "exec.clean",
        "Processes start with the image's and the container's environment only.",
        "the daemon's environment is not handed to containers",
    ),
    _always(
        "mount.devfs",
        "A `/dev` of its own with the usual devices.",
        "a Linux container cannot do without '/dev'",
    ),
    _always(
        "mount.fdescfs",
        "`/dev/fd` is there.",
        "'/dev/fd' is part of every Linux container's '/dev'",
    ),
    _always("mount.procfs", "`/proc` is there.", "a Linux container cannot do without '/proc'"),
    *_refused(
        "mount mount.fstab",
        "mounts are not given by jail parameters",
        "use the option -m SOURCE:DESTINATION[:ro]",
    ),
    Parameter(
        "allow.raw_sockets",
        "flag",
        "Raw and packet sockets (CAP_NET_RAW). True by default with the driver `vnet`, else false.",
        sets={"true": {"added": "CAP_NET_RAW"}, "false": {"dropped": "CAP_NET_RAW"}},
    ),
    Parameter(
        "allow.reserved_ports",
        "flag",
        "Ports below 1024 may be listened on. True by default.",
        ("true",),
        {"false": {"dropped": "CAP_NET_BIND_SERVICE", "low_ports": False}},
    ),
    Parameter(
        "allow.suser",
        "flag",
        "Root has its privileges. False takes all capabilities away.",
        ("true",),
        {"false": {"bare": True}},
    ),
    _grants(
        "allow.chflags",
        "CAP_LINUX_IMMUTABLE",
        "Immutable and append-only file flags may be changed.",
    ),
    _grants("allow.mlock", "CAP_IPC_LOCK", "Memory may be locked beyond the limit of the host."),
    _grants("allow.read_msgbuf", "CAP_SYSLOG", "The kernel's messages may be read."),
    _always(
        "allow.sysvipc",
        "System V IPC, in a namespace of its own.",
        "the container's System V IPC is its own and cannot be taken away",
    ),
    *(
        Parameter(
            n,
            "text",
            "Only `new`: a namespace of its own.",
            ("new",),
            why="a container's System V IPC is always its own, neither shared nor absent",
        )
        for n in ("sysvmsg", "sysvsem", "sysvshm")
    ),
    _always(
        "allow.socket_af",
        "Sockets of every address family that the seccomp profile has.",
        "address families cannot be taken away one by one",
    ),
    _always(
        "allow.unprivileged_proc_debug",
        "Users may trace their own processes.",
        "tracing is governed for the whole host (kernel.yama.ptrace_scope)",
    ),
    _withheld("allow.set_hostname", _SYS_ADMIN, "use -J host.hostname=NAME"),
    *(
        _withheld(n, _SYS_ADMIN, "use the option -m SOURCE:DESTINATION[:ro]")
        for n in (
            "allow.mount allow.mount.devfs allow.mount.fdescfs allow.mount.fusefs allow.mount.linprocfs"
            " allow.mount.linsysfs allow.mount.nullfs allow.mount.procfs allow.mount.tmpfs allow.mount.zfs"
        ).split()
    ),
    *(_withheld(n, _SYS_ADMIN) for n in ("allow.quotas", "allow.extattr")),
    *(_withheld(n, "the clock is the host's") for n in ("allow.adjtime", "allow.settime")),
    *(
        _withheld(n, _KERNEL)
        for n in ("allow.nfsd", "allow.vmm", "allow.routing", "allow.setaudit", "allow.dying")
    ),
    Parameter(
        "children.max",
        "text",
        "Only `0`: no containers in the container.",
        ("0",),
        why="a container in a container needs privileges that are not given",
    ),
    Parameter(
        "enforce_statfs",
        "text",
        "Only `1`: a container sees its own mounts, and none outside.",
        ("1",),
        why="a container always sees its own mounts and no others",
    ),
    *_refused("children.cur cpuset.id parent dying", "it can be read, not set"),
    *_refused(
        "jid name path command exec.start",
        _OWN,
        "use --name, the image and the command to choose them",
    ),
    *_refused("persist", _OWN, "use the option -P, --persist"),
    Parameter(
        "exec.stop",
        "text",
        "Only empty: a container is stopped by signals.",
        ("",),
        why="a Linux container is stopped by signals, not by a command",
    ),
    *_refused(
        "exec.prepare exec.prestart exec.created exec.poststart exec.prestop exec.poststop exec.release",
        _HOST_COMMAND,
        "run it yourself before or after: klee container create, then klee start",
    ),
    *_refused(
        "exec.consolelog exec.fib exec.timeout depend",
        "the daemon keeps output and time limits itself",
    ),
    *_refused("stop.timeout", "it is an option", "use the option --stop-timeout"),
    *_refused(
        "ip4 ip6 ip4.addr ip6.addr ip4.saddrsel ip6.saddrsel interface ip_hostname vnet vnet.interface",
        _NETWORK,
        _NETWORK_HINT,
    ),
    *_refused(
        "securelevel devfs_ruleset osrelease osreldate linux linux.osname linux.osrelease linux.oss_version"
        " zfs.dataset zfs.mount_snapshot",
        _KERNEL,
    ),
)

PARAMETERS: Mapping[str, Parameter] = {p.name: p for p in _ROWS}
"""Every parameter, in the order of the manual."""

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


def adjustments(params: Mapping[str, str]) -> Adjustments:
    """What the parameters mean for a container's specification.

    Raises:
        InvalidInput: names the first parameter that is unknown or cannot be honoured, and why.
    """
    result = Adjustments()
    for written, value in params.items():
        parameter, value = _look_up(written, value)
        result = _apply(result, parameter, value)
    return result


def _look_up(written: str, value: str) -> tuple[Parameter, str]:
    """The parameter that was meant, and its value; ``noNAME`` is a flag that is false."""
    parameter = PARAMETERS.get(written)
    if parameter is None:
        positive = re.sub(r"(^|\.)no([^.]+)$", r"\1\2", written)
        parameter = PARAMETERS.get(positive)
        negatable = parameter is not None and (parameter.kind == "flag" or "" in parameter.holds)
        if parameter is None or positive == written or not negatable:
            near = nearest(written, PARAMETERS)
            raise InvalidInput(
                f"jail parameter '{written}' is not known",
                hint=f"did you mean '{near}'?" if near else "write NAME=VALUE, as in jail(8)",
            )
        if value != "true":
            raise InvalidInput(
                f"jail parameter '{written}' takes no value", hint=f"write -J {written}"
            )
        value = "false" if parameter.kind == "flag" else ""
    return parameter, _flag(parameter, value) if parameter.kind == "flag" else value


def _flag(parameter: Parameter, value: str) -> str:
    """``true`` or ``false``, however it was written."""
    if value.lower() in _TRUE:
        return "true"
    if value.lower() in _FALSE:
        return "false"
    raise InvalidInput(
        f"jail parameter '{parameter.name}' cannot be '{value}'", hint="write true or false"
    )


def _apply(so_far: Adjustments, parameter: Parameter, value: str) -> Adjustments:
    if value in parameter.holds:
        return so_far
    if value in parameter.sets:
        return _change(so_far, parameter.sets[value])
    if parameter.why:
        shown = f"{parameter.name}={value}" if value != "true" else parameter.name
        raise InvalidInput(
            f"jail parameter '{shown}' is not possible on Linux: {parameter.why}",
            hint=parameter.hint,
        )
    return _text(so_far, parameter.name, value)


def _change(so_far: Adjustments, fields: Mapping[str, object]) -> Adjustments:
    """Set fields; those that are sets grow; of opposite changes of a capability, the last counts."""
    added, dropped = so_far.added, so_far.dropped
    if isinstance(capability := fields.get("added"), str):
        added, dropped = added | {capability}, dropped - {capability}
    if isinstance(capability := fields.get("dropped"), str):
        added, dropped = added - {capability}, dropped | {capability}
    return replace(
        so_far,
        added=added,
        dropped=dropped,
        bare=so_far.bare or fields.get("bare") is True,
        low_ports=so_far.low_ports and fields.get("low_ports") is not False,
    )


def _text(so_far: Adjustments, name: str, value: str) -> Adjustments:
    """The parameters whose value is free."""
    if name == "exec.jail_user":
        return replace(so_far, user=value)
    if _HOSTNAME.fullmatch(value) is None or len(value) > 63:
        raise InvalidInput(
            f"jail parameter '{name}' cannot be '{value}'",
            hint="a host name has letters, digits, '-' and '.', 63 characters at most",
        )
    if name == "host.hostname":
        return replace(so_far, hostname=value)
    return replace(so_far, domainname=value)


def table() -> list[tuple[str, str, str]]:
    """Rows for the manual: parameter, meaning on Linux, why other values are refused and what to do."""
    return [
        (p.name, p.meaning, f"{p.why}; {p.hint}" if p.why and p.hint else p.why)
        for p in PARAMETERS.values()
    ]
