"""What one COPY takes out of a build context, and where it goes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kleene.build import manifests, modes
from kleene.build.digests import Learned, tree_digest
from kleene.build.manifests import Delta
from kleene.build.modes import Mode
from kleene.contexts.ignore import Ignore
from kleene.errors import InvalidInput
from kleene.host import inroot, oserrors
from kleene.host.copytree import Owner, copy_entries
from kleene.host.threads import Stop, in_thread
from kleene.host.treewalk import Entry, Files

_MANY, _MUCH = 200, 16 * 1024 * 1024
"""Files and bytes from which on it is quicker to change an earlier result than to copy all."""


class BadSource(InvalidInput):
    """A source of a COPY cannot be taken.

    Args:
        number: which of its sources, from 0.
        error: why.
    """

    def __init__(self, number: int, error: InvalidInput) -> None:
        super().__init__(error.message, hint=error.hint, details=error.details)
        self.number = number


@dataclass(frozen=True)
class Source:
    """A file, or a directory with all in it.

    Attributes:
        name: the file's name in a destination directory.
        path: in the context, without links; ``""`` is the context itself.
        entries: a directory comes first, then what is in it; of a file, the file alone.
        placed: where it goes below the destination, with ``--parents``; ``""`` without.
        above: then, the directories above it, each with where it goes.
        left_out: of a directory, what is in it that cannot be copied.
    """

    name: str
    path: str
    entries: tuple[Entry, ...]
    is_directory: bool
    placed: str = ""
    above: tuple[tuple[Entry, str], ...] = ()
    left_out: tuple[Entry, ...] = ()

    def target(self, path: str, destination: str) -> str:
        """Where a path of the context that is in this directory goes, if its content goes there."""
        return f"{destination.rstrip('/')}/{path[len(self.path) + 1 if self.path else 0 :]}"

    def without(self, ignore: Ignore) -> Source | None:
        """The source without what is left out; ``None`` if that is all of it."""
        if not self.is_directory:
            left_out = ignore.excludes(self.name) or ignore.excludes(self.placed or self.path)
            return None if left_out else self
        start = len(self.path) + 1 if self.path else 0
        top, *inside = self.entries
        prefix = f"{self.placed}/" if self.placed else ""

        def kept(entries: Sequence[Entry]) -> Iterator[Entry]:
            return (e for e in entries if not ignore.excludes(prefix + e.path[start:]))

        return replace(self, entries=(top, *kept(inside)), left_out=tuple(kept(self.left_out)))


@dataclass(frozen=True)
class Earlier:
    """What the same COPY has made before, with other files: the root to copy into is a clone of that.

    Attributes:
        before: root of the state that the COPY started from: Docker's rules look at that.
        delta: what to do to have what it is to make now.
    """

    before: Path
    delta: Delta


@dataclass(frozen=True)
class Selection:
    """What a COPY takes: a picture of one moment, good as long as its context is open.

    Attributes:
        digests: of its files: what a copy tells of them, the digest need not read.
        owners: whether the owners of the files count.
    """

    root: int
    sources: tuple[Source, ...]
    digests: Learned
    owners: bool = False
    _contents: list[bytes] = field(default_factory=list, repr=False, compare=False)
    _listed: list[bytes] = field(default_factory=list, repr=False, compare=False)

    def without(self, exclude: Sequence[str]) -> Selection:
        """The selection without what these patterns match, each seen from its source.

        Raises:
            InvalidInput: a pattern is malformed.
        """
        if not exclude:
            return self
        ignore = Ignore.parse("\n".join(exclude), "--exclude")
        found = (source.without(ignore) for source in self.sources)
        kept = tuple(source for source in found if source is not None)
        return replace(self, sources=kept, _contents=[], _listed=[])

    async def digest(self) -> str:
        """SHA-256 in hex over all that is taken, as it arrives in the image: names, types, modes, contents.

        Raises:
            Conflict: the context changed since the selection.
        """
        return await in_thread(self._digest)

    async def manifest(self) -> bytes:
        """What is taken, file by file (``build.manifests``)."""
        if not self._contents:  # the digest was known, and nobody has asked for it
            await self.digest()
        if self._listed:
            return self._listed[0]

        def work(stop: Stop) -> bytes:
            entries = (entry for source in self.sources for entry in source.entries)
            pairs = zip(stop.watched(entries), self._contents, strict=True)
            return manifests.pack(
                manifests.line(entry, _mode(entry), content, owner=self.owners)
                for entry, content in pairs
            )

        self._listed[:] = [await in_thread(work)]
        return self._listed[0]

    @property
    def is_large(self) -> bool:
        """Whether it may be quicker to change what an earlier COPY made."""
        sizes = [entry.stat.st_size for source in self.sources for entry in source.entries]
        return _is_much(sizes)

    async def delta(self, old: bytes, before: Path, destination: str) -> Delta | None:
        """What a COPY into ``destination`` has to do where one with the manifest ``old`` was done.

        Args:
            before: root of the state that both started from.

        Returns:
            ``None`` if that is as much work as to copy all, or not known.
        """
        new = await self.manifest()

        def work(stop: Stop) -> Delta | None:
            found = manifests.delta(old, new) if self._goes_to_different_places() else None
            if found is None or not self._is_worth_it(found):
                return None
            places = (self.sources[0].target(path, destination) for path in found.removed)
            with inroot.root_fd(before) as root:
                # What the earlier COPY has covered there would have to come back.
                covers = any(_is_there(root, place) for place in stop.watched(places))
            return None if covers else found

        return await in_thread(work)

    def _goes_to_different_places(self) -> bool:
        """Whether it is sure that nothing that is taken arrives where something else does."""
        if any(source.placed for source in self.sources):
            return False
        if any(source.is_directory for source in self.sources):
            return len(self.sources) == 1
        return len({source.name for source in self.sources}) == len(self.sources)

    def _is_worth_it(self, delta: Delta) -> bool:
        sizes = [
            entry.stat.st_size
            for source in self.sources
            for entry in source.entries
            if entry.path not in delta.copied
        ]
        return _is_much(sizes) and len(sizes) >= len(delta.copied) + len(delta.removed)

    async def copy_into(
        self,
        root: inroot.Root,
        destination: str,
        *,
        directory: bool,
        owner: Owner | None = (0, 0),
        mode: Mode | None = None,
        keep_look: bool = False,
        earlier: Earlier | None = None,
    ) -> list[inroot.Replaced]:
        """Copy into an image by Docker's rules.

        A directory's content goes into the destination, which is made with its parents. A file goes into
        the destination if that is a directory, or else becomes it.

        Args:
            root: of the image.
            destination: absolute path in it.
            directory: the destination was written with a ``/`` at its end.
            owner: of all that is made; ``None`` keeps the source's for what is copied.
            mode: permission bits of what is copied; ``None`` keeps the source's.
            keep_look: of the first directory, to a destination that is made for it.
            earlier: copy only what differs from that; see :meth:`delta`.

        Returns:
            What was replaced by directories.

        Raises:
            InvalidInput: several files would become one, or a file is where the destination must be.
            Conflict: the context changed since the selection.
            HostUnavailable: no space is left.
        """
        path = "/" + destination.strip("/")

        def work(stop: Stop) -> list[inroot.Replaced]:
            with inroot.root_fd(root) as target:
                return self._copy(target, path, directory, (owner, mode, keep_look), earlier, stop)

        return await in_thread(work)

    def _digest(self, stop: Stop) -> str:
        total, contents = hashlib.sha256(), list[bytes]()
        for source in self.sources:
            name = b"" if source.is_directory else os.fsencode(source.name)
            if source.placed:
                name = os.fsencode(f"/{source.placed}")
            total.update(b"%d %d\n%b" % (source.is_directory, len(name), name))
            entries = stop.watched(source.entries)
            try:
                total.update(self._tree_digest(source.path, entries, contents))
            except OSError as error:
                raise oserrors.explain(error, f"'{source.path}' cannot be read") from error
        self._contents[:] = contents  # at once: two stages may take the same
        return total.hexdigest()

    def _tree_digest(self, path: str, entries: Iterator[Entry], contents: list[bytes]) -> bytes:
        with contextlib.closing(Files(self.root)) as files:
            digest, found = tree_digest(files, path, entries, self.digests, owners=self.owners)
        contents.extend(found)
        return digest

    def _copy(
        self,
        root: int,
        path: str,
        directory: bool,
        looks: tuple[Owner | None, Mode | None, bool],
        earlier: Earlier | None,
        stop: Stop,
    ) -> list[inroot.Replaced]:
        owner, mode, keep_look = looks
        if not self.sources:  # patterns that match nothing make nothing
            return []
        try:
            judged = earlier.before if earlier else root
            into = directory or _is_directory(judged, path)
            if not into and len(self.sources) > 1 and not all(s.is_directory for s in self.sources):
                raise InvalidInput(
                    f"{len(self.sources)} sources cannot become the one file '{path}'",
                    hint=f"write a '/' at the end of a destination directory: '{path}/'",
                )
            into = into or any(source.is_directory or source.placed for source in self.sources)
            wanted = path if into else posixpath.dirname(path)
            made = inroot.make_dirs(root, wanted, 0o755, *(owner or (0, 0)))
        except OSError as error:
            raise oserrors.explain(error, f"'{path}' cannot be made in the image") from error
        fresh = bool(made) and keep_look
        change = None if mode is None else functools.partial(modes.applied, mode)
        copy = functools.partial(
            copy_entries, self.root, owner=owner, mode=change, contents=self.digests, base=path
        )
        replaced = []
        for source in self.sources:
            # One at a time: what two of them have in common by hard links becomes two files.
            placed = _placed(root, source, path, into=into, fresh=fresh)
            if earlier is not None:
                for name in earlier.delta.removed:
                    inroot.remove_tree(root, source.target(name, path))
                placed = _still_to_copy(root, list(placed), earlier.delta)
            replaced += copy(stop.watched(placed), root)
            fresh = False
        return replaced


def _mode(entry: Entry) -> int:
    """The permission bits that count: a link has none of its own."""
    return 0 if stat.S_ISLNK(entry.stat.st_mode) else stat.S_IMODE(entry.stat.st_mode)


def _placed(
    root: int, source: Source, path: str, *, into: bool, fresh: bool
) -> Iterator[tuple[Entry, str]]:
    """Every entry with its path in the image. ``fresh``: the destination gets the source's own mode."""
    base = path.rstrip("/")
    if source.placed:
        yield from _with_parents(root, source, base)
        return
    if not source.is_directory:
        yield source.entries[0], f"{base}/{source.name}" if into else path
        return
    top, *inside = source.entries
    if fresh:
        yield top, path
    start = len(source.path) + 1 if source.path else 0
    for entry in inside:
        yield entry, f"{base}/{entry.path[start:]}"


def _still_to_copy(
    root: int, placed: list[tuple[Entry, str]], delta: Delta
) -> Iterator[tuple[Entry, str]]:
    """Set the times of what has the right content already; what has to be copied is left."""
    for entry, destination in placed:
        if entry.path in delta.touched:
            inroot.touch(root, destination, entry.stat.st_mtime_ns)
    return (item for item in placed if item[0].path in delta.copied)


def _with_parents(root: int, source: Source, base: str) -> Iterator[tuple[Entry, str]]:
    for entry, place in source.above:
        # As in BuildKit, a directory on the way keeps its look if the image has it.
        if not _has_directory(root, f"{base}/{place}"):
            yield entry, f"{base}/{place}"
    for entry in source.entries:
        yield entry, f"{base}/{source.placed}{entry.path[len(source.path) :]}"


def _has_directory(root: int, path: str) -> bool:
    try:
        return stat.S_ISDIR(inroot.stat(root, path, follow=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_much(sizes: Sequence[int]) -> bool:
    return len(sizes) >= _MANY or sum(sizes) >= _MUCH


def _is_there(root: int, path: str) -> bool:
    try:
        inroot.stat(root, path, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_directory(root: inroot.Root, path: str) -> bool:
    try:
        os.close(inroot.open_in_root(root, path, inroot.O_PATH | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
