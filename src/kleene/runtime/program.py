"""The runtime as a program: how it is started, and what of the host it sees then.

crun refuses a host whose control groups are those of version 1 with a tree of version 2 beside them
("hybrid", systemd's name for it), although it needs nothing of that tree. Where it does not see the tree it
takes the host for one of version 1, and works. So it is started in a mount namespace of its own, made for the
call, in which an empty directory covers the tree. (crun 1.8 makes its group in there, too, to no effect.)

The namespace is a copy of the daemon's at that moment, since any directory of the host may be mounted into a
container. It goes with the call: one that lived on would hold mounts that the host wants to let go.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kleene.host import mountapi, process

UNIFIED_BESIDE = Path("/sys/fs/cgroup/unified")
"""Where the tree of version 2 is on a hybrid host; what crun looks at."""


@dataclass(frozen=True)
class Program:
    """A runtime.

    Attributes:
        path: to start it by.
        unseen: a directory of the host that it must not see.
    """

    path: str
    unseen: Path | None = None

    @contextlib.contextmanager
    def ready(self) -> Iterator[list[str]]:
        """The words that a command line begins with; it must have been started when the block ends.

        Raises:
            OSError: the kernel refuses the namespace.
        """
        if self.unseen is None:
            yield [self.path]
            return
        namespace = mountapi.in_own_thread(partial(mountapi.namespace_without, self.unseen))
        try:
            # By our process id: a keeper starts the runtime, and hands no descriptors on to it.
            yield [_enter(), f"--mount=/proc/{os.getpid()}/fd/{namespace}", "--", self.path]
        finally:
            os.close(namespace)


def programs(path: str, name: str) -> list[Program]:
    """In which ways a runtime can be tried on this host, the plain one first."""
    hybrid = name == "crun" and UNIFIED_BESIDE.is_mount() and search("nsenter") is not None
    return [Program(path), *([Program(path, UNIFIED_BESIDE)] if hybrid else [])]


def search(name: str) -> str | None:
    """Where a program is that children find by its name."""
    return shutil.which(name, path=process.environment()["PATH"])


def _enter() -> str:
    return search("nsenter") or "nsenter"
