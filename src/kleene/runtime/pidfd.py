"""Processes that are not the daemon's own children: held, signalled and waited for by pidfds. Linux.

A process id may be taken by another process as soon as the first one ends; a pidfd (pidfd_open(2)) never
means another one, and becomes readable when its process ends. Descriptors belong to who opened them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_START_TIME = (
    19  # field of /proc/PID/stat after the command's name, counted from the state (proc(5))
)


def become_subreaper() -> None:
    """Let orphaned descendants of the daemon become its children (prctl(2)): processes that a runtime
    leaves running. Their exit statuses can then be had, and they do not wait for a slow process 1."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def hold(pid: int) -> int | None:
    """A pidfd of a process; ``None`` if there is none of that id."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


@contextlib.contextmanager
def closing(pidfd: int) -> Iterator[None]:
    """Close the descriptor after the block."""
    try:
        yield
    finally:
        os.close(pidfd)


def send(pidfd: int, signum: int) -> None:
    """Send a signal; nothing happens if the process has ended."""
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signum)


def on_end(pidfd: int, act: Callable[[], None]) -> None:
    """Close the descriptor and call ``act`` from the event loop when the process has ended."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        act()

    loop.add_reader(pidfd, ended)


async def ended(pidfd: int) -> None:
    """Return when the process has ended. The descriptor is closed in any case."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(pidfd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


async def gone(pid: int) -> None:
    """Return when no process has this id, or it has ended; a child of the daemon is reaped."""
    if (pidfd := hold(pid)) is not None:
        await ended(pidfd)
    reap(pid)


def session(pid: int) -> int:
    """The session of a process, by its leader's id (getsid(2)); 0 if there is no such process."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def reap(pid: int) -> int | None:
    """Exit status of an ended child, 128 + n if signal n ended it; ``None`` if it is not ours to reap."""
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def is_child(pid: int) -> bool:
    """Whether a process is a child of the daemon, ended or not."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap_orphans(claimed: Container[int]) -> None:
    """Reap ended processes of containers that have become children of the daemon, unless they are claimed.

    The end of a container's init waits for all of them (pid_namespaces(7)). They come from a runtime or a
    keeper that was killed.
    """
    for pid in _children():
        if pid not in claimed and (ended := _ended_child(pid)) is not None and ended.inside:
            reap(pid)


def reap_helpers() -> int:
    """Reap processes that programs of the daemon's forked, and that outlived them; how many.

    The programs themselves lead a session each (:func:`kleene.host.process.spawn`), and are left to whoever
    waits for them.
    """
    ended = [(pid, found) for pid in _children() if (found := _ended_child(pid)) is not None]
    helpers = [pid for pid, found in ended if not found.inside and not found.leads]
    for pid in helpers:
        reap(pid)
    return len(helpers)


def _children() -> Iterator[int]:
    """Children of the daemon, ended or not; where the kernel does not list them, all processes."""
    try:
        for task in os.scandir("/proc/self/task"):
            yield from map(int, (Path(task.path) / "children").read_text().split())
    except FileNotFoundError:
        yield from (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


class _Ended(NamedTuple):
    """A child that has ended: ``inside`` a namespace of process ids of its own; ``leads`` its session."""

    inside: bool
    leads: bool


def _ended_child(pid: int) -> _Ended | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if fields["PPid"] != [str(os.getpid())] or fields["State"][0] != "Z":
        return None
    # NSpid and NSsid have an id for each namespace, the daemon's first.
    return _Ended(len(fields["NSpid"]) > 1, fields["NSsid"][0] == fields["NSpid"][0])


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; ``None`` if it has ended. With the process id,
    this names a process for as long as the host is up."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[_START_TIME])


def reap_started(pid: int, started: int) -> None:
    """Reap a child that has ended, if it is the one that started then."""
    fields = _stat(pid)
    if fields is not None and fields[0] == "Z" and int(fields[_START_TIME]) == started:
        reap(pid)


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` after the command's name; ``None`` if there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
