"""Volumes as tar streams: one out of a state of a volume, and one into an empty one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator

from kleene.engine import tars
from kleene.engine.core import Core
from kleene.engine.volume_states import VolumeStates
from kleene.engine.volumes import Volumes
from kleene.errors import Conflict
from kleene.host import inroot
from kleene.schemas.volumes import VolumeConfig

_DIRECTORY = inroot.O_PATH | os.O_DIRECTORY


class VolumeArchives:
    """Exports and imports of all volumes."""

    def __init__(self, core: Core, volumes: Volumes, states: VolumeStates) -> None:
        self._core = core
        self._volumes = volumes
        self._states = states

    async def export(self, name: str, snapshot: str) -> AsyncGenerator[bytes, None]:
        """A tar stream of a volume as it is at this moment, or as a snapshot has it.

        Raises:
            NotFound: no such volume, or no such snapshot of it.
        """
        stack = contextlib.AsyncExitStack()
        directory = await stack.enter_async_context(self._states.copy(name, snapshot))
        return await tars.apart(self._core, _stream(stack, os.open(directory, _DIRECTORY)))

    async def import_(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Fill a volume, which is made if there is none; its name. If it fails, nothing is left.

        Raises:
            Conflict: there is something in it, or containers that mount it run: what they write to it
                meanwhile would be lost if it fails.
            InvalidInput: the stream is damaged, or tries to get out of the volume.
            HostUnavailable: no space, or the quota is used up.
        """
        new = self._core.volumes.volumes.get(name) is None
        await self._volumes.create(VolumeConfig(name))
        async with self._core.locks.hold(f"volume/{name}"):
            record = self._volumes.get(name)
            target = self._volumes.mountpoint(name)
            self._check_idle(name)
            if any(target.iterdir()):
                raise Conflict(
                    f"volume '{name}' is not empty",
                    hint="import into a new one: klee volume import NAME",
                )
            fd = os.open(target, _DIRECTORY)
            try:
                await tars.extract(fd, chunks, f"import to {name}")
            except BaseException:
                # A container that was made meanwhile goes on having the volume.
                gone = new and not self._core.containers.mounting(name)
                await (
                    self._volumes.destroy(record) if gone else self._states.empty(record.dataset)
                )
                raise
            finally:
                os.close(fd)
        self._core.events.emit("volume", "import", name, name)
        return name

    def _check_idle(self, name: str) -> None:
        if users := [user for user in self._core.containers.mounting(name) if user.running]:
            found = sorted(user.name for user in users)
            listed = ", ".join(f"'{user}'" for user in found)
            raise Conflict(
                f"volume '{name}' is in use: running containers mount it: {listed}",
                hint=f"stop them first: klee stop {' '.join(found)}",
            )


async def _stream(stack: contextlib.AsyncExitStack, root: int) -> AsyncGenerator[bytes, None]:
    async with stack, contextlib.aclosing(tars.stream(root, "/")) as chunks:
        async for chunk in chunks:
            yield chunk
