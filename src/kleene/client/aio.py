"""The asynchronous client: the operations of :class:`kleene.client.api.Client`, awaited.

    client = AsyncClient()
    for container in await client.containers.list(all=True):
        print(container.name, container.running)

It owns nothing between operations, so it needs no closing, and may be used by many tasks at a time.
"""

from __future__ import annotations

from kleene.client.address import DEFAULT_HOST
from kleene.client.async_operations import AsyncOperations
from kleene.client.async_runner import Runner
from kleene.client.operations import DEFAULT_TIMEOUT
from kleene.client.transport import Tls
from kleene.schemas.space import SystemUsage
from kleene.schemas.system import Info, Version


class AsyncClient(AsyncOperations):
    """A daemon's API in wire types, for asyncio.

    Every operation raises a KleeneError: what the daemon answered (NotFound, Conflict, InvalidInput,
    DaemonFault), or DaemonUnreachable.

    Args:
        host: ``http[s]:///PATH`` or ``http[s]://HOST[:PORT]``.
        timeout: seconds to wait for an answer; ``None`` waits for ever. Streams have none.
    """

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        *,
        tls: Tls | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self._runner = Runner(host, tls or Tls(), timeout)
        super().__init__(self._runner)

    async def version(self) -> Version:
        """Versions of the daemon and of its API."""
        return await self._runner.run(lambda client: client.version())

    async def info(self) -> Info:
        """The daemon and what it found on its host."""
        return await self._runner.run(lambda client: client.info())

    async def df(self) -> SystemUsage:
        """What all objects hold on disk, and what pruning would free."""
        return await self._runner.run(lambda client: client.df())
