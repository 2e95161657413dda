"""Where the driver keeps what it knows: the files in its directories, which outlive the daemon.

Layout::

    RUN/runtime/ID/                     the runtime's own state of a container
    RUN/containers/ID/                  bundle and record of a container; until it is deleted
    RUN/containers/ID/exec/INSTANCE/    what a keeper needs while it lives
    STATE/kept/ID/INSTANCE/             log and exit status of an instance; until they are forgotten
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kleene.names import is_id
from kleene.runtime import pidfd
from kleene.runtime.conmon import Directories


@dataclass(frozen=True)
class Record:
    """What is known of a container.

    Attributes:
        rootfs: its root file system on the host.
        made: mountpoints that were made in it.
        capabilities: its bounding set.
        user: of all its processes, if the jail parameters say so.
        rlimits: of each process, as the runtime takes them.
        groups: further groups of each process, names or numbers.
        no_new_privileges: of each process.
        pid, started, boot: its init: process id, start time in ticks, and the boot that these count from;
            0 and empty until it is up.
    """

    rootfs: str
    made: Sequence[str]
    capabilities: Sequence[str]
    user: str | None
    pid: int = 0
    started: int = 0
    boot: str = ""
    rlimits: Sequence[dict[str, Any]] = ()
    groups: Sequence[str] = ()
    no_new_privileges: bool = False

    def is_up(self, boot: str) -> bool:
        """Whether the init runs: this very process, not another one that has its id now."""
        return bool(self.pid) and self.boot == boot and pidfd.start_time(self.pid) == self.started

    def with_init(self, pid: int, boot: str) -> Record:
        return replace(self, pid=pid, started=pidfd.start_time(pid) or 0, boot=boot)


class State:
    """The directories, made if they are missing."""

    def __init__(self, state: Path, run: Path) -> None:
        self.runtime = run / "runtime"
        self.bundles = run / "containers"
        self.kept = state / "kept"
        for directory in (state, run, self.runtime, self.bundles, self.kept):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._records: dict[str, Record] = {}

    def bundle(self, container: str) -> Path:
        return self.bundles / _checked(container)

    def instance(self, container: str, instance: str) -> Directories:
        """The directories of an execution instance."""
        return Directories(
            live=self.bundle(container) / "exec" / _checked(instance),
            kept=self.kept / container / instance,
            container=container,
        )

    def instances(self, container: str) -> list[Directories]:
        """Those whose container is not deleted."""
        with contextlib.suppress(FileNotFoundError):
            names = [e.name for e in (self.bundle(container) / "exec").iterdir()]
            return [self.instance(container, name) for name in names]
        return []

    def with_bundle(self) -> list[str]:
        """Ids of containers that are not deleted."""
        return [entry.name for entry in self.bundles.iterdir() if is_id(entry.name)]

    def known(self) -> set[str]:
        """Ids of containers that there is anything of, logs left out."""
        return {
            e.name for at in (self.runtime, self.bundles) for e in at.iterdir() if is_id(e.name)
        }

    def record(self, container: str) -> Record | None:
        if container not in self._records:
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._records[container] = Record(**_load(self._record_file(container)))
        return self._records.get(container)

    def save(self, container: str, record: Record) -> None:
        store(self._record_file(container), asdict(record))
        self._records[container] = record

    def remove(self, container: str) -> None:
        """All that is known of a container but the logs and exit statuses."""
        self._records.pop(container, None)
        for at in (self.runtime, self.bundles):
            shutil.rmtree(at / _checked(container), ignore_errors=True)

    def forget(self, container: str) -> None:
        shutil.rmtree(self.kept / _checked(container), ignore_errors=True)

    def _record_file(self, container: str) -> Path:
        return self.bundle(container) / "record.json"


def _checked(name: str) -> str:
    if not is_id(name):
        raise ValueError(f"{name!r} is not an id")
    return name


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def store(path: Path, content: object) -> None:
    """Write JSON, whole or not at all; only root may read it."""
    temporary = path.with_name(f".{path.name}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(content, file)
    temporary.replace(path)
