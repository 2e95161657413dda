"""Digests of what COPY takes. A file's own is remembered while its stat(2) result stays the same."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable
from typing import Protocol

from kleene.build import manifests
from kleene.host import filedata
from kleene.host.treewalk import Entry, Files, Signature, changed, signature

_RECENT = 2_000_000_000
"""Nanoseconds for which a file counts as just written: the coarsest timestamps in use (FAT) are 2 s apart,
and a second write within one tick would not be seen."""

_CHUNK = 1024 * 1024
_KEPT = 500_000


class FileDigests(Protocol):
    """Digests of files by signature. Called from threads."""

    def get(self, key: Signature) -> bytes | None: ...

    def put(self, key: Signature, digest: bytes) -> None: ...


class MemoryDigests:
    """Digests that last as long as the process; forgotten together when there are too many."""

    def __init__(self) -> None:
        self._digests: dict[Signature, bytes] = {}

    def get(self, key: Signature) -> bytes | None:
        """The digest of the file that has this signature, if it is known."""
        return self._digests.get(key)

    def put(self, key: Signature, digest: bytes) -> None:
        """Remember a digest."""
        if len(self._digests) >= _KEPT:
            self._digests.clear()
        self._digests[key] = digest


def tree_digest(
    files: Files,
    path: str,
    entries: Iterable[Entry],
    digests: FileDigests,
    *,
    owners: bool = False,
    lines: list[bytes] | None = None,
) -> bytes:
    """SHA-256 over the entries of ``path``: names, types, modes, link targets, contents.

    Times are left out, and owners unless asked for: a fresh checkout of the same files has the same digest.

    Args:
        lines: takes the entries of a manifest.

    Raises:
        Conflict: a file changed since it was listed.
        OSError: as open(2).
    """
    total = hashlib.sha256()
    for entry in entries:
        kind, mode = stat.S_IFMT(entry.stat.st_mode), stat.S_IMODE(entry.stat.st_mode)
        name = os.fsencode(entry.path[len(path) :].lstrip("/"))
        if kind == stat.S_IFREG:
            content = file_digest(files, entry, digests)
        else:
            content = os.fsencode(entry.target)
            mode = 0 if kind == stat.S_IFLNK else mode
        total.update(b"%o %o %d %d\n%b%b" % (kind, mode, len(name), len(content), name, content))
        if owners:
            total.update(b"%d %d\n" % (entry.stat.st_uid, entry.stat.st_gid))
        if lines is not None:
            lines.append(manifests.line(entry, mode, content, owner=owners))
    return total.digest()


def file_digest(files: Files, entry: Entry, digests: FileDigests) -> bytes:
    """SHA-256 over a regular file's content and extended attributes.

    Raises:
        Conflict, OSError: see :func:`tree_digest`.
    """
    key = signature(entry.stat)
    known = digests.get(key)
    if known is not None:
        return known
    digest = _read(files, entry)
    if time.time_ns() - max(entry.stat.st_mtime_ns, entry.stat.st_ctime_ns) > _RECENT:
        digests.put(key, digest)
    return digest


def _read(files: Files, entry: Entry) -> bytes:
    fd = files.open(entry)
    try:
        content, left = hashlib.sha256(), entry.stat.st_size
        # A file that has grown meanwhile is noticed below.
        while left > 0 and (data := os.read(fd, min(left, _CHUNK))):
            content.update(data)
            left -= len(data)
        whole = hashlib.sha256(content.digest())
        for name, value in sorted(filedata.xattrs(fd).items()):
            whole.update(b"%b %d\n%b" % (os.fsencode(name), len(value), value))
        if signature(os.fstat(fd)) != signature(entry.stat):
            raise changed(entry.path)
        return whole.digest()
    finally:
        os.close(fd)
