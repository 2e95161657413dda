"""Digests of what COPY takes. A file's own is remembered while its stat(2) result stays the same."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from kleene.host import filedata
from kleene.host.treewalk import Entry, Files, Signature, changed, signature

_RECENT = 2_000_000_000
"""Nanoseconds for which a file counts as just written: the coarsest timestamps in use (FAT) are 2 s apart,
and a second write within one tick would not be seen."""

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


class Learned:
    """Digests of the files of one selection: what was known before, and what reading or copying them tells.

    It is a :class:`kleene.host.copytree.Contents`: what a copy wrote need not be read once more.
    """

    def __init__(self, known: FileDigests) -> None:
        self._known = known
        self._own: dict[Signature, bytes] = {}

    def get(self, key: Signature) -> bytes | None:
        """The digest of the file that has this signature, if it is known."""
        return self._own.get(key) or self._known.get(key)

    def wants(self, key: Signature, /) -> bool:
        """Whether the digest of the file that has this signature is not known yet."""
        return self.get(key) is None

    def learn(self, key: Signature, content: bytes, attributes: Mapping[str, bytes], /) -> None:
        """Take what a file has that was the same before and after it was read.

        Args:
            content: SHA-256 of its content.
        """
        whole = hashlib.sha256(content)
        for name, value in sorted(attributes.items()):
            whole.update(b"%b %d\n%b" % (os.fsencode(name), len(value), value))
        self._own[key] = digest = whole.digest()
        if time.time_ns() - max(key[-2:]) > _RECENT:  # mtime and ctime
            self._known.put(key, digest)


def tree_digest(
    files: Files,
    path: str,
    entries: Iterable[Entry],
    digests: Learned,
    *,
    owners: bool = False,
) -> tuple[bytes, list[bytes]]:
    """SHA-256 over the entries of ``path``: names, types, modes, link targets, contents.

    Times are left out, and owners unless asked for: a fresh checkout of the same files has the same digest.

    Returns:
        The digest, and of each entry the digest of the file or the target of the link.

    Raises:
        Conflict: a file changed since it was listed.
        OSError: as open(2).
    """
    total, start = hashlib.sha256(), len(path) + 1 if path else 0
    contents: list[bytes] = []
    known = digests.get
    for entry in entries:
        status = entry.stat
        kind, bits = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
        name = os.fsencode(entry.path[start:])
        if kind == stat.S_IFREG:
            content = known(signature(status)) or _read(files, entry, digests)
        else:
            content = os.fsencode(entry.target)
            bits = 0 if kind == stat.S_IFLNK else bits
        total.update(b"%o %o %d %d\n%b%b" % (kind, bits, len(name), len(content), name, content))
        if owners:
            total.update(b"%d %d\n" % (status.st_uid, status.st_gid))
        contents.append(content)
    return total.digest(), contents


def _read(files: Files, entry: Entry, digests: Learned) -> bytes:
    """Read a file; its digest."""
    fd = files.open(entry)
    try:
        content = hashlib.sha256()
        filedata.read_through(fd, entry.stat.st_size, content)
        attributes, key = filedata.xattrs(fd), signature(entry.stat)
        # A file that has grown meanwhile is noticed here.
        if signature(os.fstat(fd)) != key:
            raise changed(entry.path)
    finally:
        os.close(fd)
    digests.learn(key, content.digest(), attributes)
    found = digests.get(key)
    assert found is not None
    return found
