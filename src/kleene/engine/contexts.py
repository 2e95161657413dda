"""Build contexts: where the files of a build come from, and how clients on other machines bring theirs."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kleene.build.events import Emit, ProgressMade
from kleene.contexts.kinds import is_remote
from kleene.engine import authorization
from kleene.engine.apt_sources import without_password
from kleene.engine.build_arguments import keeps_git_dir
from kleene.engine.chunks import read_in_thread
from kleene.engine.context_remote import fetched
from kleene.engine.context_store import ContextStore, Stored
from kleene.engine.core import Core
from kleene.errors import InvalidInput
from kleene.host import git, giturl
from kleene.host.archive import Bounds
from kleene.host.threads import in_thread
from kleene.schemas.contexts import ContextOffer
from kleene.schemas.images import ImageBuildConfig

_DIRECTORY = "contexts"
"""In the data directory."""


@dataclass(frozen=True)
class Place:
    """Where a context is while it is built from.

    Attributes:
        path: an absolute path on this host.
        name: what the user calls it.
        dockerfile: the Dockerfile, if it is no file of the context.
    """

    path: str
    name: str
    dockerfile: bytes | None = None


class Contexts:
    """The contexts of one daemon."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._made: ContextStore | None = None
        self._making = asyncio.Lock()
        self._uploads = 0
        self._bounding: asyncio.Task[None] | None = None

    async def stored(self, before: float = math.inf) -> list[Stored]:
        """What of contexts is kept: :meth:`ContextStore.stored`."""
        if not self._is_there:
            return []
        store = await self._store()
        return await in_thread(lambda _: store.stored(before))

    async def discard(self, ids: Collection[str] | None, before: float = math.inf) -> list[str]:
        """Take away what is idle: :meth:`ContextStore.discard`."""
        if not self._is_there:
            return []
        store = await self._store()
        return await in_thread(lambda _: store.discard(ids, before))

    async def keep_bounds(self, interval: float) -> NoReturn:
        """See now and then that what is kept is within the limits. ``interval``: in seconds."""
        while True:
            await asyncio.sleep(interval)
            await self._prune()

    async def _prune(self) -> None:
        if self._is_there:
            store = await self._store()
            await in_thread(lambda _: store.prune())

    @property
    def _is_there(self) -> bool:
        return self._made is not None or (self._core.platform.root / _DIRECTORY).exists()

    def _bound(self) -> None:
        """Have the limits hold, beside who has just sent something: no other build need come for that."""
        self._uploads += 1
        if self._bounding is None or self._bounding.done():
            self._bounding = self._core.background(self._after_uploads(), "pruning build contexts")

    async def _after_uploads(self) -> None:
        seen = 0
        while seen != self._uploads:
            seen = self._uploads
            await self._prune()
            # By then nothing of it is too young to go.
            await asyncio.sleep(self._core.platform.contexts.young + 1)
        await self._prune()

    async def _store(self) -> ContextStore:
        # Made with the first context that is not a directory of this host: most daemons never see one.
        # In a thread, for it takes away what a kill left.
        async with self._making:
            if self._made is None:
                platform = self._core.platform
                where, limits = platform.root / _DIRECTORY, platform.contexts
                self._made = await in_thread(lambda _: ContextStore(where, limits))
        return self._made

    def login(self, config: ImageBuildConfig) -> git.Login:
        """How git logs in where a build fetches from a repository: agent ``default``, or a secret."""
        agent = config.ssh.get("default")
        secrets = {name: secret.data for name, secret in config.secrets.items()}
        return git.Login(
            None if agent is None else Path(agent),
            self._core.platform.known_hosts,
            authorization.for_repositories(secrets),
        )

    async def offer(self, chunks: AsyncIterator[bytes]) -> ContextOffer:
        """Take the list of a context (``contexts.manifest``); what is missing of it.

        Raises:
            InvalidInput: the list is malformed, too large, or not to be trusted.
        """
        store = await self._store()
        try:
            return await read_in_thread(chunks, store.offer)
        finally:
            self._bound()

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """Take contents of files (``schemas.contexts``). What is whole is kept, whatever comes after it.

        Raises:
            InvalidInput: the stream breaks off, or is none of contents.
            Conflict: a file changed while it was sent.
            HostUnavailable: there is no space.
        """
        store = await self._store()
        limit = store.limits.size
        try:
            await read_in_thread(chunks, lambda source: store.blobs.receive(source, limit))
        finally:
            self._bound()

    async def receive_archive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Make a context of a tar archive; ``token``: 32 hex digits that shall name it.

        Raises:
            InvalidInput: it is damaged, too large, no tar archive, or tries to get out of its directory.
        """
        store = await self._store()
        try:
            await read_in_thread(chunks, lambda source: store.extract(token, source))
        finally:
            self._bound()

    @contextlib.asynccontextmanager
    async def opened(self, config: ImageBuildConfig, emit: Emit) -> AsyncIterator[Place]:
        """The context of a build, for as long as the block lasts.

        Raises:
            NotFound, InvalidInput, Conflict, HostUnavailable: there is none, or it cannot be had.
        """
        if config.upload:
            async with self._uploaded(config.upload, config.dockerfile_content) as place:
                yield place
        elif is_remote(config.context):
            async with self._remote(config, emit) as place:
                yield place
        elif not config.context:
            async with (await self._store()).empty() as directory:
                yield Place(str(directory), "the empty context", _needed(config))
        else:
            yield Place(config.context, config.context, config.dockerfile_content)

    @contextlib.asynccontextmanager
    async def _uploaded(self, context: str, dockerfile: bytes | None) -> AsyncIterator[Place]:
        store = await self._store()
        try:
            with store.opened(context) as tree:
                name = await in_thread(lambda stop: store.make(context, stop))
                yield Place(str(tree), name, dockerfile)
        finally:
            self._bound()

    @contextlib.asynccontextmanager
    async def _remote(self, config: ImageBuildConfig, emit: Emit) -> AsyncIterator[Place]:
        url, given = config.context, config.dockerfile_content
        store = await self._store()
        async with store.empty() as directory:
            if giturl.is_git(url):
                repository = giturl.parse(url)
                await emit(ProgressMade(f"fetch {repository.shown}", 0))
                bounds = Bounds(store.limits.size, store.limits.entries)
                found = await git.fetch(
                    repository,
                    directory,
                    keep_git_dir=keeps_git_dir(config),
                    login=self.login(config),
                    bounds=bounds,
                )
                yield Place(str(found.path), repository.shown, given)
                return
            text = await fetched(url, directory, store.limits, emit)
            yield Place(str(directory), without_password(url), text if given is None else given)


def _needed(config: ImageBuildConfig) -> bytes:
    if config.dockerfile_content is None:
        raise InvalidInput(
            "the build has neither a context nor a Dockerfile",
            hint="name a directory: klee build .",
        )
    return config.dockerfile_content
