"""Calls of the runtime: each is run to its end, and what it leaves behind is reaped.

A :class:`Calls` lives as long as its driver. What it does in the background concerns nobody, and may end with
the daemon.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from kleene.errors import HostUnavailable
from kleene.host import process
from kleene.runtime import pidfd
from kleene.runtime.cgroups import Cgroups
from kleene.runtime.conmon import Runtime

_TIMEOUT = 60.0  # seconds for the runtime to bring up a container or a process
_PAUSES = (0.002, 0.02, 0.2, 2.0, 5.0)  # seconds between looks for processes that the runtime left


class Calls:
    """Calls one runtime."""

    def __init__(self, runtime: Runtime, groups: Cgroups, *, helpers: int) -> None:
        """
        Args:
            helpers: how many processes that it forked end just after it, where it made a container.
        """
        self._runtime = runtime
        self._groups = groups
        self._helpers = helpers
        self._left = 0  # helpers that are about to end
        self._background: set[asyncio.Task[None]] = set()

    async def run(self, log: Path, *arguments: str) -> int:
        """Bring up a container; the exit status. See :meth:`execute`."""
        try:
            status = await self.execute(log, *arguments)
        except BaseException:
            # Else the container's init, if it is there, is the helper's child, and nobody could reap it.
            await asyncio.shield(self._reap_helpers())
            raise
        self._in_background(self._reap_helpers())
        return status

    async def execute(
        self,
        log: Path,
        *arguments: str,
        stdin: int = DEVNULL,
        stdout: int = DEVNULL,
        stderr: int = DEVNULL,
    ) -> int:
        """Call the runtime; the exit status. It comes to its end also when this is cancelled: half-way, it
        would leave processes that nobody knows. The process that it leaves running keeps the streams.

        Args:
            log: gets the runtime's errors, as JSON.

        Raises:
            HostUnavailable: it took too long.
        """
        self.warm_up()
        with self._runtime.command(log, *arguments) as argv:
            running = asyncio.ensure_future(_finish(argv, stdin, stdout, stderr))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait((running,))
                raise

    def warm_up(self) -> None:
        """See :meth:`kleene.runtime.cgroups.Cgroups.warm_up`; nobody waits for it."""
        self._in_background(self._groups.warm_up())

    async def _reap_helpers(self) -> None:
        """Reap the processes in which the runtime made containers: they end just after the runtime."""
        self._left += self._helpers
        for pause in _PAUSES:
            if self._left == 0:
                return
            await asyncio.sleep(pause)
            self._left = max(self._left - pidfd.reap_helpers(), 0)
        self._left = 0  # a call that failed may have left none

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _finish(argv: list[str], stdin: int, stdout: int, stderr: int) -> int:
    child = await process.spawn(argv, stdin=stdin, stdout=stdout, stderr=stderr)
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await child.wait()
    except TimeoutError as error:
        raise HostUnavailable(
            f"the container runtime did not finish within {_TIMEOUT:g} seconds",
            hint="the kernel's log may say why: dmesg; try again when the host has less to do",
            details=" ".join(argv),
        ) from error
    finally:
        await process.kill_group(child)
