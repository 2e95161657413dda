"""Modes of ``--chmod``: octal, or symbolic as of chmod(1). Pure."""

from __future__ import annotations

import re
import stat

Mode = int | str
"""Permission bits, or a text that :func:`is_symbolic` accepts."""

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def is_symbolic(text: str) -> bool:
    """Whether this is a symbolic mode, such as ``u=rwX,go=rX``."""
    return all(_CLAUSE.fullmatch(clause) for clause in text.split(","))


def applied(mode: Mode, old: int) -> int:
    """The permission bits that a file with the mode ``old`` (as in ``st_mode``) gets."""
    if isinstance(mode, int):
        return mode
    bits, is_directory = stat.S_IMODE(old), stat.S_ISDIR(old)
    for clause in mode.split(","):
        found = _CLAUSE.fullmatch(clause)
        assert found is not None
        who = set(found[1].replace("a", "ugo") or "ugo")
        for sign, what in _ACTION.findall(found[2]):
            bits = _changed(bits, who, sign, what, is_directory)
    return bits


def _changed(bits: int, who: set[str], sign: str, what: str, is_directory: bool) -> int:
    given, reached = 0, 0
    for person in who:
        given |= _permissions(bits, what, is_directory) << _SHIFT[person]
        reached |= 0o7 << _SHIFT[person]
    special = ("s" in what) * ((0o4000 * ("u" in who)) | (0o2000 * ("g" in who)))
    special |= ("t" in what) * 0o1000
    if sign == "+":
        return bits | given | special
    if sign == "-":
        return bits & ~(given | special)
    if not is_directory:  # as GNU's chmod(1), which leaves those of directories
        reached |= (0o4000 * ("u" in who)) | (0o2000 * ("g" in who))
    return (bits & ~reached) | given | special


def _permissions(bits: int, what: str, is_directory: bool) -> int:
    if what in ("u", "g", "o") and what:
        return bits >> _SHIFT[what] & 0o7
    found = sum(_BITS[letter] for letter in set(what) if letter in _BITS)
    if "X" in what and (is_directory or bits & 0o111):
        found |= 1
    return found
