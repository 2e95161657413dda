"""Times as users write them. Pure."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

from kleene.errors import InvalidInput

_SECOND = 1_000_000_000
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # milliseconds
_PART = r"(\d{1,12}(?:\.\d{1,9})?)(ms|[dhms])"
_AGO = re.compile(f"(?:{_PART})+", re.ASCII)
_EPOCH = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?", re.ASCII)


def parse_since(text: str, now: int) -> int:
    """A time, or how long ago it was, in nanoseconds since the epoch; 0 for ``""``.

    A time is ISO 8601, in UTC if it has no zone, or seconds since the epoch.

    Raises:
        InvalidInput: it is neither.
    """
    if not text:
        return 0
    if _AGO.fullmatch(text):
        parts = re.findall(_PART, text)
        return now - round(sum(float(count) * _UNITS[unit] for count, unit in parts)) * 1_000_000
    if found := _EPOCH.fullmatch(text):
        return int(found[1]) * _SECOND + int((found[2] or "").ljust(9, "0"))
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000) * 1000
    raise InvalidInput(
        f"'{text}' is not a time",
        hint="write how long ago, as 1h30m, or ISO 8601, as 2026-11-24T08:00:00Z",
    )
