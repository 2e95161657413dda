"""Build contexts that came from clients, on disk: bounded in size and age. Blocking: for threads.

In a directory of the data directory: ``blobs`` and ``parts`` (:class:`Blobs`), ``lists`` (manifests as they
came), ``trees`` (directories made of them, and of archives). All of it can be made anew by the clients, so
what was not used for long goes, and the oldest go when there is too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import stat
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from kleene.contexts import manifest
from kleene.engine import context_trees
from kleene.engine.context_blobs import Blobs
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.host import archive, inroot, oserrors, removal
from kleene.host.decompress import Reader
from kleene.host.threads import Stop, own_thread
from kleene.host.treewalk import walk
from kleene.schemas.contexts import ContextOffer

_ID = re.compile(r"[0-9a-f]{32}")
_CHUNK = 1024 * 1024
_HINT = (
    "a build context is a tar archive (.tar, .tar.gz, .tar.xz, .tar.zst, .tar.bz2), without '..' in its "
    "names"
)

LIST_LIMIT = 256 * 1024 * 1024
"""Bytes of the longest list of a context."""


@dataclass(frozen=True)
class ContextLimits:
    """How large contexts may be, and how much of them is kept.

    Attributes:
        size: bytes of one context.
        entries: files and directories of one.
        kept: bytes of all that is kept.
        age: seconds since its last use after which something is not kept.
        young: seconds for which nothing goes: it may be part of an upload that goes on.
    """

    size: int = 16 * 1024**3
    entries: int = 1_000_000
    kept: int = 16 * 1024**3
    age: float = 7 * 86400
    young: float = 600


class _Kept(NamedTuple):
    """Something that can go.

    Attributes:
        used: when it was last, in seconds since the epoch.
        size: bytes of its files.
    """

    used: float
    size: int
    path: str


@dataclass(frozen=True)
class Stored:
    """What people see of the store: a context, or the files that contexts have been made of.

    Attributes:
        id: of the context; of the files ``contents``, or ``recent-contents``.
        used: when it was last, in seconds since the epoch.
        idle: whether it may go: no build and no upload has to do with it.
        paths: of the files and directories that go with it. Nobody writes to them.
    """

    id: str
    name: str
    used: float
    idle: bool
    paths: tuple[str, ...]


class ContextStore:
    """The contexts of one data directory."""

    def __init__(self, directory: Path, limits: ContextLimits) -> None:
        self._directory = directory
        self.limits = limits
        self.blobs = Blobs(directory)
        self._lists = directory / "lists"
        self._trees = directory / "trees"
        for made in (self._lists, self._trees):
            made.mkdir(exist_ok=True, mode=0o700)
        self._users: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._decoding = threading.Lock()
        for half in (*self._lists.glob("*.*"), *self._trees.glob("*.*")):
            removal.discard(half)

    def offer(self, source: IO[bytes]) -> ContextOffer:
        """Keep the list of a context; what is missing of it.

        Raises:
            InvalidInput: the list is malformed, too large, or not to be trusted.
            Conflict: a build uses an archive that was given the same id.
        """
        half = self._lists / f"{os.urandom(16).hex()}.tmp"
        try:
            with half.open("xb") as file:
                self._receive_list(source, file)
            listed = self._decode(half)
            self._make_way(listed.id)
            half.rename(self._lists / listed.id)
        except OSError as error:
            raise oserrors.explain(error, "the build context cannot be kept") from error
        finally:
            half.unlink(missing_ok=True)
        blobs = self.blobs
        contents = listed.contents
        missing = {
            digest: min(blobs.received(digest), size)
            for digest, size in contents.items()
            if not blobs.present(digest, size)
        }
        blobs.check_space(sum(contents[digest] - start for digest, start in missing.items()))
        return ContextOffer(listed.id, missing)

    def _receive_list(self, source: IO[bytes], file: IO[bytes]) -> None:
        size = 0
        while data := source.read(_CHUNK):
            size += len(data)
            if size > LIST_LIMIT:
                raise InvalidInput(
                    f"the list of the build context has more than {LIST_LIMIT} bytes",
                    hint="leave out by .dockerignore what the build does not need",
                )
            self.blobs.check_space(len(data))
            file.write(data)

    def _make_way(self, context: str) -> None:
        """See that what has the id of a list is made of the list, and no archive that somebody called so."""
        tree = self._tree(context)
        if tree.is_dir() and not (self._lists / context).exists():
            self._remove(tree)
            if tree.is_dir():
                raise Conflict("a build uses another context of this id", hint="try again after it")

    def _decode(self, path: Path) -> manifest.Manifest:
        limits = self.limits
        # One at a time: a list of a million files takes some hundred megabytes of memory.
        with self._decoding, path.open("rb") as file:
            return manifest.decode(file, entries=limits.entries, size=limits.size)

    def extract(self, token: str, source: IO[bytes]) -> None:
        """Make a context of a tar archive, compressed or not. ``token``: what it is to be called.

        Raises:
            InvalidInput: it is damaged, too large, no tar archive, or tries to get out of its directory.
            Conflict: there is a context of this id.
        """
        tree = self._tree(token)
        half = tree.with_name(f"{token}.{os.urandom(4).hex()}.tmp")
        if tree.is_dir() or (self._lists / token).exists():
            raise Conflict(f"there is a build context '{token}' already", hint="choose another id")
        try:
            half.mkdir(mode=0o700)
            extract(source, half, "context", self.limits)
            half.chmod(0o755)
            half.rename(tree)
        except OSError as error:
            raise oserrors.explain(error, "the build context cannot be kept") from error
        finally:
            removal.discard(half)

    @contextlib.asynccontextmanager
    async def empty(self) -> AsyncIterator[Path]:
        """An empty directory for as long as the block lasts."""
        path = self._trees / f"{os.urandom(16).hex()}.tmp"
        path.mkdir(mode=0o755)
        try:
            yield path
        finally:
            # There may be a million files in it by now.
            await asyncio.shield(own_thread(lambda: removal.discard(path)))

    @contextlib.contextmanager
    def opened(self, context: str) -> Iterator[Path]:
        """The directory of an uploaded context, which stays while the block lasts; see :meth:`make`."""
        tree = self._tree(context)
        with self._used(tree.name):
            with contextlib.suppress(FileNotFoundError):
                os.utime(tree)
            yield tree

    def make(self, context: str, stop: Stop) -> str:
        """Make the directory of an uploaded context, if there is none; what the client calls it.

        Raises:
            NotFound: there is no such context, or it is gone.
            Conflict: not all of it is there any more.
        """
        tree = self._tree(context)
        listed = self._lists / context
        if tree.is_dir() and not listed.exists():
            return "the archive"
        try:
            wanted = self._decode(listed)
        except FileNotFoundError as error:
            raise NotFound(
                f"the daemon has no build context '{context}' (any more)",
                hint="build again: it is sent again",
            ) from error
        if not tree.is_dir():
            context_trees.make(wanted, tree, self.blobs.place, stop)
        return wanted.name

    def _tree(self, context: str) -> Path:
        if not _ID.fullmatch(context):
            raise InvalidInput(f"'{context[:80]}' is no id of an uploaded context")
        return self._trees / context

    @contextlib.contextmanager
    def _used(self, name: str) -> Iterator[None]:
        with self._lock:
            self._users[name] = self._users.get(name, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name]

    def stored(self, before: float = math.inf) -> list[Stored]:
        """What is kept; idle is what was last used before this time, and what nobody needs."""
        contexts: dict[str, list[_Kept]] = {}
        contents: dict[bool, list[_Kept]] = {True: [], False: []}
        for each in self._all():
            directory, name = os.path.split(each.path)
            if directory in (str(self._lists), str(self._trees)):
                contexts.setdefault(name, []).append(each)
            else:
                contents[self._is_idle(each, before)].append(each)
        found = [
            _stored(name, self._name(name), each, all(self._is_idle(k, before) for k in each))
            for name, each in contexts.items()
        ]
        for idle, files in contents.items():
            name = "contents" if idle else "recent-contents"
            found += (
                [_stored(name, f"{len(files)} files of contexts", files, idle)] if files else []
            )
        return found

    def discard(self, ids: Collection[str] | None, before: float = math.inf) -> list[str]:
        """Take away what is idle of these, or all that is; the ids of what went."""
        gone = [s for s in self.stored(before) if s.idle and (ids is None or s.id in ids)]
        for each in gone:
            for path in each.paths:
                self._remove(Path(path))
        return [each.id for each in gone]

    def _is_idle(self, each: _Kept, before: float) -> bool:
        recent = time.time() - each.used < self.limits.young
        return not recent and each.used < before and os.path.basename(each.path) not in self._users  # noqa: PTH119

    def _name(self, context: str) -> str:
        """What the client called a context."""
        try:
            with (self._lists / context).open("rb") as file:
                return manifest.name_of(file)
        except FileNotFoundError:
            return "an archive"

    def prune(self) -> None:
        """Take away what is too old, and the oldest of what is too much."""
        now, young = time.time(), self.limits.young
        kept = sorted(self._all(), reverse=True)
        total = 0
        for each in kept:
            total += each.size
            age = now - each.used
            if age >= young and (total > self.limits.kept or age > self.limits.age):
                total -= each.size
                self._remove(Path(each.path))

    def _remove(self, path: Path) -> None:
        gone = path.with_name(f"{path.name}.gone")
        with self._lock:
            if path.name in self._users:
                return
            with contextlib.suppress(FileNotFoundError):
                path.rename(gone)
        self._sizes.pop(path.name, None)
        removal.discard(gone)

    def _all(self) -> Iterator[_Kept]:
        for name in os.listdir(self._directory / "blobs"):  # noqa: PTH208 - of many files
            yield from self._in(f"blobs/{name}")
        for name in ("parts", "lists", "trees"):
            yield from self._in(name)

    def _in(self, directory: str) -> Iterator[_Kept]:
        with os.scandir(self._directory / directory) as found:
            for entry in found:
                if "." in entry.name:  # in the making, or on its way out
                    continue
                with contextlib.suppress(FileNotFoundError, Conflict):  # it was just removed
                    status = entry.stat()
                    size = self._size(Path(entry.path)) if entry.is_dir() else status.st_size
                    yield _Kept(status.st_mtime, size, entry.path)

    def _size(self, tree: Path) -> int:
        """Bytes of its files."""
        if tree.name not in self._sizes:
            with inroot.root_fd(tree) as top:
                files = (each.stat for each in walk(top) if not stat.S_ISDIR(each.stat.st_mode))
                self._sizes[tree.name] = sum(each.st_size for each in files)
        return self._sizes[tree.name]


def _stored(name: str, shown: str, kept: Sequence[_Kept], idle: bool) -> Stored:
    used = max(each.used for each in kept)
    return Stored(name, shown, used, idle, tuple(each.path for each in kept))


def extract(source: Reader, directory: Path, name: str, limits: ContextLimits) -> None:
    """Extract an archive as a context.

    Raises:
        InvalidInput: it is damaged, too large, no tar archive, or tries to get out of the directory.
    """
    bounds = archive.Bounds(limits.size, limits.entries)
    try:
        archive.extract(source, directory, name, lambda _: None, bounds=bounds)
    except InvalidInput as error:
        # Its own hints speak of root file systems.
        raise InvalidInput(error.message, hint=_HINT, details=error.details) from error
