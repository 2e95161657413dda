"""Times as users write them. Pure."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

from kleene.errors import InvalidInput

_SECOND = 1_000_000_000
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_AGO = re.compile(r"(?:\d+[dhms])+")


def parse_since(text: str, now: int) -> int:
    """A time, or how long ago it was, in nanoseconds since the epoch; 0 for ``""``.

    Raises:
        InvalidInput: it is neither.
    """
    if not text:
        return 0
    if _AGO.fullmatch(text):
        parts = re.findall(r"(\d+)([dhms])", text)
        return now - sum(int(count) * _UNITS[unit] for count, unit in parts) * _SECOND
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000) * 1000
    raise InvalidInput(
        f"'{text}' is not a time",
        hint="write how long ago, as 1h30m, or ISO 8601, as 2026-11-24T08:00:00Z",
    )
