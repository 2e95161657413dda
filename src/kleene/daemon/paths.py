"""References of images in paths of the API: they may hold slashes, path parameters may not.

Clients write such a reference as it is or percent-encoded; a server gets both decoded. Pure.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_SUBJECT = re.compile(r"/images/(?P<ref>.+)/(?P<verb>inspect|tag|history|blame)")
_REMOVED = re.compile(r"/images/(?P<ref>.+)")


def fold(method: str, path: str) -> str:
    """``path`` with the reference of an image that it holds made one segment."""
    if subject := _SUBJECT.fullmatch(path):
        return f"/images/{quote(subject['ref'], safe=':@')}/{subject['verb']}"
    if method == "DELETE" and (removed := _REMOVED.fullmatch(path)):
        return f"/images/{quote(removed['ref'], safe=':@')}"
    return path


def unfold(segment: str) -> str:
    """The reference of an image as it was written."""
    return unquote(segment)
