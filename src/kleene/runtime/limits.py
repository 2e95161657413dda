"""Limits of a container as its control groups have them, versions 1 and 2. Pure.

The runtime takes the same numbers for both versions (runtime specification, config-linux.md). A limit that
is changed while the container runs is written into the files of its groups. Facts: in the kernel's
``Documentation``, ``admin-guide/cgroup-v2.rst``, ``admin-guide/cgroup-v1/memory.rst``,
``scheduler/sched-bwc.rst``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kleene.errors import InvalidInput
from kleene.runtime.options import Limits

PERIOD = 100_000
"""Microseconds in which a container may run for ``cpus`` times as long; the kernel's default."""

MIN_MEMORY = 6 * 1024 * 1024
"""Bytes: below that the runtime does not get to start a process. It is Docker's limit too."""

_MIN_QUOTA = 1000  # microseconds; the kernel takes no less


class Write(NamedTuple):
    """A value for a file of a group."""

    controller: str
    file: str
    value: str


def check(limits: Limits) -> None:
    """Refuse what the kernel would, or what makes no sense.

    Raises:
        InvalidInput: names the limit.
    """
    if limits.memory and limits.memory < MIN_MEMORY:
        raise InvalidInput(
            f"memory limit {limits.memory} is too small for a container",
            hint="give it 6 MiB or more: --memory 6m",
        )
    if limits.swap and not limits.memory:
        raise InvalidInput(
            "a limit of memory and swap needs one of memory", hint="add --memory SIZE"
        )
    if limits.swap > 0 and limits.swap < limits.memory:
        raise InvalidInput(
            "the limit of memory and swap is below that of memory",
            hint="--memory-swap counts both; give it at least the size of --memory",
        )
    if limits.swap < -1 or limits.pids < 0:
        raise InvalidInput("a limit is negative", hint="0 is no limit")
    if limits.cpus and not _MIN_QUOTA / PERIOD <= limits.cpus <= 65536:
        raise InvalidInput(
            f"{limits.cpus:g} is not a number of processors", hint="write 0.01 or more: --cpus 1.5"
        )


def total(limits: Limits) -> int:
    """Bytes of memory and swap together; -1: no limit. By default as much swap as memory, as in Docker."""
    return limits.swap or (2 * limits.memory if limits.memory else -1)


def quota(limits: Limits) -> int:
    """Microseconds in each :data:`PERIOD`; -1 is no limit."""
    return round(limits.cpus * PERIOD) if limits.cpus else -1


def resources(limits: Limits, *, swap: bool) -> dict[str, Any]:
    """``linux.resources`` of the runtime's configuration; what has no limit is left out.

    Args:
        swap: whether the kernel counts swap by group.
    """
    result: dict[str, Any] = {}
    if limits.memory:
        result["memory"] = {"limit": limits.memory}
        if swap:
            result["memory"]["swap"] = total(limits)
    if limits.cpus:
        result["cpu"] = {"quota": quota(limits), "period": PERIOD}
    if limits.pids:
        result["pids"] = {"limit": limits.pids}
    return result


def controllers(limits: Limits) -> set[str]:
    """What the kernel must have for these limits."""
    wanted = {"memory": limits.memory, "cpu": limits.cpus, "pids": limits.pids}
    return {name for name, value in wanted.items() if value}


def writes(limits: Limits, *, unified: bool) -> list[Write]:
    """What to write to change all limits of a live container, those that are lifted too.

    In version 1, memory and swap together may never be below memory: when both grow, the second of the
    memory files must be written first. The caller tries both orders.
    """
    return _version_2(limits) if unified else _version_1(limits)


def _version_1(limits: Limits) -> list[Write]:
    return [
        Write("memory", "memory.limit_in_bytes", str(limits.memory or -1)),
        Write("memory", "memory.memsw.limit_in_bytes", str(total(limits))),
        Write("cpu", "cpu.cfs_period_us", str(PERIOD)),
        Write("cpu", "cpu.cfs_quota_us", str(quota(limits))),
        Write("pids", "pids.max", str(limits.pids or "max")),
    ]


def _version_2(limits: Limits) -> list[Write]:
    both, cpu = total(limits), quota(limits)
    return [
        Write("memory", "memory.max", str(limits.memory or "max")),
        Write("memory", "memory.swap.max", "max" if both < 0 else str(both - limits.memory)),
        Write("cpu", "cpu.max", f"{'max' if cpu < 0 else cpu} {PERIOD}"),
        Write("pids", "pids.max", str(limits.pids or "max")),
    ]
