"""What exists in the kernel besides files: taken before and after a test, to see what it left behind.

On a machine where others work too, only what bears a mark of this test run counts: its temporary directory,
and the names that tests register (:func:`mark`). Where nobody else works (``KLEENE_ALONE=1``, as in CI)
everything new counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_KEEPERS = {"runc", "crun", "conmon", "catatonit", "kleened"}
_GRACE = 5.0
"""Seconds that the kernel has to finish what was asked of it: it frees loop devices and namespaces late."""

_marks: set[str] = set()
_shared: set[str] = set()


def alone() -> bool:
    """Whether nobody else works on this machine."""
    return os.environ.get("KLEENE_ALONE") == "1"


def mark(text: str) -> None:
    """Note a path or a name that only this test run uses: what bears it is this run's."""
    _marks.add(text)


@contextmanager
def shared(*texts: str) -> Iterator[None]:
    """While it lasts, what bears one of these marks belongs to several tests: no single one left it."""
    _marks.update(texts)
    _shared.update(texts)
    try:
        yield
    finally:
        _shared.difference_update(texts)


def take() -> frozenset[str]:
    """All that exists now and could be this run's, each thing described in words."""
    things = {
        *_mounts(),
        *_loop_devices(),
        *_links(),
        *_firewall_tables(),
        *_network_namespaces(),
        *_cgroups(),
        *_processes(),
    }
    return frozenset(things if alone() else (t for t in things if any(m in t for m in _marks)))


def left_since(before: frozenset[str], *, by_one_test: bool) -> list[str]:
    """What exists now and did not ``before``, after a time of grace.

    Args:
        by_one_test: leave out what is shared between tests just now.
    """
    deadline = time.monotonic() + _GRACE
    while True:
        ignored = _shared if by_one_test else set()
        left = sorted(t for t in take() - before if not any(m in t for m in ignored))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        yield f"mount {fields[4]} ({line.split(' - ')[1].split()[0]})"


def _loop_devices() -> Iterator[str]:
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            yield f"loop device {device.parts[3]} of {device.read_text().strip()}"
        except OSError:  # It went away between the two lines.
            continue


def _links() -> Iterator[str]:
    return (f"link {path.name}" for path in Path("/sys/class/net").iterdir())


def _firewall_tables() -> Iterator[str]:
    try:
        result = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=False)
    except FileNotFoundError:
        return
    for entry in json.loads(result.stdout or '{"nftables": []}')["nftables"]:
        if "table" in entry:
            yield f"nft table {entry['table']['family']} {entry['table']['name']}"


def _network_namespaces() -> Iterator[str]:
    return (f"network namespace {path}" for path in Path("/run/netns").glob("*"))


def _cgroups() -> Iterator[str]:
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            if "kleene" in f"{directory}/{name}":
                yield f"cgroup {directory}/{name}"


def _processes() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            command = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            cgroups = (process / "cgroup").read_text()
        except OSError:  # It ended meanwhile.
            continue
        if command and (name in _KEEPERS or "kleene" in cgroups):
            where = next((line for line in cgroups.splitlines() if "kleene" in line), "")
            yield f"process {process.name} {command}{where}"
