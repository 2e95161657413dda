"""Contents of the files of uploaded contexts, named by their SHA-256. Blocking: for threads.

A content is received into a file of its own, which is kept when the connection breaks, and gets its name
when it is whole and its digest is right. Contents from before the daemon's start are read once before they
are trusted: what was written before a power cut may not have come to the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import threading
from pathlib import Path
from typing import IO

from kleene.errors import Conflict, InvalidInput
from kleene.host import filedata, oserrors
from kleene.schemas.constants import BLOB_HEADER

_HEADER = struct.Struct(BLOB_HEADER)
_CHUNK = 1024 * 1024
_RESERVE = 64 * 1024 * 1024
"""Bytes that an upload must leave free, so that what else lives in the file system goes on."""

_UNCHECKED = 8 * 1024 * 1024
"""Bytes that are received before it is looked again whether there is space: far less than the reserve."""


class Blobs:
    """The contents that the daemon has. Lasts as long as the daemon; the files outlive it."""

    def __init__(self, directory: Path) -> None:
        # Text, and not Path, which takes longer than the system calls: there are very many of them.
        self._whole = f"{directory}/blobs"
        self._parts = f"{directory}/parts"
        for made in (self._whole, self._parts):
            os.makedirs(made, mode=0o700, exist_ok=True)  # noqa: PTH103
        self._made: set[str] = set()
        self._verified: set[str] = set()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        # What a kill left: parts of second connections, and contents on their way out.
        for left in (*Path(self._parts).glob("*.*"), *Path(self._whole).glob("*/*.*")):
            left.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where a content is, once it is there."""
        return Path(self.place(digest))

    def place(self, digest: str) -> str:
        """:meth:`path` as text."""
        return f"{self._whole}/{digest[:2]}/{digest}"

    def present(self, digest: str, size: int) -> bool:
        """Whether a content is there, and as it should be. Counts as a use of it.

        Raises:
            InvalidInput: it has another size: that is no reason to take it from those who have it right.
        """
        path = self.place(digest)
        try:
            os.utime(path)
            if self._is_right(path, digest):
                if os.stat(path).st_size == size:  # noqa: PTH116
                    return True
                raise InvalidInput(
                    "the list of the context cannot be trusted: a file has not the size of its content"
                )
        except FileNotFoundError:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        return False

    def received(self, digest: str) -> int:
        """How many bytes there are of a content that is not whole."""
        if digest in self._busy:
            return 0
        try:
            return os.stat(self._part(digest)).st_size  # noqa: PTH116
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
        source, unchecked = _buffered(source), _UNCHECKED
        while head := source.read(_HEADER.size):
            if len(head) < _HEADER.size:
                raise _broken_off()
            digest, start, size = _HEADER.unpack(head)
            if start + size > limit:
                raise InvalidInput(f"a file of the context has more than {limit} bytes")
            unchecked += size
            if unchecked >= _UNCHECKED:
                self.check_space(size)
                unchecked = 0
            self._receive(source, digest.hex(), start, size)

    def _receive(self, source: IO[bytes], digest: str, start: int, size: int) -> None:
        # A second connection that sends the same is not the first one gone on: it has a file of its own.
        with self._lock:
            shared = digest in self._busy
            self._busy.add(digest)
        part = self._part(f"{digest}.{os.urandom(4).hex()}" if shared else digest)
        try:
            self._write(source, part, digest, start, size)
        except OSError as error:
            raise oserrors.explain(error, "the build context cannot be kept") from error
        finally:
            if shared:
                Path(part).unlink(missing_ok=True)
            else:
                self._busy.discard(digest)

    def _write(self, source: IO[bytes], part: str, digest: str, start: int, size: int) -> None:
        content = hashlib.sha256()
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            there = os.fstat(fd).st_size
            if there < start:
                raise Conflict("the build context was sent from the wrong place on")
            filedata.read_through(fd, start, content)
            if there > start:
                os.ftruncate(fd, start)
            while size:
                data = source.read(min(size, _CHUNK))
                if not data:
                    raise _broken_off()
                content.update(data)
                filedata.write_all(fd, data)
                size -= len(data)
        finally:
            os.close(fd)
        self._keep(part, digest, content.hexdigest())

    def _keep(self, part: str, digest: str, found: str) -> None:
        if found != digest:
            os.unlink(part)  # noqa: PTH108
            raise Conflict(
                "a file of the build context changed while it was sent",
                hint="try again when nothing writes to it",
            )
        directory = f"{self._whole}/{digest[:2]}"
        if directory not in self._made:
            os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103
            self._made.add(directory)
        os.rename(part, f"{directory}/{digest}")  # noqa: PTH104
        self._verified.add(digest)

    def _is_right(self, path: str, digest: str) -> bool:
        if digest in self._verified:
            return True
        with open(path, "rb") as file:  # noqa: PTH123
            right = hashlib.file_digest(file, "sha256").hexdigest() == digest
        if right:
            self._verified.add(digest)
        return right

    def _part(self, name: str) -> str:
        return f"{self._parts}/{name}"

    def check_space(self, wanted: int) -> None:
        """Raise HostUnavailable unless so many bytes more can be kept."""
        status = os.statvfs(self._parts)
        if status.f_bavail * status.f_frsize < wanted + _RESERVE:
            raise oserrors.no_space("the build context cannot be kept")


def _buffered(source: IO[bytes]) -> IO[bytes]:
    """A stream that reads ahead, so that tiny files do not cost two reads each."""
    if isinstance(source, io.RawIOBase):
        return io.BufferedReader(source, _CHUNK)
    return source


def _broken_off() -> InvalidInput:
    return InvalidInput("the build context breaks off", hint="try again: what has come is kept")
