"""What the service manager is told, if there is one (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time


def notify(state: str) -> None:
    """Tell ``state``, such as ``READY=1``."""
    target = os.environ.get("NOTIFY_SOCKET")
    if target is None or sys.platform != "linux":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.sendto(state.encode(), f"\0{target[1:]}" if target.startswith("@") else target)


def notify_reloading() -> None:
    """Tell that the configuration is being read again; ``READY=1`` follows."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
