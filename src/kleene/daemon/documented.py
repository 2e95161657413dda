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
    "Container.Prune": (),
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
    "Network.List": (),
    "Network.Prune": (),
    "Network.Remove": (_MISSING,),
    "Volume.Create": (),
    "Volume.Inspect": (_MISSING,),
    "Volume.Prune": (),
    "Volume.Remove": (_MISSING,),
}
"""Besides 500, which all of these have. The first one is taken for what is not there."""


def nearest_status(operation: str | None, status: int) -> int:
    """The status for a client of the documented API, whose message such a client shows if it can."""
    known = _STATUSES.get(operation or "")
    if known is None or status in known:
        return status
    return known[0] if known else 500
