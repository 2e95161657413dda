"""Amounts as users write them. Pure."""

from __future__ import annotations

import re

from kleene.errors import InvalidInput

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size(text: str) -> int:
    """Bytes: a number, with ``K``, ``M``, ``G``, ``T`` or ``P`` behind it for powers of 1024.

    Raises:
        InvalidInput: it is none.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidInput(f"'{text}' is not a size", hint="write a number of bytes, or 512M, 10G")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])
