"""The keys that leave a process running: ctrl-p, then ctrl-q. Pure."""

from __future__ import annotations

_FIRST, _SECOND = b"\x10", b"\x11"


class Detached(Exception):
    """The user typed the keys."""


class DetachKeys:
    """What is typed, without the keys. A ctrl-p is held back until the next byte tells whether it is one."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes for the process.

        Raises:
            Detached: the keys are among ``data``; what came before them is lost.
        """
        data = self._held + data
        if _FIRST + _SECOND in data:
            raise Detached
        self._held = _FIRST if data.endswith(_FIRST) else b""
        return data.removesuffix(_FIRST)
