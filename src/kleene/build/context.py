"""The build context: a directory of the host from which a build may take files, and nothing else of the host.

The directory is opened once; every path is resolved below that descriptor (see ``host.inroot``), so a
link that points out of it is refused, whoever changes the tree meanwhile. The file system of an image can be
such a context too: there the links are followed as in a container. A :class:`Selection` is a picture
of what one COPY takes; copying it later gives just that or a ``Conflict``. Both last as long as their build.
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import functools
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from kleene.build.digests import FileDigests, Learned, MemoryDigests
from kleene.build.selection import BadSource, Selection, Source
from kleene.contexts import patterns
from kleene.contexts.ignore import Ignore
from kleene.dockerfile import source as text_source
from kleene.dockerfile.source import DockerfileError
from kleene.errors import InvalidInput, KleeneError, NotFound
from kleene.host import inroot, oserrors
from kleene.host.copytree import SPECIAL
from kleene.host.threads import Stop, in_thread
from kleene.host.treewalk import Entry, walk

DOCKERFILE_LIMIT = 1024 * 1024
"""Bytes of the largest Dockerfile or ``.dockerignore``."""

_DOCKERFILE = "Dockerfile"
_FIND = inroot.O_PATH


class Context:
    """An open build context. Close it after the build.

    Attributes:
        dockerfile: its path; once it was read, as it is written there.
    """

    def __init__(
        self, path: str, root: int, digests: FileDigests, *, dockerfile: str = "", image: str = ""
    ) -> None:
        """
        Args:
            image: what the user calls the image or stage whose file system this is.
        """
        self.path = path
        self._root = root
        self.dockerfile = dockerfile
        self._digests = digests
        self._image = image
        self._name = f"'{image}'" if image else "the build context"
        self._open_inside = inroot.open_in_root if image else inroot.open_beneath

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        dockerfile: str = _DOCKERFILE,
        digests: FileDigests | None = None,
    ) -> Self:
        """Open the directory ``path`` (absolute) as a context.

        Args:
            dockerfile: its path in the context; ``DOCKERFILE.dockerignore`` goes before ``.dockerignore``.
            digests: what is known of files' contents; by default nothing.

        Raises:
            NotFound: there is no such directory.
            InvalidInput: it is no directory.
        """
        text = os.fspath(path)
        if not text.startswith("/"):
            raise InvalidInput(f"build context '{text}' is not an absolute path")
        found = digests or MemoryDigests()
        return cls(text, _open_directory(text), found, dockerfile=dockerfile)

    @classmethod
    def of_image(cls, path: Path, image: str) -> Self:
        """Open the file system of an image, which nobody changes. ``image``: what the user calls it."""
        return cls(str(path), _open_directory(str(path)), MemoryDigests(), image=image)

    def close(self) -> None:
        """Give the directory back."""
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ignores_all_of(self, path: str) -> bool:
        """Whether ``.dockerignore`` leaves out a clean path, and all below it.

        False where it has exceptions, and where it cannot be read.
        """
        try:
            ignore = self._ignore
        except KleeneError:
            return False
        if path == ".":
            path = "*"  # a pattern for all is one that matches any name
        return not ignore.has_exceptions and ignore.excludes(path)

    def read_dockerfile(self) -> bytes:
        """The Dockerfile as it is.

        Raises:
            NotFound: there is none at its path.
            InvalidInput: it lies outside the context, or is too large.
        """
        name = self.dockerfile
        try:
            return self._read(name)
        except FileNotFoundError as error:
            if name == _DOCKERFILE and _DOCKERFILE.lower() in self._names(""):  # as BuildKit
                self.dockerfile = _DOCKERFILE.lower()
                return self.read_dockerfile()
            raise NotFound(
                f"'{name}' is not in the build context '{self.path}'",
                hint=self._similar(name) or "name the Dockerfile by -f, relative to the context",
            ) from error

    async def select(self, sources: Sequence[str], pivots: Sequence[int] = ()) -> Selection:
        """What a COPY with these sources takes: literal paths or patterns, relative to the context.

        Args:
            pivots: for ``--parents``, of each source the number of components that are not copied with it.

        Raises:
            BadSource: a source is not in the context, leads out of it, or is malformed; or
                ``.dockerignore`` is.
            Conflict: the context changed meanwhile.
        """

        def work(stop: Stop) -> Selection:
            found: list[Source] = []
            for number, pattern in enumerate(sources):
                try:
                    found += self._expand(pattern, stop, pivots[number] if pivots else None)
                except InvalidInput as error:
                    raise BadSource(number, error) from error
            digests = Learned(self._digests)
            return Selection(self._root, tuple(found), digests, owners=bool(self._image))

        return await in_thread(work)

    @functools.cached_property
    def _ignore(self) -> Ignore:
        if self._image:
            return Ignore()
        for name in (f"{self.dockerfile}.dockerignore", ".dockerignore"):
            try:
                return Ignore.parse(self._read_text(name), name)
            except FileNotFoundError:
                continue
        return Ignore()

    def _read_text(self, name: str) -> str:
        """A small text file of the context; ``FileNotFoundError`` if it is not there."""
        try:
            return self._read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"'{name}' is not text in UTF-8 (byte {error.start + 1})",
                hint="save the file as UTF-8",
            ) from error

    def _read(self, name: str) -> bytes:
        fd = self._open(name)
        try:
            return inroot.read_opened(fd, name, DOCKERFILE_LIMIT)
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise _too_large(fd, name) from error
            if error.errno == errno.EINVAL:
                raise InvalidInput(
                    f"'{name}' is not a regular file", hint="make it a text file, or remove it"
                ) from error
            raise oserrors.explain(error, f"'{name}' cannot be read") from error
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        """Find a path, links followed, as a path descriptor; ``FileNotFoundError`` if it is not there."""
        try:
            return self._open_inside(self._root, path, _FIND)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise InvalidInput(
                    f"'{path}' leads out of the build context",
                    hint="put the file itself into the context: links are followed only inside it",
                ) from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise FileNotFoundError(error.errno, error.strerror, path) from error
            raise oserrors.explain(error, f"'{path}' cannot be opened") from error

    def _expand(self, source: str, stop: Stop, pivot: int | None = None) -> Iterator[Source]:
        for found in self._found(source, stop):
            yield found if pivot is None else self._with_parents(found, pivot)

    def _found(self, source: str, stop: Stop) -> Iterator[Source]:
        path = _clean(source)
        if not patterns.is_pattern(path):
            yield self._source(path, stop)
            return
        # As in BuildKit, a pattern may match nothing: that is how Dockerfiles copy what may be missing.
        for name in self._glob(path):
            if not self._ignore.excludes(name):
                yield self._source(name, stop)

    def _with_parents(self, source: Source, pivot: int) -> Source:
        """A source that keeps the directories above it, from the pivot on."""
        parts = source.path.split("/")
        placed = "/".join(parts[pivot:])
        if not placed:
            return source
        above = []
        for end in range(pivot + 1, len(parts)):
            status = inroot.stat(self._root, "/".join(parts[:end]), follow=False)
            above.append((Entry("/".join(parts[:end]), status), "/".join(parts[pivot:end])))
        return dataclasses.replace(source, placed=placed, above=tuple(above))

    def _glob(self, pattern: str) -> list[str]:
        """The paths that match, sorted. Directories on the way may be links that stay inside."""
        found = [""]
        for part in pattern.split("/"):
            if part == "**":
                found = [below for directory in found for below in self._directories(directory)]
                continue
            matches = patterns.component(part).match
            found = [
                posixpath.join(directory, name)
                for directory in found
                for name in self._names(directory)
                if matches(name)
            ]
        return found

    def _directories(self, top: str) -> list[str]:
        """A directory and all below it; links are not followed."""
        entries = walk(self._root, top)
        return [entry.path for entry in entries if stat.S_ISDIR(entry.stat.st_mode)]

    def _names(self, directory: str) -> list[str]:
        try:
            fd = self._open_inside(self._root, directory or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))  # noqa: PTH208 - by descriptor
        finally:
            os.close(fd)

    def _source(self, path: str, stop: Stop) -> Source:
        try:
            fd = self._open(path)
        except FileNotFoundError as error:
            raise self._missing(path) from error
        try:
            status, real = os.fstat(fd), self._real_path(fd)
        finally:
            os.close(fd)
        if stat.S_ISDIR(status.st_mode):
            found = tuple(self._walk(real, stop))
            entries = tuple(entry for entry in found if not _is_special(entry))
            left_out = real != "" and len(found) == 1 and self._ignore.excludes(real)
        else:
            found = entries = (Entry(real, status),)
            left_out = self._ignore.excludes(path) or self._ignore.excludes(real)
        if left_out:
            raise InvalidInput(
                f"'{path}' is left out of the build context by '{self._ignore.source}'",
                hint=f"add a line '!{path}' to '{self._ignore.source}'",
            )
        return Source(
            posixpath.basename(path),
            real,
            entries,
            stat.S_ISDIR(status.st_mode),
            left_out=tuple(filter(_is_special, found)) if len(found) > len(entries) else (),
        )

    def _real_path(self, fd: int) -> str:
        """Where an open file lies, relative to the context, without links."""
        root = os.readlink(f"/proc/self/fd/{self._root}").rstrip("/")  # noqa: PTH115
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(root).lstrip("/")  # noqa: PTH115

    def _walk(self, path: str, stop: Stop) -> Iterable[Entry]:
        if not self._ignore.rules:
            return stop.watched(walk(self._root, path))

        def skip(entry: str, is_directory: bool) -> bool:
            stop.check()
            if is_directory and self._ignore.has_exceptions:
                return False
            return self._ignore.excludes(entry)

        entries = list(walk(self._root, path, skip=skip))
        if not self._ignore.has_exceptions:
            return entries
        return _without_idle_directories(entries, path, self._ignore)

    def _missing(self, path: str) -> KleeneError:
        where = "its root" if self._image else f"'{self.path}'"
        return InvalidInput(
            f"'{path}' is not in {self._name}",
            hint=self._similar(path) or f"paths are relative to {where}",
        )

    def _similar(self, path: str) -> str | None:
        parent, name = posixpath.split(path)
        close = difflib.get_close_matches(name, self._names(parent)[:10_000], n=3)
        if not close:
            return None
        return "did you mean " + " or ".join(f"'{posixpath.join(parent, c)}'" for c in close) + "?"


def _open_directory(path: str) -> int:
    try:
        return os.open(path, _FIND | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise NotFound(
            f"build context '{path}' does not exist", hint="name a directory that is there"
        ) from error
    except NotADirectoryError as error:
        raise InvalidInput(
            f"build context '{path}' is not a directory",
            hint="name the directory that it is in",
        ) from error
    except OSError as error:
        raise oserrors.explain(error, f"build context '{path}' cannot be opened") from error


def _too_large(fd: int, name: str) -> DockerfileError:
    """The error for a text that is too long: it points to where that begins."""
    with open(f"/proc/self/fd/{fd}", "rb") as file:  # noqa: PTH123 - a magic link, not a path
        text = file.read(DOCKERFILE_LIMIT).decode("utf-8-sig", errors="replace")
    source = text_source.Source(name, text)
    return DockerfileError(
        source,
        source.range(len(text) - 1, len(text)),
        f"the file goes on after {DOCKERFILE_LIMIT} bytes, which is the most",
        "put large texts into files of the context, and COPY them",
    )


def _is_special(entry: Entry) -> bool:
    return stat.S_IFMT(entry.stat.st_mode) in SPECIAL


def _clean(source: str) -> str:
    """A source without ``.`` and ``..``; a leading ``/`` means the context, as in Docker."""
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise InvalidInput(
            f"'{source}' lies outside the build context",
            hint="copy it into the context, or build with a context that holds it",
        )
    return path


def _without_idle_directories(entries: list[Entry], top: str, ignore: Ignore) -> list[Entry]:
    """The entries that stay, with the directories that are left out but hold one that stays."""
    needed = {top}
    for entry in entries:
        if ignore.excludes(entry.path):
            continue
        path = entry.path
        while path not in needed:
            needed.add(path)
            path = posixpath.dirname(path)
    return [entry for entry in entries if entry.path in needed]
