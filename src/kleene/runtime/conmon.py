"""Keepers: a conmon for each execution instance, which holds its terminal, log and exit status.

A keeper is started by the daemon and lives as long as its process, also without the daemon. It works in two
directories of the instance: one for what is of use while it lives (its sockets, FIFOs and pid files), one for
what stays: the log and the file with the exit status. Facts: conmon(8) and its source, version 2.1.6.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kleene.errors import HostUnavailable
from kleene.host import process
from kleene.runtime import attach, logseries, pidfd
from kleene.runtime.program import Program

_START_TIMEOUT = 60.0  # seconds

_LINE = 199
"""Bytes of a line on the FIFO for window sizes: conmon reads that many at once. If it read several lines, it
would take the first for all of them (2.1.6)."""


class StartFailed(Exception):
    """The process did not start; the text is what the keeper and the runtime said."""


@dataclass(frozen=True)
class Directories:
    """Of one instance.

    Attributes:
        live: made before the keeper starts; may be removed when it has ended.
        kept: made before the keeper starts; has the log and the exit status.
        container: names the file with the exit status.
    """

    live: Path
    kept: Path
    container: str

    @property
    def process(self) -> Path:
        """The process to start, as the runtime takes it."""
        return self.live / "process.json"

    @property
    def log(self) -> Path:
        return self.kept / "log"

    def make(self) -> None:
        """Make both directories.

        Raises:
            FileExistsError: there is an instance of this name.
        """
        self.live.mkdir(mode=0o700)
        self.kept.mkdir(mode=0o700, parents=True)

    def retire(self) -> None:
        """Remove what is of no use when the keeper has ended."""
        shutil.rmtree(self.live, ignore_errors=True)

    def remove(self) -> None:
        """Remove both, of an instance that did not start, or has no log."""
        self.retire()
        shutil.rmtree(self.kept, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.kept.parent.rmdir()

    def keeper_pid(self) -> int | None:
        return _read_number(self.live / "keeper.pid")

    def process_pid(self) -> int | None:
        return _read_number(self.live / "pid")

    def note_session(self, pid: int) -> int:
        """Keep and return the session of the process, which may end before the others in it."""
        session = pidfd.session(pid)
        (self.live / "session").write_text(str(session))
        return session

    def session(self) -> int | None:
        """Of a step: runc makes its process the leader of a session, crun one that has ended then."""
        if (noted := _read_number(self.live / "session")) is not None:
            return noted
        pid = self.process_pid()
        return None if pid is None else pidfd.session(pid) or pid

    def exit_status(self) -> int | None:
        """``None`` as long as the process has not ended, or if the keeper was killed."""
        return _read_number(self.kept / self.container)


@dataclass(frozen=True)
class Runtime:
    """How the runtime is called: the program and its root directory, and the keeper's path."""

    program: Program
    root: Path
    conmon: str

    @contextlib.contextmanager
    def command(self, log: Path, *args: str) -> Iterator[list[str]]:
        """An argument vector, to be used within the block; the runtime's errors go to ``log``, as JSON."""
        options = ("--root", str(self.root), "--log", str(log), "--log-format", "json")
        with self.program.ready() as words:
            yield [*words, *options, *args]


@dataclass(frozen=True)
class Started:
    """A keeper and its process, by their ids; the connection, if it was asked for."""

    keeper: int
    pid: int
    connection: socket.socket | None


async def start(
    runtime: Runtime,
    directories: Directories,
    *,
    terminal: bool,
    stdin: bool,
    attached: bool,
    log_size: int,
    on_go: Callable[[], None],
) -> Started:
    """Start the process in ``directories.process`` under a keeper.

    With ``attached``, the process starts only when the connection stands, so that no output is lost.
    Cancelled, it lets the start come to its end, which it can then undo.

    Args:
        log_size: bytes after which the keeper begins its log anew, if nobody had it do so before; 0 is never.
        on_go: called when the runtime is about to be started.

    Raises:
        StartFailed: nothing of it runs.
        HostUnavailable: conmon is not installed.
    """
    options = _options(terminal=terminal, stdin=stdin, attached=attached, log_size=log_size)
    directories.log.touch(mode=0o600)
    logseries.secure(directories.log)
    starting = asyncio.ensure_future(
        _start(runtime, options, directories, on_go, attached=attached)
    )
    try:
        return await asyncio.shield(starting)
    except BaseException:
        with contextlib.suppress(StartFailed, HostUnavailable):
            connection = (await starting).connection
            if connection is not None:
                connection.close()
        await end(directories)
        raise


async def _start(
    runtime: Runtime,
    options: Sequence[str],
    directories: Directories,
    on_go: Callable[[], None],
    *,
    attached: bool,
) -> Started:
    connection: socket.socket | None = None
    try:
        async with asyncio.timeout(_START_TIMEOUT), contextlib.AsyncExitStack() as pipes:
            words = pipes.enter_context(runtime.command(directories.live / "runtime.log"))
            argv = [*_argv(runtime.conmon, words, directories), *options]
            sync = _Pipe(pipes)
            if attached:
                ready, go = _Pipe(pipes), _Pipe(pipes, child_reads=True)
                os.write(go.own, b"\n")  # lets it come up
                await _spawn(argv, directories.live, SYNC=sync, ATTACH=ready, START=go)
                await ready.line()
                connection = _connect(directories.live)
                on_go()
                os.write(go.own, b"\n")  # lets it start the process
            else:
                await _spawn(argv, directories.live, SYNC=sync)
                on_go()
            pid = _process_id(await sync.line())
        if (keeper := directories.keeper_pid()) is None:
            raise StartFailed("conmon did not tell its process id")
        return Started(keeper, pid, connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, TimeoutError):
            raise StartFailed(f"not started within {_START_TIMEOUT:g} seconds") from error
        raise


def _argv(keeper: str, runtime: Sequence[str], directories: Directories) -> list[str]:
    live, kept = str(directories.live), str(directories.kept)
    return [
        keeper,
        "--api-version",
        "1",
        *("--cid", directories.container),
        *("--cuuid", directories.live.name),
        *("--runtime", runtime[0]),
        *(f"--runtime-arg={word}" for word in runtime[1:]),
        *("--bundle", live),
        *("--full-attach",),
        *("--container-pidfile", f"{live}/pid"),
        *("--conmon-pidfile", f"{live}/keeper.pid"),
        *("--exit-dir", kept),
        *("--log-path", f"k8s-file:{directories.log}"),
        *("--no-sync-log",),
        *("--exec", "--exec-process-spec", str(directories.process)),
    ]


def _options(*, terminal: bool, stdin: bool, attached: bool, log_size: int) -> list[str]:
    return [
        *(["--log-size-max", str(log_size)] if log_size else []),
        *(["--exec-attach"] if attached else []),
        *(["--terminal"] if terminal else []),
        *(["--stdin"] if stdin else []),
        # A terminal's input has no end but what is typed: who leaves does not end it for the others.
        *(["--leave-stdin-open"] if stdin and terminal else []),
    ]


class _Pipe:
    """A pipe to a child; both ends are closed with the stack, the child's as soon as it has it."""

    def __init__(self, closing: contextlib.AsyncExitStack, *, child_reads: bool = False) -> None:
        ends = os.pipe()
        self.own, self.child = reversed(ends) if child_reads else ends
        self._child_open = True
        closing.callback(os.close, self.own)
        closing.callback(self.close_child)

    def close_child(self) -> None:
        if self._child_open:
            self._child_open = False
            os.close(self.child)

    async def line(self) -> bytes:
        """The first line; what there was of it if the child closed the pipe."""
        os.set_blocking(self.own, False)
        data = b""
        while b"\n" not in data:
            await _readable(self.own)
            if not (chunk := os.read(self.own, 16384)):
                break
            data += chunk
        return data.partition(b"\n")[0]


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)


async def _spawn(argv: Sequence[str], live: Path, **pipes: _Pipe) -> None:
    """Start a keeper, with pipes that it knows by name: the process started here ends when it has forked
    the one that stays."""
    fds = {name: pipe.child for name, pipe in pipes.items()}
    environment = {f"_OCI_{name}PIPE": str(fd) for name, fd in fds.items()}
    errors = os.open(
        live / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    try:
        # Where it is, it leaves a file "oom" when the kernel kills its process for want of memory.
        child = await process.spawn(
            argv,
            env=environment,
            stderr=errors,
            pass_fds=list(fds.values()),
            cwd=str(live),
        )
    finally:
        os.close(errors)
        for pipe in pipes.values():
            pipe.close_child()
    try:
        status = await child.wait()
    finally:
        await process.kill_group(child)
    if status != 0:
        raise StartFailed(_text(live / "keeper.log"))


def _connect(live: Path) -> socket.socket:
    try:
        return attach.connect(live)
    except OSError as error:
        raise StartFailed(f"{_text(live / 'keeper.log')}\nattach socket: {error}") from error


def _process_id(message: bytes) -> int:
    """The process id that a keeper tells, ``{"data": PID}``; a negative one means that it failed."""
    try:
        pid = int(json.loads(message)["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise StartFailed(message.decode(errors="replace")) from error
    if pid <= 0:
        raise StartFailed(message.decode(errors="replace"))
    return pid


async def end(directories: Directories) -> None:
    """Kill a keeper and its process, if they run, and wait for both."""
    keeper = directories.keeper_pid()
    if keeper is not None:
        if is_keeper(keeper, directories.live.name):
            await _kill(keeper)
        elif pidfd.is_child(keeper):  # it gave up by itself, just now
            await pidfd.gone(keeper)
    # Only now: a runtime that dies with its keeper (PR_SET_PDEATHSIG) starts nothing any more.
    if (pid := directories.process_pid()) is not None and directories.exit_status() is None:
        await _kill(pid)


async def _kill(pid: int) -> None:
    if (fd := pidfd.hold(pid)) is not None:
        pidfd.send(fd, signal.SIGKILL)
        await pidfd.ended(fd)
    pidfd.reap(pid)


def is_keeper(pid: int, instance: str) -> bool:
    """Whether a process is the keeper of an instance."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return instance.encode() in words and words[0].endswith(b"conmon")


def resize(live: Path, rows: int, columns: int) -> None:
    """Tell a keeper the size of its terminal; nothing happens if it has ended."""
    line = f"{rows} {columns}".encode()
    with contextlib.suppress(OSError):
        fd = os.open(live / "winsz", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, line.ljust(_LINE - 1) + b"\n")
        finally:
            os.close(fd)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
