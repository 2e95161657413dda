"""How a network interface may be called. Pure."""

from __future__ import annotations

import re

from kleene.errors import InvalidInput

NAME_MAX = 15
"""Longest name of an interface: IFNAMSIZ less the final zero byte (netdevice(7))."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,14}")


def check_interface_name(name: str) -> str:
    """Return ``name`` if it can name an interface, without a pattern's or a quote's characters.

    Raises:
        InvalidInput: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"interface name '{name}' is not valid",
            hint=f"use at most {NAME_MAX} letters, digits, '_', '.' or '-'; 'ip link' lists yours",
        )
    return name
