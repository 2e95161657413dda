"""Processes as the kernel lists them (proc_pid_stat(5), proc_pid_status(5)); they may end at any moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kleene.runtime.driver import ProcessInfo

_SECOND = 1_000_000_000

# Of /proc/PID/stat, counted from the state: the fields 14, 15 and 22 of the manual.
_USER_TIME, _SYSTEM_TIME, _START_TIME = 11, 12, 19


def read(pids: Iterable[int], names: Mapping[int, str]) -> Iterator[ProcessInfo]:
    """What is known of these processes; those that have ended are left out.

    Args:
        names: of users, by their numbers.
    """
    tick = _SECOND // os.sysconf("SC_CLK_TCK")
    booted = time.time_ns() - _uptime()
    for pid in pids:
        try:
            status = _status(pid)
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        uid = int(status["Uid"][1])
        yield ProcessInfo(
            pid=pid,
            inner_pid=int(status["NSpid"][-1]),
            inner_parent=_inner(int(status["PPid"][0])),
            user=names.get(uid, str(uid)),
            started=booted + int(fields[_START_TIME]) * tick,
            cpu=(int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) * tick,
            args=_args(line) or [f"[{stat.partition('(')[2].rpartition(')')[0]}]"],
        )


def _inner(parent: int) -> int:
    """A parent's id in the container; 0 if it is outside."""
    try:
        ids = _status(parent)["NSpid"]
    except OSError:
        return 0
    return int(ids[-1]) if len(ids) > 1 else 0


def _uptime() -> int:
    """Nanoseconds since the system was booted, time in suspend included (proc_uptime(5))."""
    seconds = Path("/proc/uptime").read_text().split()[0]
    return int(float(seconds) * _SECOND)


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def _args(line: bytes) -> list[str]:
    words = line.rstrip(b"\0").split(b"\0")
    return [word.decode(errors="replace") for word in words] if line.strip(b"\0") else []
