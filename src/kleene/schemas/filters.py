"""Filters of lists, ``KEY=VALUE``: which keys each kind of object has. Pure; needs no msgspec.

Of several filters of one key one must fit (of :data:`ALL_OF` all); of several keys, each. Client and daemon
read them by the same table: the client to refuse a slip at once, the daemon to send only what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from kleene.errors import InvalidInput

Kind = Literal[
    "container",
    "image",
    "network",
    "volume",
    "snapshot",
    "secret",
    "config",
    "event",
    "prune",
    "build",
]
"""What a list is of; ``prune`` is what a prune takes, ``build`` what that of builds takes."""

Wanted = Mapping[str, Sequence[str]]

STATES = ("running", "stopped", "exited", "created", "restarting")
_BOOLEANS = ("true", "false")

KEYS: Mapping[Kind, Sequence[str]] = {
    "container": (
        "status name id label image ancestor network volume health exited before since restart"
        " driver publish"
    ).split(),
    "image": "name id label reference dangling before since".split(),
    "network": "name id label type driver dangling before since".split(),
    "volume": "name label dangling before since".split(),
    "snapshot": "name before since".split(),
    "secret": "name label dangling before since".split(),
    "config": "name label dangling before since".split(),
    "event": "type event container image network volume secret config daemon".split(),
    "prune": "label label! until".split(),
    "build": ["until"],
}

ALL_OF = ("label", "label!", "until")
"""Of several filters of one of these keys, all must fit."""

_VALUES: Mapping[str, Sequence[str]] = {
    "event.type": "container image network volume secret config daemon".split(),
    "network.type": ("loopback", "bridge", "custom"),
    "status": STATES,
    "health": ("starting", "healthy", "unhealthy", "none"),
    "dangling": _BOOLEANS,
}
"""Of a key, or of one of a kind, all values."""


def parse(kind: Kind, words: Iterable[str]) -> dict[str, list[str]]:
    """``KEY=VALUE`` words by their keys.

    Raises:
        InvalidInput: a key is not one of the kind's, or a value does not fit it; the nearest one is named.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in KEYS[kind]:
            raise _unknown(f"filter '{word}' of {kind}s has an unknown key", key, KEYS[kind])
        if not equals or not value:
            raise InvalidInput(f"filter '{word}' has no value", hint=f"write {key}=VALUE")
        allowed = _VALUES.get(f"{kind}.{key}", _VALUES.get(key))
        if allowed is not None and value not in allowed:
            raise _unknown(f"filter '{word}' has an unknown value", value, allowed)
        found.setdefault(key, []).append(value)
    return found


def _unknown(message: str, word: str, known: Sequence[str]) -> InvalidInput:
    from kleene.names import nearest

    near = nearest(word, known)
    meant = f"did you mean '{near}'? " if near else ""
    return InvalidInput(message, hint=f"{meant}one of: {', '.join(known)}")
