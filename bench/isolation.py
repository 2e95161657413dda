"""Namespaces for the bench: what it makes in the kernel is seen by nobody else and ends with it.

Docker's bridge and its firewall rules, podman's networks, mounts of every tool, and their processes: all
live in namespaces of the bench's own, so none of it can stay behind or disturb the host's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MARK = "KLEENE_BENCH_ISOLATED"
_CGROUPS = Path("/sys/fs/cgroup")
_TOOLS = ("docker", "libpod", "buildah", "buildkit")


def enter(module: str = "bench") -> None:
    """Start this program again in namespaces of its own, unless it runs in them; returns there only."""
    if os.environ.get(_MARK):
        _set_up_network()
        return
    os.environ[_MARK] = "1"
    namespaces = ["--net", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child"]
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execvp("unshare", ["unshare", *namespaces, *command])


def _set_up_network() -> None:
    """Loopback, and a default route that leads nowhere: tools look for one to translate addresses to.

    The addresses are of RFC 5737, reserved for documentation.
    """
    for arguments in (
        ["link", "set", "lo", "up"],
        ["link", "add", "uplink0", "type", "bridge"],
        ["address", "add", "192.0.2.2/24", "dev", "uplink0"],
        ["link", "set", "uplink0", "up"],
        ["route", "add", "default", "via", "192.0.2.1"],
    ):
        subprocess.run(["ip", *arguments], check=True)


def _cgroups() -> set[Path]:
    """Directories of the cgroup trees, the deepest last."""
    return {path for path in _CGROUPS.glob("**/") if path.is_dir()}


@contextmanager
def cgroups_kept() -> Iterator[None]:
    """Remove the empty cgroup directories that the tools leave: cgroups have no namespace here."""
    before = _cgroups()
    try:
        yield
    finally:
        for path in sorted(_cgroups() - before, key=lambda p: len(p.parts), reverse=True):
            if any(word in str(path) for word in _TOOLS):
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        print(f"bench: cgroup {path} stays: {error.strerror}", file=sys.stderr)


def unmount_below(directory: Path) -> None:
    """Unmount whatever a tool left mounted below ``directory``, the deepest first."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    below = [line.split()[4] for line in mounts if line.split()[4].startswith(f"{directory}/")]
    for where in sorted(below, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)
