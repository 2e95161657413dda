"""Reading archives of any usual compression, which is told by the content, not by the name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

import zstandard

BUFFER = 256 * 1024

ERRORS = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError)
"""What damaged input raises; besides an ``OSError`` without a number (``bz2``)."""

_WINDOW = (
    128 * 1024 * 1024
)  # the zstd tool's own limit: a frame may ask for gigabytes (RFC 8878, 3.1.1.1.2)
_XZ = b"\xfd7zXZ\0"  # the .xz file format, 2.1.1.1
_ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_GZIP = b"\x1f\x8b"  # RFC 1952, 2.3.1
_BZIP2 = b"BZh"


class Reader(Protocol):
    """What can be read from: at most ``size`` bytes, and none at the end only."""

    def read(self, size: int, /) -> bytes: ...


class _Source(io.RawIOBase):
    """The compressed bytes, reported as they are read."""

    def __init__(self, source: Reader, on_read: Callable[[int], None]) -> None:
        self._source = source
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._on_read(len(data))
        buffer[: len(data)] = data
        return len(data)


def open_stream(source: Reader, on_read: Callable[[int], None]) -> IO[bytes]:
    """The decompressed content of ``source``; itself if it is not compressed.

    Args:
        on_read: told how many more bytes of ``source`` were read; what it raises ends the reading.
    """
    buffered = io.BufferedReader(_Source(source, on_read), BUFFER)
    magic = buffered.peek(len(_XZ))
    if magic.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=buffered))
    if magic.startswith(_BZIP2):
        return bz2.BZ2File(buffered)
    if magic.startswith(_XZ):
        return lzma.LZMAFile(buffered)
    if magic.startswith(_ZSTD):
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        reader = decompressor.stream_reader(buffered, read_across_frames=True)
        return io.BufferedReader(cast(io.RawIOBase, reader), BUFFER)
    return buffered
