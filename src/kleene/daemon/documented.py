"""The statuses of errors that the documented API names, operation by operation. Pure.

A client that says no version of the API (:mod:`kleene.daemon.handshake`) was made for the documented one, and
may know no other statuses: the published client ends with a traceback at one. It is answered with the nearest
of those that it knows. Source: Kleene's public API description, version 0.0.1.
"""

from __future__ import annotations

_MISSING, _CONFLICT = 404, 409

_STATUSES: dict[str, tuple[int, ...]] = {
    "Container.Create": (_MISSING,),
    "Container.Inspect": (_MISSING,),
    "Container.Remove": (_CONFLICT, _MISSING),
    "Container.Stop": (_MISSING,),
    "Container.Update": (_CONFLICT, _MISSING),
    "Exec.Create": (_MISSING,),
    "Exec.Stop": (_MISSING,),
    "Image.Inspect": (_MISSING,),
    "Image.Remove": (_MISSING,),
    "Image.Tag": (_MISSING,),
    "Network.Connect": (_CONFLICT, _MISSING),
    "Network.Create": (_CONFLICT,),
    "Network.Disconnect": (_MISSING,),
    "Network.Inspect": (_MISSING,),
    "Network.Remove": (_MISSING,),
    "Volume.Inspect": (_MISSING,),
    "Volume.Remove": (_MISSING,),
}
"""Besides 500; operations for which none is documented are left out. The first one is taken for others."""


def nearest_status(operation: str | None, status: int) -> int:
    """The status for a client of the documented API, whose message such a client shows if it can."""
    known = _STATUSES.get(operation or "")
    # A mistake of the client's is never told as one of the daemon's.
    return known[0] if known and status not in known else status
