"""Sending a build context to a daemon on another machine: only what it lacks, and on where it broke off."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from kleene.client.contextscan import Scanned, Source, Tell, changed
from kleene.client.digestcache import signature
from kleene.client.failures import DaemonUnreachable
from kleene.client.operations import Contexts
from kleene.errors import KleeneError
from kleene.schemas.constants import BLOB_HEADER

_HEADER = struct.Struct(BLOB_HEADER)
_CHUNK = 256 * 1024
_PATIENCE = 30.0
"""Seconds without a byte of progress after which a daemon that cannot be reached is given up."""

_PAUSE = 0.5
_TASK = "send the context"


class Readable(Protocol):
    """What chunks are read from."""

    def read(self, size: int, /) -> bytes: ...


def upload(contexts: Contexts, scanned: Scanned, tell: Tell) -> str:
    """Send a context; the id to build it by. A connection that breaks is made again.

    Raises:
        Conflict: a file changed since it was listed.
        DaemonUnreachable: the connection broke, and cannot be made again.
        KleeneError: the daemon refuses the context, and why.
    """
    progress = _Progress(tell)
    deadline = None
    while True:
        before = progress.sent
        try:
            offer = contexts.offer(scanned.listed)
            missing = _missing(offer, scanned)
            if missing:
                contexts.send(_gathered(progress.counted(missing)))
            return str(offer["id"])
        except DaemonUnreachable:
            now = time.monotonic()
            if deadline is None and not progress.sent:
                raise  # it never could be reached
            if deadline is None or progress.sent > before:
                deadline = now + _PATIENCE
            if now > deadline:
                raise
            time.sleep(_PAUSE)


def upload_archive(contexts: Contexts, source: Readable, head: bytes, tell: Tell) -> str:
    """Send a tar stream as a context; the id to build it by.

    Args:
        head: what was read of it already.
    """
    token = os.urandom(16).hex()

    def chunks() -> Iterator[bytes]:
        done, data = 0, head
        while data:
            yield data
            done += len(data)
            tell(_TASK, done, None, "bytes")
            data = source.read(_CHUNK)

    contexts.send_archive(token, chunks())
    return token


def _missing(offer: dict[str, dict[str, int]], scanned: Scanned) -> list[tuple[str, Source, int]]:
    """What the daemon wants: digest, source, and where to begin."""
    try:
        wanted = offer["missing"].items()
        return [(digest, scanned.sources[digest], int(start)) for digest, start in wanted]
    except (KeyError, TypeError, AttributeError) as error:
        raise KleeneError(
            "the daemon asks for files that are not in the build context",
            hint="do klee and kleened fit? klee version",
        ) from error


class _Progress:
    """How much of a context has been sent, over all connections."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.sent = 0

    def counted(self, missing: list[tuple[str, Source, int]]) -> Iterator[bytes]:
        """The frames, told of as they go."""
        total = self.sent + sum(source.signature[2] - start for _, source, start in missing)
        for digest, source, start in missing:
            for data in _frame(digest, source, start):
                yield data
                self.sent += len(data)
                self._tell(_TASK, min(self.sent, total), total, "bytes")


def _frame(digest: str, source: Source, start: int) -> Iterator[bytes]:
    left = source.signature[2] - start
    try:
        with open(source.path, "rb", buffering=0, opener=_open) as file:
            if signature(os.fstat(file.fileno())) != source.signature:
                raise changed(source.path)
            yield _HEADER.pack(bytes.fromhex(digest), start, left)
            file.seek(start)
            while left and (data := file.read(min(left, _CHUNK))):
                left -= len(data)
                yield data
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise KleeneError(f"'{source.path}' cannot be read: {reason}") from error
    if left:
        raise changed(source.path)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _gathered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks that are worth sending: there may be very many tiny files."""
    held = bytearray()
    for data in chunks:
        held += data
        if len(held) >= _CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
