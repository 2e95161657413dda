"""The names of capabilities and of resource limits, as people write them and as the kernel has them. Pure.

Facts: capabilities(7), getrlimit(2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from kleene.errors import InvalidInput
from kleene.runtime.options import Rlimit

CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
    " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT"
    " SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE"
    " AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
    " PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""By number, without ``CAP_``."""

ALL = "ALL"

RLIMITS = (
    "as core cpu data fsize memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
).split()


def capability_names(words: Iterable[str]) -> list[str]:
    """The capabilities that were named, each once: ``NET_ADMIN`` for ``net_admin`` and ``CAP_NET_ADMIN``.

    Raises:
        InvalidInput: there is no such capability.
    """
    names: dict[str, None] = {}
    for word in words:
        name = word.upper().removeprefix("CAP_")
        if name != ALL and name not in CAPABILITIES:
            raise InvalidInput(
                f"capability '{word}' is not known", hint="name one of capabilities(7), or ALL"
            )
        names[name] = None
    return list(names)


def bounding_set(
    default: Collection[str],
    added: Sequence[str],
    dropped: Sequence[str],
    available: Collection[str],
) -> set[str]:
    """The capabilities that are left and given; what is added by its own name counts over what is dropped.

    Args:
        default: with ``CAP_``, as ``available`` is and the result.
        added, dropped: as :func:`capability_names` has them.
    """
    found = set() if ALL in dropped else set(default) - _with_prefix(dropped)
    if ALL in added:
        found |= set(available) - _with_prefix(dropped)
    return (found | _with_prefix(added)).intersection(available)


def _with_prefix(names: Iterable[str]) -> set[str]:
    return {f"CAP_{name}" for name in names if name != ALL}


def check_capabilities(added: Sequence[str], available: Collection[str]) -> None:
    """See that the daemon can give what is asked for.

    Raises:
        InvalidInput: it does not have a capability itself.
    """
    for name in added:
        if name != ALL and f"CAP_{name}" not in available:
            raise InvalidInput(
                f"capability '{name}' cannot be given: the daemon does not have it itself",
                hint="leave out --cap-add, or start kleened with that capability",
            )


def check_rlimit(limit: Rlimit) -> None:
    """See that a resource limit has a name and values that fit.

    Raises:
        InvalidInput: it has not.
    """
    if limit.name not in RLIMITS:
        raise InvalidInput(
            f"resource limit '{limit.name}' is not known", hint=f"name one of: {', '.join(RLIMITS)}"
        )
    if min(limit.soft, limit.hard) < -1:
        raise InvalidInput(f"resource limit '{limit.name}' is negative", hint="-1 is no limit")
    if limit.hard != -1 and not 0 <= limit.soft <= limit.hard:
        raise InvalidInput(
            f"resource limit '{limit.name}' has a soft value above the hard one",
            hint=f"write --ulimit {limit.name}=SOFT:HARD with SOFT not above HARD",
        )


def check_raisable(limit: Rlimit, hard: int) -> None:
    """See that a process without CAP_SYS_RESOURCE, whose hard limit is ``hard``, can set a limit.

    Raises:
        InvalidInput: it would be raised.
    """
    if hard != -1 and (limit.hard == -1 or limit.hard > hard):
        raise InvalidInput(
            f"resource limit '{limit.name}' cannot be raised above {hard} on this host",
            hint=f"write --ulimit {limit.name}={hard}, or start kleened with a higher limit",
        )
