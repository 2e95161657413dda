"""Logs of containers on the wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

DEFAULT_TAIL = 1000


class LogsConfig(msgspec.Struct):
    """First frame of ``/containers/ID/logs``.

    Attributes:
        follow: go on until the container stops.
        tail: at most so many lines of what is there, the last ones; ``None`` for all.
        since: none that is older: ISO 8601 (in UTC if it has no zone), seconds since the epoch, or how long
            ago, such as ``1h30m``.
        until: end before it, in the same form; with ``follow`` when that time has come.
        timestamps: put the time in UTC, in nanoseconds, before each line.
    """

    follow: bool = False
    tail: Annotated[int, msgspec.Meta(ge=0)] | None = DEFAULT_TAIL
    since: str = ""
    timestamps: bool = False
    until: str = ""
