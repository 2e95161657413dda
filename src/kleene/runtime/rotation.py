"""Rotation of logs that keepers write: bounded with and without the daemon, and nothing lost on the way.

The daemon looks at the logs of running instances again and again. Each file has a second name (see
:mod:`kleene.runtime.logseries`), so a keeper that is told to begin a new one takes nothing away. Without the
daemon a keeper does so by itself, after as much as a log may hold; then what it wrote before is gone. Facts:
conmon's source, ``src/ctrl.c`` and ``src/ctr_logging.c``, version 2.1.6: a line ``2 0 0`` on its control FIFO
reopens the log; ``--log-size-max`` counts what was written since the keeper did that by itself last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from kleene.runtime import logseries
from kleene.runtime.conmon import Directories
from kleene.runtime.driver import LogBounds

_REOPEN = b"2 0 0\n"


class Rotation:
    """Remembers which files' keepers were told, as long as their instances run: told twice, a keeper would
    begin a second file and leave a first one without a second name."""

    def __init__(self) -> None:
        self._told: dict[Path, int] = {}

    def rotate_all(self, instances: Iterable[Directories], bounds: LogBounds) -> bool:
        """Rotate the logs that have grown; whether one has. Blocks for a moment."""
        before, self._told = self._told, {}
        for instance in instances:
            with contextlib.suppress(FileNotFoundError):
                self._rotate(instance, bounds, before.get(instance.log))
        return any(inode != before.get(log) for log, inode in self._told.items())

    def _rotate(self, instance: Directories, bounds: LogBounds, told: int | None) -> None:
        """Have a new file begun if the log has grown, and remove the oldest that are too many."""
        log = instance.log
        logseries.secure(log)
        status = log.stat()
        if status.st_ino != told and bounds.size and status.st_size >= bounds.size:
            _reopen(instance.live)
            told = status.st_ino
        if told is not None:
            self._told[log] = told
        for old in logseries.rotated(log)[: -max(bounds.files, 2)]:
            old.path.unlink()


def _reopen(live: Path) -> None:
    """Tell a keeper to open its log anew; nothing happens if it has ended."""
    with contextlib.suppress(OSError):
        fd = os.open(live / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, _REOPEN)
        finally:
            os.close(fd)
