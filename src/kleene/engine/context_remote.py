"""A build context that a server has: a tar archive, compressed or not, or a Dockerfile alone."""

from __future__ import annotations

from pathlib import Path

from kleene.build.context import DOCKERFILE_LIMIT
from kleene.build.events import Emit, ProgressMade
from kleene.contexts.kinds import ENOUGH, is_archive
from kleene.engine.apt_sources import without_password
from kleene.engine.context_store import ContextLimits, extract
from kleene.engine.download import Remote, open_url
from kleene.errors import InvalidInput
from kleene.host.decompress import Reader
from kleene.host.threads import Stop, in_thread


async def fetched(url: str, directory: Path, limits: ContextLimits, emit: Emit) -> bytes | None:
    """Fetch a context into an empty directory; the Dockerfile, if it is nothing else.

    Raises:
        NotFound, HostUnavailable: there is nothing, or the server cannot be reached.
        InvalidInput: it is neither, too large, damaged, or tries to get out of the directory.
    """
    counted = _Counted(limits.size)

    def work(stop: Stop) -> bytes | None:
        with open_url(url, stop.check) as remote:
            return counted.take(remote, directory, limits, stop)

    async def watch() -> None:
        await emit(ProgressMade(f"fetch {without_password(url)}", counted.done, counted.total))

    return await in_thread(work, watch=watch)


class _Counted:
    """A source that is read once, and how far that is."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.done = 0
        self.total: int | None = None
        self._source: Reader
        self._head = b""
        self._stop: Stop

    def take(
        self, remote: Remote, directory: Path, limits: ContextLimits, stop: Stop
    ) -> bytes | None:
        """Extract the archive that it is, or return the Dockerfile."""
        self._source, self._stop, self.total = remote.stream, stop, remote.total
        if remote.total is not None and remote.total > self._limit:
            raise _too_large(remote.name, self._limit)
        self._head = head = self._at_least(ENOUGH)
        if is_archive(head):
            extract(self, directory, remote.name, limits)
            return None
        self._head = b""
        text = head + self._at_least(DOCKERFILE_LIMIT + 1 - len(head))
        if len(text) > DOCKERFILE_LIMIT or b"\0" in text:
            raise InvalidInput(
                f"'{remote.name}' is neither a tar archive nor a Dockerfile",
                hint="give the URL of a .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2, or of a Dockerfile",
            )
        return text

    def _at_least(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        return data

    def read(self, size: int, /) -> bytes:
        """The next bytes. Raises InvalidInput when they are too many."""
        self._stop.check()
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        data = self._source.read(size)
        self.done += len(data)
        if self.done > self._limit:
            raise _too_large("the context", self._limit)
        return data


def _too_large(name: str, limit: int) -> InvalidInput:
    return InvalidInput(
        f"'{name}' is too large: the most is {limit} bytes",
        hint="raise 'context_max_size' in the daemon's configuration",
    )
