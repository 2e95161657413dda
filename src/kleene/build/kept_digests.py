"""Digests of files of contexts, remembered from one build to the next and from one daemon to the next.

Owns a file in the data directory. It is a cache: whatever is wrong with it is left out. A file is known by
device, inode, size, mtime and ctime; whoever writes it anew changes the ctime, which nobody can set back
(inode(7)).

The file is a row of blocks: number of entries and SHA-256 of what follows, then the entries. A block is
appended after a build; one that was not written whole ends the reading.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
from pathlib import Path

from kleene.host.treewalk import Signature

MOST = 500_000
"""Entries that are kept: 40 MB in the file. When there are more, the older half is forgotten."""

_HEAD = struct.Struct("<Q32s")
_ENTRY = struct.Struct("<QQQqq32s")


class KeptDigests:
    """A :class:`~kleene.build.digests.FileDigests`, read at the first question, written by :meth:`save`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests: dict[Signature, bytes] | None = None
        self._new: dict[Signature, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: Signature) -> bytes | None:
        """The digest of the file that has this signature, if it is known."""
        return self._known().get(key)

    def put(self, key: Signature, digest: bytes) -> None:
        """Remember a digest."""
        known = self._known()
        with self._lock:
            known[key] = self._new[key] = digest

    def save(self) -> None:
        """Write what is new; blocking, for a thread. What cannot be written is only known to this process."""
        with self._lock, contextlib.suppress(OSError):
            if not self._new:
                return
            new, self._new = self._new, {}
            if self._digests is not None and len(self._digests) > MOST:
                self._forget()
            else:
                with self._path.open("ab") as file:
                    file.write(_block(new))

    def _known(self) -> dict[Signature, bytes]:
        if self._digests is None:
            with self._lock:
                if self._digests is None:
                    self._digests = self._read()
        return self._digests

    def _read(self) -> dict[Signature, bytes]:
        found: dict[Signature, bytes] = {}
        try:
            data = memoryview(self._path.read_bytes())
        except OSError:
            return found
        at = 0
        while at + _HEAD.size <= len(data):
            count, digest = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + count * _ENTRY.size]
            if hashlib.sha256(body).digest() != digest or len(body) != count * _ENTRY.size:
                break
            found.update((entry[:5], entry[5]) for entry in _ENTRY.iter_unpack(body))
            at += _HEAD.size + len(body)
        if at < len(data):
            self._cut(at)
        return found

    def _cut(self, size: int) -> None:
        """Nothing is appended behind a block that cannot be read."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, size)

    def _forget(self) -> None:
        assert self._digests is not None
        newest = list(self._digests.items())[len(self._digests) // 2 :]
        self._digests = dict(newest)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(_block(self._digests))
        temporary.replace(self._path)


def _block(entries: dict[Signature, bytes]) -> bytes:
    body = b"".join(_ENTRY.pack(*key, digest) for key, digest in entries.items())
    return _HEAD.pack(len(entries), hashlib.sha256(body).digest()) + body
