"""The steps of a build, and the keys of the states after them.

Pure. A step is all that the solver needs to know of an instruction: everything is expanded, every path is
absolute, nothing refers to what other steps did.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from kleene.build.modes import Mode
from kleene.build.mounts import RunMount
from kleene.dockerfile.source import Range
from kleene.host.giturl import GitUrl

NetworkMode = Literal["default", "none", "host"]


@dataclass(frozen=True)
class Step:
    """An instruction of the Dockerfile.

    Attributes:
        number: from 1.
        text: the instruction as it was written, on one line, to be shown.
        range: its place in the Dockerfile.
    """

    number: int
    text: str
    range: Range

    def canonical(self) -> str | None:
        """What of the step decides the state after it; ``None`` if it changes no file."""
        return None


@dataclass(frozen=True)
class FromStep(Step):
    """The state to start from, which was looked up before there was a plan."""


@dataclass(frozen=True)
class ConfigStep(Step):
    """ENV, ARG, USER, CMD: known to the steps after it and to the image's configuration."""


@dataclass(frozen=True)
class RunStep(Step):
    """A command to run in the build container. The state after it has a snapshot.

    Attributes:
        args: the argument vector.
        env: the environment, as ``NAME=VALUE``.
        cwd: the working directory, absolute.
        user: ``NAME|UID[:GROUP|GID]``; ``""`` is root.
        proxies: names of variables in ``env`` that do not count for the key: a proxy is a way to the
            same files.
        mounts: for this command alone.
        network: ``default`` is the build container's.
        insecure: without confinement, as ``--security=insecure`` asks.
    """

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    proxies: frozenset[str] = frozenset()
    mounts: tuple[RunMount, ...] = ()
    network: NetworkMode = "default"
    insecure: bool = False

    def canonical(self) -> str:
        env = sorted(entry for entry in self.env if entry.partition("=")[0] not in self.proxies)
        said: list[object] = ["RUN", self.args, env, self.cwd, self.user]
        if self.mounts or self.network != "default" or self.insecure:
            mounts = [mount.canonical() for mount in self.mounts]
            said += [mounts, self.network, self.insecure]
        return json.dumps(said)


@dataclass(frozen=True)
class InlineFile:
    """A file that stands in the Dockerfile itself: mode 0644 unless the step says otherwise."""

    name: str
    content: str


@dataclass(frozen=True)
class CopyStep(Step):
    """Files to copy from the context, a stage or an image. The state after it has a snapshot.

    Attributes:
        sources: patterns, relative to where they come from, none of which leads out of it by its text; ``.``
            is the context itself, or all of the stage or image.
        files: files to write, after those of ``sources``.
        destination: absolute and clean.
        into_directory: the destination was written as a directory: with a ``/`` at its end.
        chown: ``USER[:GROUP]``, to be looked up in the image; ``None`` is root.
        chmod: mode for all that is copied, or a change of it; ``None`` keeps each its own.
        origin: the key of the stage, or the reference of the image, to copy from; ``None`` is the context.
            What comes from there keeps its owners.
        exclude: patterns of what is left out, as in ``.dockerignore``, seen from each source.
        pivots: with ``--parents``, how many components of each source are above the directories that are
            copied with it.
        places: of the sources in the Dockerfile.
        context: name of the directory that the user gave, if that is meant by the context.
    """

    sources: tuple[str, ...]
    destination: str
    into_directory: bool
    chown: str | None = None
    chmod: Mode | None = None
    files: tuple[InlineFile, ...] = ()
    origin: int | str | None = None
    exclude: tuple[str, ...] = ()
    pivots: tuple[int, ...] = ()
    places: tuple[Range, ...] = field(default=(), compare=False)
    context: str = field(default="", compare=False)

    def canonical(self) -> str:
        files = [(file.name, file.content) for file in self.files]
        where = [self.sources, files, self.destination, self.into_directory]
        # Not which: the digest of what is copied says all of it.
        elsewhere = self.origin is not None
        more = [self.exclude, self.pivots] if self.exclude or self.pivots else []
        return json.dumps(["COPY", *where, self.chown, self.chmod, elsewhere, *more])


@dataclass(frozen=True)
class Url:
    """A file on a server. ``name``: in a destination directory; ``""`` if the URL has none."""

    url: str
    name: str


@dataclass(frozen=True)
class AddStep(CopyStep):
    """As :class:`CopyStep`, but archives of the context are extracted, and files come from servers too.

    Attributes:
        urls: they come after the files of the context.
        checksum: ``sha256:HEX`` that the one URL must have; ``None`` takes what comes.
        repositories: git repositories; their files come last.
        unpack: whether archives are extracted; ``None``: those of the context are, those of servers not.
    """

    urls: tuple[Url, ...] = ()
    checksum: str | None = None
    repositories: tuple[GitUrl, ...] = ()
    unpack: bool | None = None

    def canonical(self) -> str:
        urls = [(url.url, url.name) for url in self.urls]
        said: list[object] = ["ADD", super().canonical(), urls]
        if self.repositories or self.unpack is not None:
            # Which commit is in the digest, and not by which name or server.
            kept = [(repo.subdir, repo.keep_git_dir, repo.submodules) for repo in self.repositories]
            said += [kept, self.unpack]
        return json.dumps(said)


@dataclass(frozen=True)
class WorkdirStep(Step):
    """A directory to make if it is missing. It is part of the next step's snapshot.

    Attributes:
        path: absolute and clean.
        user: owner of the directories that are made; as in :class:`RunStep`.
    """

    path: str
    user: str

    def canonical(self) -> str:
        return json.dumps(["WORKDIR", self.path, self.user])


def step_key(
    parent_key: str, step: Step, *, copied_digest: str | None = None, environment: str = ""
) -> str:
    """The key in the build cache of the state after a step: 64 hex digits.

    Steps that change no file leave the key as it is: what they decide is in the keys of the steps that
    it matters to.

    Args:
        parent_key: of the state before the step; the id of the snapshot that the build starts from.
        copied_digest: of what a :class:`CopyStep` copies from the context, with the names.
        environment: canonical text of what else the state may depend on: mounts, the container's options.
    """
    canonical = step.canonical()
    if canonical is None:
        return parent_key
    said = json.dumps([parent_key, canonical, copied_digest, environment])
    return hashlib.sha256(said.encode()).hexdigest()
