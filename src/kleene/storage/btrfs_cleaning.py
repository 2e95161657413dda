"""Space that comes back late: btrfs takes destroyed subvolumes apart in a thread of the kernel.

That thread wakes up with the next commit, up to half a minute later. So in a full pool the space of what was
just removed seems to be missing. Holds nothing.
"""

from __future__ import annotations

import os
import time

from kleene.storage import btrfs_ioctl as btrfs

_LITTLE = 8  # parts of the pool; with less than one left it is worth to wait
_PATIENCE = 10.0  # seconds
_PAUSE = 0.02  # seconds


def settle_if_short(fd: int) -> None:
    """Wait for the space of what was destroyed, where little is left. Blocks."""
    found = os.fstatvfs(fd)
    if found.f_bavail * _LITTLE >= found.f_blocks or not btrfs.has_destroyed(fd):
        return
    deadline = time.monotonic() + _PATIENCE
    btrfs.sync(fd)  # wakes the thread up
    while btrfs.has_destroyed(fd) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    btrfs.sync(fd)  # what it gave back is free from the next commit on
