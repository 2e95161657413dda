"""Operations on secrets and configs, in plain JSON values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kleene.client.address import target
from kleene.client.answers import id_of

if TYPE_CHECKING:
    from kleene.client.operations import Body, Request


class StoredFiles:
    """Operations on secrets or configs, which have names only.

    Args:
        path: ``secrets`` or ``configs``.
    """

    def __init__(self, request: Request, path: str) -> None:
        self._request = request
        self._path = path

    def create(self, config: Body) -> str:
        """Keep one, by a ``StoredFileConfig``; its name."""
        return id_of(self._request("POST", target(self._path, "create"), config))

    def list(self, *, filters: Iterable[str] = ()) -> Any:
        """All of them, or those that ``KEY=VALUE`` filters fit. Of secrets never the content."""
        return self._request("GET", target(self._path, "list", query={"filter": filters}))

    def inspect(self, name: str) -> Any:
        """All that is told of one."""
        return self._request("GET", target(self._path, name, "inspect"))

    def remove(self, name: str) -> str:
        """Remove one; its name. Raises Conflict if containers are given it."""
        return id_of(self._request("DELETE", target(self._path, name)))
