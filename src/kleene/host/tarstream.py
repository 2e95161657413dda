"""Reading the entries of a tar stream that may be hostile, with a limit on the memory that it takes.

``tarfile`` parses; it never opens, writes or links a file here.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from typing import IO, Any, cast

from kleene.errors import InvalidInput

CHUNK = 1024 * 1024

_HEADER_LIMIT = 8 * 1024 * 1024
"""Bytes that one entry's headers (names, attributes, sparse maps) may have: they are held in memory."""


class TarStream:
    """A tar archive, read once from its beginning to its end. Raises ``tarfile.TarError`` besides its own."""

    def __init__(self, raw: IO[bytes], name: str) -> None:
        """
        Args:
            raw: the archive, not compressed.
            name: of the archive, for messages.
        """
        self._source = _Forward(raw, name)
        # Not in tarfile's own streaming mode, which copies its whole buffer for every block that is read.
        with _understood():
            self._archive = tarfile.TarFile(
                fileobj=cast(IO[bytes], self._source),
                encoding="utf-8",
            )

    def entries(self) -> Iterator[tarfile.TarInfo]:
        """The entries; the content of each must be read before the next.

        Raises:
            EOFError: the archive ends without its end mark.
        """
        self._source.limit()
        while (member := self._next()) is not None:
            cast(Any, self._archive).members = []  # else every entry there was would be kept
            self._source.lift()
            yield member
            self._source.limit()
        if not self._source.ended:
            raise EOFError("it has no end mark")
        self._source.lift()
        while self._source.read(CHUNK):  # to the end, where a checksum may be compared
            pass

    def _next(self) -> tarfile.TarInfo | None:
        with _understood():
            return self._archive.next()

    def content(self, member: tarfile.TarInfo) -> Iterator[tuple[int, bytes]]:
        """The content of a regular file, in pieces with their offsets; holes are left out.

        Raises:
            EOFError: the archive breaks off in it.
        """
        # Not by extractfile(), whose reader shows the holes as zeros, of which there may be exabytes.
        self._source.seek(member.offset_data)
        for offset, size in cast(Any, member).sparse or [(0, member.size)]:
            end = offset + size
            while offset < end:
                data = self._source.read(min(CHUNK, end - offset))
                if not data:
                    raise EOFError("unexpected end of data")
                yield offset, data
                offset += len(data)


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What tarfile stumbles over in a header that makes no sense, it does not always call so."""
    try:
        yield
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise tarfile.HeaderError(f"a header makes no sense: {error}") from error


class _Forward:
    """The archive as a file that can be read and skipped in one direction, with a limit on headers.

    Attributes:
        ended: whether what was read last looks like the end mark; only of headers it is told.
    """

    def __init__(self, raw: IO[bytes], name: str) -> None:
        self._raw = raw
        self._name = name
        self._at = 0
        self._left: int | None = None
        self.ended = False
        self.limit()

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise InvalidInput(
                    f"archive '{self._name}' has an entry with too large a header",
                    hint="use an archive from a source that you know",
                )
        data = self._raw.read(size)
        self._at += len(data)
        # tarfile ends in the same way at the mark, at a damaged header, and where the archive breaks off.
        self.ended = size == len(data) == tarfile.BLOCKSIZE and not any(data)
        return data

    def seek(self, position: int) -> None:
        if position < self._at:
            raise tarfile.StreamError("the archive cannot be read backwards")
        while self._at < position and (data := self._raw.read(min(CHUNK, position - self._at))):
            self._at += len(data)

    def limit(self) -> None:
        """From here on headers are read."""
        self._left = _HEADER_LIMIT

    def lift(self) -> None:
        """From here on content is read."""
        self._left = None
