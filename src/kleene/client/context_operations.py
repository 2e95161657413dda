"""The operations on build contexts that are sent to the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kleene.client.address import target
from kleene.client.transport import HttpConnection


class Contexts:
    """Operations on build contexts that are sent to the daemon; :mod:`kleene.client.upload` uses them."""

    def __init__(self, call: Callable[[str, str, bytes], Any], http: HttpConnection) -> None:
        self._call = call
        self._http = http

    def offer(self, listed: bytes) -> Any:
        """A ``ContextOffer`` for the list of a context (``kleene.contexts.manifest``)."""
        return self._call("POST", target("contexts", "offer"), listed)

    def send(self, frames: Iterable[bytes]) -> None:
        """Send contents of files (``kleene.schemas.contexts``)."""
        self._http.upload(target("contexts", "contents"), frames)

    def send_archive(self, token: str, chunks: Iterable[bytes]) -> None:
        """Send a tar stream as the context ``token`` (32 hex digits)."""
        self._http.upload(target("contexts", token, "archive"), chunks)
