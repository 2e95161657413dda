"""Whether a client and a daemon of different versions can work with each other. Pure.

The API's version has three numbers. Additions raise the second or the third one, and both sides work with
them and without; what breaks clients raises the first, or the second while the first is 0.
"""

from __future__ import annotations

API_VERSION = "0.1.0"
"""Of the API: the documented 0.0.1, and what Kleene adds to it."""

HEADER = "kleene-api-version"
"""In requests: the version that the client was made for. The documented client sends none."""


def fit(one: str, other: str) -> bool:
    """Whether a client and a daemon of these versions understand each other; not if one is no version."""
    first, second = numbers(one), numbers(other)
    if first is None or second is None:
        return False
    return first[:1] == second[:1] if first[0] else first[:2] == second[:2]


def is_newer(one: str, other: str) -> bool:
    """Whether ``one`` is the later version."""
    return (numbers(one) or ()) > (numbers(other) or ())


def numbers(version: str) -> tuple[int, int, int] | None:
    """The three numbers; ``None`` if it is no version."""
    parts = version.split(".")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 6 for p in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])
