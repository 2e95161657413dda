"""What the kernel has counted for a container's control group and network namespace. Linux.

Facts: Documentation/admin-guide/cgroup-v1 (memory.rst, blkio-controller.rst, cpuacct.rst, pids.rst) and
cgroup-v2.rst in the kernel's source, proc_pid_net(5).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kleene.runtime.driver import ResourceUsage

_NO_LIMIT = 1 << 60  # version 1 has the largest number of whole pages for none
_LOOPBACK = "lo"

Group = Callable[[str], Path | None]
"""The group's directory in the hierarchy of a controller; ``None`` if there is none."""


def read(group: Group, pid: int, *, unified: bool) -> ResourceUsage:
    """What a container uses.

    Args:
        pid: of its init, on the host.
        unified: whether there is only the hierarchy of version 2.
    """
    cpu, memory, limit = _version2(group) if unified else _version1(group)
    got, put = _blocks2(group) if unified else _blocks1(group)
    received, sent = _network(pid)
    return ResourceUsage(
        cpu=cpu,
        memory=memory,
        memory_limit=limit if limit < _NO_LIMIT else 0,
        pids=_number(group("pids"), "pids.current"),
        read=got,
        written=put,
        received=received,
        sent=sent,
    )


def _version1(group: Group) -> tuple[int, int, int]:
    cpu = _number(group("cpuacct"), "cpuacct.usage")
    memory = group("memory")
    idle = _table(memory, "memory.stat").get("total_inactive_file", 0)
    used = _number(memory, "memory.usage_in_bytes")
    return cpu, max(0, used - idle), _number(memory, "memory.limit_in_bytes")


def _version2(group: Group) -> tuple[int, int, int]:
    cpu = _table(group("cpu"), "cpu.stat").get("usage_usec", 0) * 1000
    memory = group("memory")
    idle = _table(memory, "memory.stat").get("inactive_file", 0)
    used = _number(memory, "memory.current")
    return cpu, max(0, used - idle), _number(memory, "memory.max")


def _blocks1(group: Group) -> tuple[int, int]:
    """Lines such as ``8:0 Read 4096``."""
    at = group("blkio")
    rows = _rows(at, "blkio.throttle.io_service_bytes_recursive") or _rows(
        at, "blkio.throttle.io_service_bytes"
    )
    found = {"Read": 0, "Write": 0}
    for row in rows:
        if len(row) == 3 and row[1] in found:
            found[row[1]] += int(row[2])
    return found["Read"], found["Write"]


def _blocks2(group: Group) -> tuple[int, int]:
    """Lines such as ``8:0 rbytes=4096 wbytes=0 rios=1``."""
    found = {"rbytes": 0, "wbytes": 0}
    for row in _rows(group("io"), "io.stat"):
        for key, _, value in (word.partition("=") for word in row[1:]):
            if key in found:
                found[key] += int(value)
    return found["rbytes"], found["wbytes"]


def _network(pid: int) -> tuple[int | None, int | None]:
    """Bytes received and sent by all interfaces but the loopback; ``None`` for the host's own stack."""
    process = Path(f"/proc/{pid}")
    try:
        if (process / "ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            return None, None
        lines = (process / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return None, None
    received = sent = 0
    for name, _, counters in (line.partition(":") for line in lines):
        if name.strip() != _LOOPBACK:
            columns = counters.split()
            received, sent = received + int(columns[0]), sent + int(columns[8])
    return received, sent


def _number(directory: Path | None, name: str) -> int:
    rows = _rows(directory, name)
    if not rows:
        return 0
    return _NO_LIMIT if rows[0][0] == "max" else int(rows[0][0])


def _table(directory: Path | None, name: str) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in _rows(directory, name) if len(row) == 2}


def _rows(directory: Path | None, name: str) -> list[list[str]]:
    """The words of each line of a file; none if it is not there."""
    if directory is None:
        return []
    try:
        return [line.split() for line in (directory / name).read_text().splitlines()]
    except OSError:
        return []
