"""Digests of the files of a context, remembered from one upload to the next.

One JSON file for each context in the user's cache directory (``$XDG_CACHE_HOME/klee`` or
``~/.cache/klee``),
written anew with each upload. It only saves time: without it, or with a damaged one, all is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import Any

Signature = tuple[int, ...]

_RECENT = 2_000_000_000
"""Nanoseconds for which a file counts as just written: the coarsest timestamps in use (FAT) are 2 s apart,
and a second write within one tick would not be seen."""


def signature(status: os.stat_result) -> Signature:
    """What changes when a file's content does."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


class DigestCache:
    """The digests of one context: those of the last time are asked for, those of this time are kept."""

    def __init__(self, directory: str) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
        name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:24]
        self._path = f"{home}/klee/{name}.json" if home.startswith("/") else ""
        self._known = self._load()
        self._kept: dict[str, list[Any]] = {}

    def _load(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123 - pathlib is dear
                known = json.load(file)
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def get(self, path: str, status: os.stat_result) -> str | None:
        """The digest of a file that is as it was."""
        row = self._known.get(path)
        if not isinstance(row, list) or tuple(row[:-1]) != signature(status):
            return None
        self._kept[path] = row
        return str(row[-1])

    def put(self, path: str, status: os.stat_result, digest: str) -> None:
        """Remember a digest, unless the file was written just now."""
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _RECENT:
            self._kept[path] = [*signature(status), digest]

    def save(self) -> None:
        """Keep what is known for the next time."""
        if self._kept == self._known or not self._path:
            return
        half = f"{self._path}.{os.getpid()}"
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
            with open(half, "w", encoding="ascii") as file:  # noqa: PTH123
                json.dump(self._kept, file, separators=(",", ":"))
            os.replace(half, self._path)  # noqa: PTH105
