"""Signals as STOPSIGNAL names them: ``SIGQUIT``, ``quit``, ``9``, ``SIGRTMIN+3``. Pure."""

from __future__ import annotations

import re
import signal

_REALTIME = re.compile(r"SIG(RTMIN|RTMAX)([+-][0-9]{1,2})?")
_LAST = 64


def signal_name(text: str) -> str | None:
    """The signal in the one way in which it is recorded; ``None`` if there is no such signal."""
    if text.isdecimal() and text.isascii():
        return str(int(text)) if len(text) < 4 and 1 <= int(text) <= _LAST else None
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if _REALTIME.fullmatch(name):
        return name if _realtime(name) else None
    return name if name in signal.Signals.__members__ else None


def signal_number(name: str) -> int:
    """The number on this host of what :func:`signal_name` returned; SIGTERM for ``""``."""
    if not name:
        return signal.SIGTERM
    if name.isdecimal():
        return int(name)
    return _realtime(name) or signal.Signals[name]


def _realtime(name: str) -> int | None:
    found = _REALTIME.fullmatch(name)
    if found is None:
        return None
    number = int(signal.Signals[f"SIG{found[1]}"]) + int(found[2] or 0)
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None
