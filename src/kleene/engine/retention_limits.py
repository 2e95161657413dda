"""The limits of what builds may leave behind. Apart from the engine, which takes long to load."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What leftovers may come to. ``None`` is no limit.

    Attributes:
        age: seconds since they were last used.
        size: bytes that they hold together and nothing else does.
        count: how many there are.
        interval: seconds between two looks.
    """

    age: float | None = 30 * 86400.0
    size: int | None = 20 * 1024**3
    count: int | None = 2000
    interval: float = 3600.0


DEFAULT = Limits()
