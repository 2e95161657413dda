"""Whom the kernel kills when memory is short, within one container or on the whole host.

The first process of a container only reaps. It needs next to no memory, but it is the end of the container:
the kernel shall rather choose a process that takes the memory. Facts: proc(5) (``oom_score_adj``), and
Documentation/filesystems/proc.rst in the kernel's source: the adjustment counts as so many thousandths of the
memory in question, and who may not raise priorities (CAP_SYS_RESOURCE) may only take back what they added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

_LAST = -999  # -1000 would be never: a host out of memory could not be rid of it
_SOONER = 25
_MOST = 1000


def adjustment(own: int, capabilities: Collection[str]) -> int:
    """The ``oom_score_adj`` of what runs in a container: the daemon's own, but not below 0.

    Where the first process cannot be spared for want of a capability, all others are chosen sooner.
    """
    spared = "CAP_SYS_RESOURCE" in capabilities
    return min(_MOST, max(0, own) + (0 if spared else _SOONER))


def own() -> int:
    """The daemon's own adjustment."""
    return int(Path("/proc/self/oom_score_adj").read_text())


def spare(pid: int) -> None:
    """Have the kernel choose process ``pid`` last, or where that is not permitted as if nothing was added."""
    if not _written(pid, _LAST):
        _written(pid, max(0, own()))


def adjust(pid: int, adjustment: int) -> None:
    """Give a process that was started in a container its adjustment: runc has done that, crun has not."""
    _written(pid, adjustment)


def _written(pid: int, value: int) -> bool:
    # It fails where it is not permitted, and for a process that has ended: that one needs nothing.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(value))
        return True
    return False
