"""A build context on this machine, listed for its upload: what ``.dockerignore`` leaves in, with digests."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kleene.client.digestcache import DigestCache, Signature, signature
from kleene.contexts.ignore import Ignore
from kleene.contexts.manifest import DIRECTORY, FILE, LINK, Item, encode
from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound

Tell = Callable[[str, int, int | None, str], None]
"""Told how far something is: what, how much is done, of how much, and the unit."""

_RULES_LIMIT = 1024 * 1024
_CHUNK = 1024 * 1024
_TOLD_EVERY = 500


class Source(NamedTuple):
    """Where the content of a file is, and what the file was like when its digest was taken."""

    path: str
    signature: Signature


class Scanned(NamedTuple):
    """A context as it was found.

    Attributes:
        listed: what is sent first (``contexts.manifest``).
        sources: a file for each content, by its digest.
        left_out: sockets, pipes and devices.
    """

    listed: bytes
    sources: dict[str, Source]
    left_out: list[str]


def scan(directory: str, dockerfile: str, tell: Tell) -> Scanned:
    """List the context in ``directory`` (absolute).

    Args:
        dockerfile: its path in the context. It is in the list whatever the rules say, and so are they.

    Raises:
        NotFound, InvalidInput: there is no such directory, or the rules are malformed.
        Conflict: a file changed while it was read.
        KleeneError: something cannot be read.
    """
    try:
        if not stat.S_ISDIR(os.stat(directory).st_mode):  # noqa: PTH116 - pathlib is dear
            raise InvalidInput(
                f"build context '{directory}' is not a directory",
                hint="name the directory that the Dockerfile is in",
            )
        return _Scan(directory, dockerfile, tell).result()
    except OSError as error:
        raise _unreadable(error, directory) from error


class _Scan:
    """One scan."""

    def __init__(self, directory: str, dockerfile: str, tell: Tell) -> None:
        self._top = directory
        self._tell = tell
        self._needed = dockerfile
        self._ignore, rules = _rules(directory, dockerfile)
        self._forced = {dockerfile, rules, *_target(directory, dockerfile)} - {""}
        self._cache = DigestCache(directory)
        self._items: dict[str, Item] = {}
        self._sources: dict[str, Source] = {}
        self._left_out: list[str] = []

    def result(self) -> Scanned:
        """List everything."""
        for path, status in self._walk(""):
            if not self._ignore.excludes(path):
                self._add(path, status)
        for path in sorted(self._forced):
            if os.path.lexists(self._absolute(path)):
                self._add(path, os.lstat(self._absolute(path)))
        self._cache.save()
        mode = stat.S_IMODE(os.stat(self._top).st_mode)  # noqa: PTH116
        items = [self._items[path] for path in sorted(self._items)]
        return Scanned(encode(self._top, mode, items), self._sources, self._left_out)

    def _walk(self, directory: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self._absolute(directory)) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{directory}/{entry.name}" if directory else entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            excluded = self._ignore.excludes(path)
            # Below a directory that is left out there may be an exception.
            if excluded and not (is_directory and self._ignore.has_exceptions):
                continue
            yield path, entry.stat(follow_symlinks=False)
            if is_directory:
                yield from self._walk(path)

    def _add(self, path: str, status: os.stat_result) -> None:
        if path in self._items:
            return
        parent = path.rpartition("/")[0]
        if parent and parent not in self._items:
            self._add(parent, os.lstat(self._absolute(parent)))
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            self._items[path] = Item(path, DIRECTORY, mode, status.st_mtime_ns)
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(self._absolute(path))  # noqa: PTH115
            self._items[path] = Item(path, LINK, mode, status.st_mtime_ns, 0, target)
        elif stat.S_ISREG(status.st_mode):
            digest = self._digest(path, status)
            self._items[path] = Item(path, FILE, mode, status.st_mtime_ns, status.st_size, digest)
        else:
            self._left_out.append(path)

    def _digest(self, path: str, status: os.stat_result) -> str:
        found = self._cache.get(path, status)
        if found is None:
            found = digest_of(self._absolute(path), status)
            self._cache.put(path, status, found)
        self._sources.setdefault(found, Source(self._absolute(path), signature(status)))
        if len(self._items) % _TOLD_EVERY == 0:
            self._tell("list the context", len(self._items), None, "entries")
        return found

    def _absolute(self, path: str) -> str:
        return f"{self._top}/{path}" if path else self._top


def digest_of(path: str, status: os.stat_result) -> str:
    """The SHA-256 of a file in hex.

    Raises:
        Conflict: it is not what ``status`` says, or changes meanwhile.
    """
    with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
        content = hashlib.sha256()
        while data := file.read(_CHUNK):
            content.update(data)
        if signature(os.fstat(file.fileno())) != signature(status):
            raise changed(path)
    return content.hexdigest()


def changed(path: str) -> Conflict:
    """The error for a file that is not what it was."""
    return Conflict(
        f"'{path}' changed while the build context was read",
        hint="build again when nothing writes to it, or leave it out by .dockerignore",
    )


def _open_without_waiting(path: str, flags: int) -> int:
    # What was a file may be a named pipe by now.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _rules(directory: str, dockerfile: str) -> tuple[Ignore, str]:
    """What is left out, and the file that says so."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        try:
            with open(f"{directory}/{name}", "rb") as file:  # noqa: PTH123
                data = file.read(_RULES_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if len(data) > _RULES_LIMIT:
            raise InvalidInput(f"'{name}' is larger than {_RULES_LIMIT} bytes")
        try:
            return Ignore.parse(data.decode("utf-8-sig"), name), name
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"'{name}' is not text in UTF-8 (byte {error.start + 1})",
                hint="save the file as UTF-8",
            ) from error
    return Ignore(), ""


def _target(directory: str, path: str) -> list[str]:
    """Where a link in the context leads to, if that is in the context."""
    top = os.path.realpath(directory)
    real = os.path.realpath(f"{directory}/{path}")
    return [real[len(top) + 1 :]] if real.startswith(f"{top}/") else []


def _unreadable(error: OSError, directory: str) -> KleeneError:
    path = error.filename or directory
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, FileNotFoundError):
        if path == directory:
            return NotFound(
                f"build context '{path}' does not exist", hint="name a directory that is there"
            )
        return changed(str(path))
    return KleeneError(
        f"'{path}' cannot be read: {reason}",
        hint="leave it out by .dockerignore, or run klee as a user that may read it",
    )
