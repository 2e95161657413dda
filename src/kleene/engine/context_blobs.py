"""Contents of the files of uploaded contexts, named by their SHA-256. Blocking: for threads.

A content is received into a file of its own, which is kept when the connection breaks, and gets its name
when it is whole and its digest is right. Contents from before the daemon's start are read once before they
are trusted: what was written before a power cut may not have come to the disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kleene.errors import Conflict, InvalidInput
from kleene.host import filedata, oserrors
from kleene.schemas.constants import BLOB_HEADER

_HEADER = struct.Struct(BLOB_HEADER)
_CHUNK = 1024 * 1024
_RESERVE = 64 * 1024 * 1024
"""Bytes that an upload must leave free, so that what else lives in the file system goes on."""


class Blobs:
    """The contents that the daemon has. Lasts as long as the daemon; the files outlive it."""

    def __init__(self, directory: Path) -> None:
        self._whole = directory / "blobs"
        self._parts = directory / "parts"
        for made in (self._whole, self._parts):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._verified: set[str] = set()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        # What a kill left: parts of second connections, and contents on their way out.
        for left in (*self._parts.glob("*.*"), *self._whole.glob("*/*.*")):
            left.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where a content is, once it is there."""
        return self._whole / digest[:2] / digest

    def present(self, digest: str, size: int) -> bool:
        """Whether a content is there, and as it should be. Counts as a use of it.

        Raises:
            InvalidInput: it has another size: that is no reason to take it from those who have it right.
        """
        path = self.path(digest)
        try:
            os.utime(path)
            if self._is_right(path, digest):
                if path.stat().st_size == size:
                    return True
                raise InvalidInput(
                    "the list of the context cannot be trusted: a file has not the size of its content"
                )
        except FileNotFoundError:
            return False
        path.unlink(missing_ok=True)
        return False

    def received(self, digest: str) -> int:
        """How many bytes there are of a content that is not whole."""
        if digest in self._busy:
            return 0
        try:
            return self._part(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def receive(self, source: IO[bytes], limit: int) -> None:
        """Take contents from a stream of frames (``schemas.contexts``) to its end.

        Args:
            limit: bytes of the largest content.

        Raises:
            InvalidInput: the stream is no such thing, or breaks off.
            Conflict: a content has another digest: the file changed while it was sent.
            HostUnavailable: there is no space for it.
        """
        while head := _read(source, _HEADER.size):
            if len(head) < _HEADER.size:
                raise _broken_off()
            digest, start, size = _HEADER.unpack(head)
            if start + size > limit:
                raise InvalidInput(f"a file of the context has more than {limit} bytes")
            self._receive(source, digest.hex(), start, size)

    def _receive(self, source: IO[bytes], digest: str, start: int, size: int) -> None:
        # A second connection that sends the same is not the first one gone on: it has a file of its own.
        with self._lock:
            shared = digest in self._busy
            self._busy.add(digest)
        part = self._parts / f"{digest}.{os.urandom(4).hex()}" if shared else self._part(digest)
        try:
            self._write(source, part, digest, start, size)
        except OSError as error:
            raise oserrors.explain(error, "the build context cannot be kept") from error
        finally:
            if shared:
                part.unlink(missing_ok=True)
            else:
                self._busy.discard(digest)

    def _write(self, source: IO[bytes], part: Path, digest: str, start: int, size: int) -> None:
        content = hashlib.sha256()
        with part.open("r+b" if part.exists() else "x+b", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            if os.fstat(file.fileno()).st_size < start:
                raise Conflict("the build context was sent from the wrong place on")
            for data in _beginning(file, start):
                content.update(data)
            file.truncate(start)
            self.check_space(size)
            left = size
            while left:
                data = source.read(min(left, _CHUNK))
                if not data:
                    raise _broken_off()
                content.update(data)
                filedata.write_all(file.fileno(), data)
                left -= len(data)
        self._keep(part, digest, content.hexdigest())

    def _keep(self, part: Path, digest: str, found: str) -> None:
        if found != digest:
            part.unlink()
            raise Conflict(
                "a file of the build context changed while it was sent",
                hint="try again when nothing writes to it",
            )
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        part.rename(path)
        self._verified.add(digest)

    def _is_right(self, path: Path, digest: str) -> bool:
        if digest in self._verified:
            return True
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == digest
        if right:
            self._verified.add(digest)
        return right

    def _part(self, digest: str) -> Path:
        return self._parts / digest

    def check_space(self, wanted: int) -> None:
        """Raise HostUnavailable unless so many bytes more can be kept."""
        status = os.statvfs(self._parts)
        if status.f_bavail * status.f_frsize < wanted + _RESERVE:
            raise oserrors.no_space("the build context cannot be kept")


def _beginning(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file, which then stands behind them."""
    while size and (data := file.read(min(size, _CHUNK))):
        size -= len(data)
        yield data


def _read(source: IO[bytes], size: int) -> bytes:
    """``size`` bytes, fewer at the end only."""
    data = b""
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data


def _broken_off() -> InvalidInput:
    return InvalidInput("the build context breaks off", hint="try again: what has come is kept")
