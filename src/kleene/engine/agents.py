"""The SSH agent of a build step: a socket of the daemon's that hands everything on to the user's agent.

The user's own socket is not mounted: an agent answers root and its owner only, and the socket in the step
has the owner and mode that the Dockerfile asks for. Lives as long as the step.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from kleene.errors import HostUnavailable

_CHUNK = 65536


@contextlib.asynccontextmanager
async def forwarded(agent: str, run: Path, mode: int, uid: int, gid: int) -> AsyncIterator[Path]:
    """A directory with a socket ``agent`` in it, as long as the block lasts.

    Args:
        agent: path of the agent's socket on this host.
        run: where the socket is made.

    Raises:
        HostUnavailable: the agent does not answer.
    """
    await _try(agent)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_hand_on(agent, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    with tempfile.TemporaryDirectory(prefix="agent-", dir=run) as directory:
        path = Path(directory, "agent")
        server = await asyncio.start_unix_server(connected, path)
        try:
            os.chown(path, uid, gid)
            os.chmod(path, mode)  # noqa: PTH101
            yield Path(directory)
        finally:
            server.close()
            for task in list(connections):
                task.cancel()


async def _try(agent: str) -> None:
    try:
        _, writer = await asyncio.open_unix_connection(agent)
    except OSError as error:
        raise HostUnavailable(
            f"the SSH agent at '{agent}' does not answer: {(error.strerror or 'no answer').lower()}",
            hint="start one on the daemon's host: eval $(ssh-agent); ssh-add",
        ) from error
    writer.close()


async def _hand_on(agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pumps: list[asyncio.Future[None]] = []
    try:
        with contextlib.suppress(OSError):
            theirs, to_them = await asyncio.open_unix_connection(agent)
            try:
                pumps = [
                    asyncio.ensure_future(_pump(reader, to_them)),
                    asyncio.ensure_future(_pump(theirs, writer)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                to_them.close()
    finally:
        # What the step left running may not hold the connection beyond the step.
        writer.close()
        for pump in pumps:
            pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
