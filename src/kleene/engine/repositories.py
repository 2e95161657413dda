"""Git repositories that a build adds: fetched into a directory of their own, for one step."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from kleene.build.context import Context
from kleene.host import git, removal
from kleene.host.archive import Bounds
from kleene.host.giturl import GitUrl


class Repositories:
    """Fetches them.

    Args:
        directory: where they are kept meanwhile.
        login: how git logs in.
        bounds: of each.
    """

    def __init__(self, directory: Path, login: git.Login, bounds: Bounds) -> None:
        self._bounds = bounds
        self._directory = directory
        self._login = login

    async def commit(self, repository: GitUrl) -> str:
        """The commit that is meant now; the text itself if it is the beginning of a commit's id.

        Raises:
            NotFound, Conflict, HostUnavailable: as :func:`git.resolve`.
        """
        resolved = await git.resolve(repository, login=self._login)
        return repository.ref if resolved is None else resolved.commit

    @contextlib.asynccontextmanager
    async def fetched(self, repository: GitUrl) -> AsyncIterator[Context]:
        """Its files, as long as the block lasts.

        Raises:
            InvalidInput, NotFound, Conflict, HostUnavailable: as :func:`git.fetch`.
        """
        self._directory.mkdir(mode=0o700, exist_ok=True)
        into = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            found = await git.fetch(repository, into, login=self._login, bounds=self._bounds)
            await asyncio.to_thread(into.chmod, 0o755)
            with await asyncio.to_thread(Context.of_image, found.path, repository.shown) as tree:
                yield tree
        finally:
            await asyncio.shield(asyncio.to_thread(removal.discard, into))
