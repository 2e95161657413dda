"""The control groups of one daemon's containers: who is in them, and their removal. Linux, versions 1 and 2.

The runtime makes a group per container, ``/kleene-INSTANCE/ID``, in every hierarchy; it lasts until
:meth:`Cgroups.remove`. Facts: cgroups(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from kleene.errors import HostUnavailable, InvalidInput
from kleene.runtime import pidfd
from kleene.runtime.limits import Write

_TREE = "/sys/fs/cgroup"
_REMOVAL = 5.0  # seconds in which the kernel must have let go of processes that have ended
_LIMITED = {"memory": "memory", "cpu": "processor time", "pids": "the number of processes"}
_LISTING = (
    "pids",
    "freezer",
    "devices",
    "memory",
)  # version 1: any hierarchy will do; the usual ones first


@dataclass(frozen=True)
class Cgroups:
    """Groups of one daemon.

    Attributes:
        trees: mountpoints of all hierarchies; the first is the one that processes are read from.
        unified: whether there is only the one of version 2.
        parent: name of the group that has the containers' groups.
    """

    trees: Sequence[Path]
    unified: bool
    parent: str

    def path(self, container: str) -> str:
        """Of a container's group in each hierarchy."""
        return f"/{self.parent}/{container}"

    def pids(self, container: str) -> list[int]:
        """Process ids of all that runs in a container, its init included; none if there is no group."""
        try:
            text = (self._group(self.trees[0], container) / "cgroup.procs").read_text()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return []
        return [int(word) for word in text.split()]

    def hold(self, container: str) -> list[tuple[int, int]]:
        """Process ids of all that runs in a container, each with a pidfd, which belongs to the caller."""
        held = [(pid, fd) for pid in self.pids(container) if (fd := pidfd.hold(pid)) is not None]
        # An id may have gone to another process before it was held; then it is not in the group now.
        still = set(self.pids(container))
        for pid, fd in held:
            if pid not in still:
                os.close(fd)
        return [(pid, fd) for pid, fd in held if pid in still]

    def containers(self) -> set[str]:
        """Names of the groups that are there."""
        names: set[str] = set()
        for tree in self.trees:
            with contextlib.suppress(FileNotFoundError):
                names.update(e.name for e in (tree / self.parent).iterdir() if e.is_dir())
        return names

    def counts_swap(self) -> bool:
        """Whether the kernel counts swap by group."""
        if self.unified:
            return True
        tree = self._tree("memory")
        return tree is not None and (tree / "memory.memsw.limit_in_bytes").exists()

    def check(self, controllers: Collection[str]) -> None:
        """See that the host has controllers.

        Raises:
            InvalidInput: names one that it has not.
        """
        for name in sorted(controllers):
            if self._tree(name) is None:
                raise InvalidInput(
                    f"{_LIMITED[name]} cannot be limited on this host:"
                    f" it has no control group controller '{name}'",
                    hint=f"leave out the limit, or boot the kernel with the controller '{name}'",
                )

    def _tree(self, controller: str) -> Path | None:
        """Of the hierarchy that has a controller."""
        if self.unified:
            names = (self.trees[0] / "cgroup.controllers").read_text().split()
            return self.trees[0] if controller in names else None
        found = (tree for tree in self.trees if controller in tree.name.split(","))
        return next(found, None)

    def write(self, container: str, values: Sequence[Write]) -> list[str]:
        """Change limits of a container that is up; for each that the kernel refuses now, a sentence."""
        refused: list[Write] = []
        for value in values:
            if not self._written(container, value):
                refused.append(value)
        # A value may depend on one that came after it.
        left = [value for value in refused if not self._written(container, value)]
        return [
            f"the limit of {_LIMITED[name]} takes effect at the next start: the kernel refuses it now"
            for name in dict.fromkeys(value.controller for value in left)
        ]

    def _written(self, container: str, value: Write) -> bool:
        """Write one value; a file that is not there has nothing to limit."""
        tree = self._tree(value.controller)
        if tree is None:
            return True
        try:
            (self._group(tree, container) / value.file).write_text(value.value)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def directory(self, container: str, controller: str) -> Path | None:
        """A container's group in the hierarchy that has a controller."""
        tree = self._tree(controller)
        return None if tree is None else self._group(tree, container)

    async def remove(self, container: str) -> None:
        """Remove a container's group, in which nothing runs any more, from all hierarchies.

        Raises:
            HostUnavailable: the kernel says for seconds that it is in use.
        """
        for tree in self.trees:
            await _remove_group(self._group(tree, container))

    async def warm_up(self) -> None:
        """Shorten the wait of who will move a process into a group in the next 20 ms or so.

        A move takes a lock of all hierarchies for writing, and the first one for a while waits in it for
        all processors to pass a quiescent state: 7 ms here. So the daemon is moved to where it is, which
        changes nothing, while the runtime is still starting up.
        """
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._stay)

    def _stay(self) -> None:
        group = own_group(self.trees[0].name, Path("/proc/self/cgroup").read_text())
        if group is not None:
            procs = self.trees[0] / group.lstrip("/") / "cgroup.procs"
            procs.write_text(str(os.getpid()))

    def remove_parent(self) -> None:
        """Remove the daemon's group where no container is in it."""
        for tree in self.trees:
            with contextlib.suppress(OSError):
                (tree / self.parent).rmdir()

    def _group(self, tree: Path, container: str) -> Path:
        return tree / self.parent / container


def of_host(instance: str) -> Cgroups:
    """The hierarchies that are mounted for the daemon.

    Raises:
        HostUnavailable: none is.
    """
    return find(instance, Path("/proc/self/mountinfo").read_text())


def find(instance: str, mountinfo: str) -> Cgroups:
    """The hierarchies that ``/proc/self/mountinfo`` (proc(5)) tells of.

    Raises:
        HostUnavailable: no hierarchy is mounted.
    """
    mounts: dict[Path, str] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point, kind = left.split()[4], right.split()[0]
        if kind in ("cgroup", "cgroup2") and point.startswith(_TREE):
            mounts[Path(point)] = kind
    if not mounts:
        raise HostUnavailable(
            "no control group hierarchy is mounted",
            hint=f"mount one: mount -t cgroup2 none {_TREE}",
        )
    unified = "cgroup" not in mounts.values()
    return Cgroups(sorted(mounts, key=_preference), unified, f"kleene-{instance}")


def own_group(tree: str, membership: str) -> str | None:
    """The group of a process in a hierarchy; ``None`` if that is not told.

    Args:
        tree: name of the hierarchy's mountpoint: its controller, or ``cgroup`` for version 2.
        membership: the process's ``/proc/PID/cgroup`` (cgroups(7)).
    """
    wanted = "" if tree == Path(_TREE).name else tree
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(","):
            return path
    return None


def _preference(tree: Path) -> tuple[int, str]:
    rank = _LISTING.index(tree.name) if tree.name in _LISTING else len(_LISTING)
    return rank, str(tree)


async def _remove_group(group: Path) -> None:
    """Remove a group and those below it. For a moment after its last process has ended, it is still busy."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _REMOVAL
    for directory in [Path(at) for at, _, _ in os.walk(group, topdown=False)]:
        pause = 0.0005
        while not _removed(directory):
            if loop.time() > deadline:
                raise HostUnavailable(f"control group '{directory}' is still in use")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)


def _removed(directory: Path) -> bool:
    """Remove one group; false if it is busy."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True
