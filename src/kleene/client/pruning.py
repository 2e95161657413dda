"""Prunes that tell beforehand what they take: of images, and of what builds left."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from kleene.client.address import Query, target
from kleene.client.answers import Ids, ids_of

if TYPE_CHECKING:
    from kleene.client.operations import Request

_IDS = 500


class Builds:
    """Operations on what builds left behind: snapshots of steps that no image is, failed builds."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> Any:  # noqa: A002
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return self._request(
            "GET", target("builds", "prune", query={"all": all, "filter": filters})
        )

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the API's name
        filters: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Ids:
        """Remove what no tagged image needs, or ``all`` but the images themselves; the ids.

        Args:
            filters: ``until=TIME``: only what was not used since; a time, or how long ago.
            only: of these, the ones with these ids.
        """
        return prune(self._request, "builds", all, filters, only)


def prune(
    request: Request, kind: str, every: bool, filters: Collection[str], only: Collection[str] | None
) -> Ids:
    """Prune, and of ``only`` some at a time; the ids of what went."""
    query: Query = {"all": every, "filter": [*filters]}
    if only is None:
        return ids_of(request("POST", target(kind, "prune", query=query)))
    listed, done = [*only], []
    for start in range(0, len(listed), _IDS):  # a request's head has a limit
        some: Query = {"only": ",".join(listed[start : start + _IDS])}
        done += ids_of(request("POST", target(kind, "prune", query={**query, **some})))
    return done


def unused(request: Request, kind: str, filters: Collection[str]) -> Ids:
    """Prune all that is unused and fits; the ids of what went."""
    return ids_of(request("POST", target(kind, "prune", query={"filter": filters})))
