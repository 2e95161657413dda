"""Child processes: the only module that starts them.

Argument lists, never a shell; an environment of its own; standard input closed unless given; each child in
a session of its own, so that cancelling kills all that it started; no file descriptor inherited but those
named. A child never outlives the call that started it, except :func:`spawn`'s, which its caller owns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from kleene.errors import CommandFailed, HostUnavailable

DEFAULT_TIMEOUT = 120.0
"""Seconds after which a tool that should be quick is taken for hung."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STDERR_KEPT = 16 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """What a finished child left: its exit status, and both outputs, whole."""

    argv: Sequence[str]
    status: int
    stdout: bytes
    stderr: bytes

    def check(self) -> Completed:
        """Itself, if the status is 0.

        Raises:
            CommandFailed: it is not.
        """
        if self.status != 0:
            text = self.stderr[-_STDERR_KEPT:].decode(errors="replace")
            raise CommandFailed(self.argv, self.status, text)
        return self


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every child: a fixed ``PATH``, the C locale, and ``extra``."""
    return {"PATH": _PATH, "LC_ALL": "C", "HOME": "/root", **(extra or {})}


async def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
) -> asyncio.subprocess.Process:
    """Start a child that the caller owns: it must wait for it or kill it.

    Raises:
        HostUnavailable: the program is not installed.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            env=environment(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise HostUnavailable(
            f"program '{argv[0]}' is not installed",
            hint=f"install the package that has '{argv[0]}'",
        ) from error


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | int | None = None,
    stdout_fd: int | None = None,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - kills the whole process group
    most: int | None = None,
) -> Completed:
    """Run a child to its end; whatever its status, no exception (see :meth:`Completed.check`).

    Args:
        stdin: bytes to feed, a file descriptor, or ``None`` for an empty input.
        stdout_fd: where standard output goes instead of into the result.
        timeout: seconds; ``None`` for as long as it takes.
        most: bytes of each output, for a child that says what others tell it; not with ``stdin`` as bytes.

    Raises:
        HostUnavailable: the program is not installed, ran into the time limit, or said too much.
    """
    feed = stdin if isinstance(stdin, bytes) else None
    source = subprocess.PIPE if feed is not None else subprocess.DEVNULL
    process = await spawn(
        argv,
        env=env,
        stdin=stdin if isinstance(stdin, int) else source,
        stdout=subprocess.PIPE if stdout_fd is None else stdout_fd,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(timeout):
            if most is None:
                stdout, stderr = await process.communicate(feed)
            else:
                stdout, stderr = await _bounded(process, argv[0], most)
    except TimeoutError as error:
        raise HostUnavailable(
            f"'{argv[0]}' did not finish within {timeout:g} seconds",
            hint="the kernel's log may say why: dmesg; try again when the host has less to do",
            details=" ".join(argv),
        ) from error
    finally:
        await kill_group(process)
    assert process.returncode is not None
    return Completed(argv, process.returncode, stdout or b"", stderr or b"")


async def _bounded(
    process: asyncio.subprocess.Process, name: str, most: int
) -> tuple[bytes, bytes]:
    """Both outputs of a child that has ended; it is killed when one of them gets too long."""
    readers = [_read(process, pipe, most) for pipe in (process.stdout, process.stderr)]
    stdout, stderr = await asyncio.gather(*readers)
    await process.wait()
    if max(len(stdout), len(stderr)) > most:
        raise HostUnavailable(f"'{name}' said more than {most} bytes")
    return stdout, stderr


async def _read(
    process: asyncio.subprocess.Process, pipe: asyncio.StreamReader | None, most: int
) -> bytes:
    data = bytearray()
    while pipe is not None and (chunk := await pipe.read(_CHUNK)):
        data += chunk
        if len(data) > most:
            await kill_group(process)
            break
    return bytes(data)


async def stream(
    argv: Sequence[str],
    on_output: Callable[[bytes], Awaitable[None]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Completed:
    """Run a long child, handing on both outputs as they come, without a time limit.

    A slow ``on_output`` slows the child down; if it raises, the child is killed.

    The result's ``stdout`` is empty and its ``stderr`` the end of both outputs, for the error message.
    """
    process = await spawn(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd)
    assert process.stdout is not None
    tail = b""
    try:
        while chunk := await process.stdout.read(_CHUNK):
            tail = (tail + chunk)[-_STDERR_KEPT:]
            await on_output(chunk)
        status = await process.wait()
    finally:
        await kill_group(process)
    return Completed(argv, status, b"", tail)


async def kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill a child with all that it started in its session, if it still runs, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
