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

from kleene.build import manifests, modes
from kleene.build.digests import Learned, tree_digest
from kleene.build.modes import Mode
from kleene.contexts.ignore import Ignore
from kleene.errors import InvalidInput
from kleene.host import inroot, oserrors
from kleene.host.copytree import Owner, copy_entries
from kleene.host.threads import Stop, in_thread
from kleene.host.treewalk import Entry, Files


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
        return replace(self, sources=kept, _contents=[])

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

        def work(stop: Stop) -> bytes:
            entries = (entry for source in self.sources for entry in source.entries)
            pairs = zip(stop.watched(entries), self._contents, strict=True)
            return manifests.pack(
                manifests.line(entry, _mode(entry), content, owner=self.owners)
                for entry, content in pairs
            )

        return await in_thread(work)

    async def copy_into(
        self,
        root: inroot.Root,
        destination: str,
        *,
        directory: bool,
        owner: Owner | None = (0, 0),
        mode: Mode | None = None,
        keep_look: bool = False,
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
                return self._copy(target, path, directory, (owner, mode, keep_look), stop)

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
        stop: Stop,
    ) -> list[inroot.Replaced]:
        owner, mode, keep_look = looks
        if not self.sources:  # patterns that match nothing make nothing
            return []
        try:
            into = directory or _is_directory(root, path)
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
            items = stop.watched(_placed(root, source, path, into=into, fresh=fresh))
            replaced += copy(items, root)
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
    start = len(source.path) + 1 if source.path else 0
    top, *inside = source.entries
    if fresh:
        yield top, path
    for entry in inside:
        yield entry, f"{base}/{entry.path[start:]}"


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


def _is_directory(root: int, path: str) -> bool:
    try:
        os.close(inroot.open_in_root(root, path, inroot.O_PATH | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
