"""A source that keeps its reader waiting, read by a thread of its own.

Who waits for a server can then be stopped at any moment. The thread is left to itself when that happens: it
holds the connection and nothing else, and ends with the next bytes, or when the server is given up. The
daemon's end does not wait for it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from kleene.host.decompress import Reader

_T = TypeVar("_T")

_AHEAD = 4  # pieces
_PIECE = 256 * 1024  # bytes
_LOOK = 0.1  # seconds between two looks whether to go on


class Pieces(Protocol):
    """What has bytes as they come: at most ``size``, and none at the end only."""

    def read1(self, size: int, /) -> bytes: ...


@contextlib.contextmanager
def read_apart(
    opened: Callable[[], AbstractContextManager[tuple[_T, Pieces]]], check: Callable[[], None]
) -> Iterator[tuple[_T, Reader]]:
    """What ``opened`` gives, opened and read by a thread; its errors are raised here.

    Args:
        check: called again and again while there is nothing to read; what it raises ends the waiting.
    """
    line = _Line[_T](check)
    threading.Thread(target=line.fill, args=(opened,), name="kleene-fetch", daemon=True).start()
    try:
        yield line.head(), line
    finally:
        line.gone.set()


class _Left(Exception):
    """Nobody reads any more."""


class _Line(Generic[_T]):
    """What the thread has read, in order: the head, the pieces, an empty piece; or an error."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._items: queue.Queue[tuple[_T] | bytes | Exception] = queue.Queue(_AHEAD)
        self._piece = memoryview(b"")
        self._ended = False
        self.gone = threading.Event()

    def fill(self, opened: Callable[[], AbstractContextManager[tuple[_T, Pieces]]]) -> None:
        """Read all of it; for the thread."""
        with contextlib.suppress(_Left):
            try:
                with opened() as (head, source):
                    self._put((head,))
                    while data := source.read1(_PIECE):
                        self._put(data)
                self._put(b"")
            except _Left:
                raise
            except Exception as error:
                self._put(error)

    def _put(self, item: tuple[_T] | bytes | Exception) -> None:
        while not self.gone.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_LOOK)
                return
        raise _Left

    def _next(self) -> tuple[_T] | bytes:
        while True:
            self._check()
            with contextlib.suppress(queue.Empty):
                item = self._items.get(timeout=_LOOK)
                if isinstance(item, Exception):
                    raise item
                return item

    def head(self) -> _T:
        first = self._next()
        assert isinstance(first, tuple)
        return first[0]

    def read(self, size: int, /) -> bytes:
        if not self._piece and not self._ended:
            found = self._next()
            assert isinstance(found, bytes)
            self._piece, self._ended = memoryview(found), not found
        data, self._piece = bytes(self._piece[:size]), self._piece[size:]
        return data
