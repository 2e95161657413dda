"""Rotation of logs that keepers write: bounded, and nothing lost on the way.

The daemon looks at the logs of running instances again and again. One that has grown is renamed, and its
keeper told to open its log anew; what it writes until then is in the renamed file. Facts: conmon's source,
``src/ctrl.c`` and ``src/ctr_logging.c``, version 2.1.6: a line ``2 0 0`` on its control FIFO reopens the log.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kleene.runtime import logseries
from kleene.runtime.conmon import Directories

_REOPEN = b"2 0 0\n"


@dataclass(frozen=True)
class LogBounds:
    """How much is kept of the log of an instance.

    Attributes:
        size: bytes after which a log is rotated; 0 is never.
        files: that are kept, with the one that is written to; two at least.
    """

    size: int = 10 * 1024 * 1024
    files: int = 5


def rotate_all(instances: Iterable[Directories], bounds: LogBounds) -> None:
    """Rotate the logs that have grown. Blocks for a moment."""
    for instance in instances:
        with contextlib.suppress(FileNotFoundError):
            rotate(instance, bounds)


def rotate(instance: Directories, bounds: LogBounds) -> None:
    """Rotate a log if it has grown, and remove the oldest of its files that are too many."""
    log = instance.log
    if not log.exists():
        if instance.live.exists():  # the keeper was not told, or has not done it yet
            _reopen(instance.live)
        return
    if not bounds.size or log.stat().st_size < bounds.size:
        return
    log.rename(log.with_name(f"{log.name}.{logseries.next_start(log)}"))
    _reopen(instance.live)
    for old in logseries.rotated(log)[: -(max(bounds.files, 2) - 1)]:
        old.path.unlink()


def _reopen(live: Path) -> None:
    """Tell a keeper to open its log anew; nothing happens if it has ended."""
    with contextlib.suppress(OSError):
        fd = os.open(live / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, _REOPEN)
        finally:
            os.close(fd)
