"""Execution instances under a keeper, as long as the daemon watches them.

Watching is all that is done here: the keeper and its process live without it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from kleene.runtime import conmon, pidfd
from kleene.runtime.attach import Attachment
from kleene.runtime.driver import Output

_UNKNOWN = 255  # of a process whose keeper was killed


class KeptProcess:
    """A :class:`kleene.runtime.driver.Process`.

    Args:
        pid: the process's id on the host; 0 if it has ended.
        keeper: of its keeper; 0 if it has ended.
        attachment: the connection to its output, if there is one.
    """

    def __init__(
        self,
        pid: int,
        keeper: int,
        directories: conmon.Directories,
        attachment: Attachment | None = None,
    ) -> None:
        self._pid = pid
        self._directories = directories
        self._attachment = attachment
        self._pidfd = pidfd.hold(pid) if pid else None
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch(keeper, self._keeper_ended)

    def _watch(self, pid: int, ended: Callable[[int], None]) -> None:
        fd = pidfd.hold(pid) if pid else None
        if fd is None:
            ended(pid)
        else:
            pidfd.on_end(fd, lambda: ended(pid))

    def _keeper_ended(self, keeper: int) -> None:
        """The keeper wrote the exit status, unless somebody killed it; then the process is ours to watch."""
        if keeper:
            pidfd.reap(keeper)
        status = self._directories.exit_status()
        if status is not None:
            self._finish(status)
        elif self._pid:
            self._watch(self._pid, self._orphan_ended)
        else:
            self._finish(_UNKNOWN)

    def _orphan_ended(self, pid: int) -> None:
        status = pidfd.reap(pid)
        self._finish(_UNKNOWN if status is None else status)

    def _finish(self, status: int) -> None:
        self._status.set_result(status)
        self._directories.retire()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    @property
    def pid(self) -> int:
        return self._pid

    def output(self) -> AsyncIterator[Output]:
        if self._attachment is None:
            raise RuntimeError("the process is not attached")
        return self._attachment.output()

    async def write(self, data: bytes) -> None:
        if self._attachment is not None:
            await self._attachment.write(data)

    async def close_stdin(self) -> None:
        if self._attachment is not None:
            await self._attachment.close_stdin()

    async def resize(self, rows: int, columns: int) -> None:
        conmon.resize(self._directories.live, rows, columns)

    async def signal(self, signum: int) -> None:
        if self._pidfd is not None:
            pidfd.send(self._pidfd, signum)

    async def wait(self) -> int:
        return await asyncio.shield(self._status)
