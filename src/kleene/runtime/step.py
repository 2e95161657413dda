"""Processes of a build: without a keeper, watched by the daemon alone.

The runtime starts the process with pipes of the daemon's for its output, and ends; the process becomes a
child of the daemon (see :func:`kleene.runtime.pidfd.become_subreaper`), which so has its exit status. When it
has ended, what is in the pipes is read and they are closed, whoever else still has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Literal

from kleene.runtime import pidfd
from kleene.runtime.driver import Output

_CHUNK = 65536  # the size of a pipe (pipe(7))
_UNKNOWN = 255  # of a process that somebody else reaped


class Pipes:
    """The ends of a process's standard streams: the child's to give away, the daemon's to use."""

    def __init__(self, *, stdin: bool) -> None:
        self.stdout, self.child_stdout = os.pipe()
        self.stderr, self.child_stderr = os.pipe()
        self.child_stdin, self.stdin = (
            os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
        )
        for fd in (self.stdout, self.stderr, *([self.stdin] if stdin else [])):
            os.set_blocking(fd, False)

    def close_child(self) -> None:
        for fd in (self.child_stdin, self.child_stdout, self.child_stderr):
            os.close(fd)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """The daemon's ends."""
        self.close_stdin()
        self.close_output()

    def close_output(self) -> None:
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1


class StepProcess:
    """A :class:`kleene.runtime.driver.Process`. Cancelling :meth:`wait`, or leaving :meth:`output` before its
    end, kills the process with all that it started.

    Args:
        pid: a child of the daemon, or soon to be one.
        kill_rest: kills what else the step started in the container.
        clean_up: called when the process has ended.
    """

    def __init__(
        self,
        pid: int,
        pipes: Pipes,
        *,
        kill_rest: Callable[[], None],
        clean_up: Callable[[], None],
    ) -> None:
        self._pid = pid
        self._pipes = pipes
        self._kill_rest = kill_rest
        self._clean_up = clean_up
        self._pidfd = pidfd.hold(pid)
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watched = pidfd.hold(pid)
        if watched is None:
            self._ended()
        else:
            pidfd.on_end(watched, self._ended)

    def _ended(self) -> None:
        status = pidfd.reap(self._pid)
        self._status.set_result(_UNKNOWN if status is None else status)
        self._pipes.close_stdin()
        self._clean_up()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    @property
    def pid(self) -> int:
        return self._pid

    async def output(self) -> AsyncIterator[Output]:
        finished = False
        try:
            while not self._status.done():
                await self._something_happened()
                for output in self._available():
                    yield output
            for output in self._available():
                yield output
            finished = True
        finally:
            self._pipes.close_output()
            if not finished:
                self._kill()

    async def _something_happened(self) -> None:
        """There is output, or the process has ended."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        fds = [fd for fd in (self._pipes.stdout, self._pipes.stderr) if fd >= 0]

        def wake(_: object = None) -> None:
            event.set()

        for fd in fds:
            loop.add_reader(fd, wake)
        self._status.add_done_callback(wake)
        try:
            await event.wait()
        finally:
            self._status.remove_done_callback(wake)
            for fd in fds:
                loop.remove_reader(fd)

    def _available(self) -> list[Output]:
        """What is in the pipes: a pipe holds no more than a chunk."""
        streams: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stderr")
        return [Output(stream, data) for stream in streams if (data := self._read(stream))]

    def _read(self, stream: Literal["stdout", "stderr"]) -> bytes:
        """A chunk; empty if there is none. A pipe that all writers have closed is closed here too."""
        fd: int = getattr(self._pipes, stream)
        if fd < 0:
            return b""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            os.close(fd)
            setattr(self._pipes, stream, -1)
        return data

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._pipes.stdin >= 0:
            try:
                view = view[os.write(self._pipes.stdin, view) :]
            except BlockingIOError:
                await _writable(self._pipes.stdin)
            except BrokenPipeError:
                return

    async def close_stdin(self) -> None:
        self._pipes.close_stdin()

    async def resize(self, rows: int, columns: int) -> None:
        """A step has no terminal."""

    async def signal(self, signum: int) -> None:
        if self._pidfd is not None:
            pidfd.send(self._pidfd, signum)

    async def wait(self) -> int:
        try:
            return await asyncio.shield(self._status)
        except asyncio.CancelledError:
            self._kill()
            raise

    def _kill(self) -> None:
        if self._pidfd is not None:
            pidfd.send(self._pidfd, signal.SIGKILL)
        self._kill_rest()


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_writer(fd, event.set)
    try:
        await event.wait()
    finally:
        with contextlib.suppress(ValueError, OSError):
            loop.remove_writer(fd)
