"""Execution instances: processes that users start in containers, and the sessions that watch them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from kleene import names
from kleene.engine import lookup
from kleene.engine.containers import Containers, checked_workdir
from kleene.engine.core import Core
from kleene.engine.lifecycle import Lifecycle
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.metadata.containers import ContainerRecord, ExecRecord
from kleene.runtime.driver import Connection, Output, Process, ProcessSpec
from kleene.schemas.execs import AttachConfig, ExecConfig, ExecInfo

_GRACE = 10.0


@dataclass(frozen=True)
class ExecResult:
    """How an execution instance ended; ``container_stopped``: whether its container went with it."""

    exit_code: int
    container_stopped: bool


class ExecSession:
    """A started execution instance, as long as somebody watches. Leaving it does not end the process."""

    def __init__(
        self,
        exec_id: str,
        container_id: str,
        process: Process,
        ended: asyncio.Task[int],
        lifecycle: Lifecycle,
        connection: Connection | None = None,
    ) -> None:
        """
        Args:
            connection: how to reach it; else it was started with ``attach``.
        """
        self.exec_id = exec_id
        self.container_id = container_id
        self._process = process
        self._connection: Connection = connection or process
        self._ended = ended
        self._lifecycle = lifecycle

    def output(self) -> AsyncIterator[Output]:
        """What the process writes, until it ends. Only if it was started with ``attach``."""
        return self._connection.output()

    async def write(self, data: bytes) -> None:
        """Send to its standard input."""
        await self._connection.write(data)

    async def close_stdin(self) -> None:
        await self._connection.close_stdin()

    async def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal, in characters."""
        await self._process.resize(rows, columns)

    async def signal(self, name: str) -> None:
        """Send a signal by name (``SIGINT``).

        Raises:
            InvalidInput: there is no such signal.
        """
        try:
            number = signal.Signals[name]
        except KeyError as error:
            raise InvalidInput(f"no such signal: '{name}'", hint="write it as SIGTERM") from error
        await self._process.signal(number)

    async def result(self) -> ExecResult:
        """Wait for the end of the process and learn what became of its container."""
        code = await asyncio.shield(self._ended)
        return ExecResult(code, await self._lifecycle.wait_stopped(self.container_id))


@dataclass(frozen=True)
class _Watched:
    """A running instance, and the task that records how it ends."""

    container: str
    process: Process
    ended: asyncio.Task[int]


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for a container to stop; ``code`` is that of its main process."""

    code: int


class Execs:
    """All execution instances of the daemon."""

    def __init__(self, core: Core, lifecycle: Lifecycle, containers: Containers) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._containers = containers
        self._store = core.containers
        self._watched: dict[str, _Watched] = {}
        self._waiters: dict[str, set[_Waiter]] = {}

    async def create(self, config: ExecConfig) -> str:
        """Describe a process to be started in a container; its id."""
        container = lookup.container(self._store, config.container_id)
        record = ExecRecord(
            id=names.new_id(),
            container_id=container.id,
            state="created",
            cmd=list(config.cmd),
            env=lookup.merge_environment(config.env),
            user=config.user,
            tty=config.tty,
            stdin=config.stdin,
            workdir=checked_workdir(config.workdir) or "",
            privileged=config.privileged,
        )
        self._store.execs.insert(record)
        return record.id

    async def start(
        self,
        exec_id: str,
        *,
        attach: bool,
        start_container: bool,
        rows: int | None = None,
        columns: int | None = None,
        automatic: bool = False,
    ) -> ExecSession:
        """Start the process, and its container if it is down and that is wanted.

        Args:
            automatic: a restart policy asks, not a user: only for a container that is down and wanted.

        Raises:
            NotFound: no such instance.
            Conflict: it was started before, or the container is down.
            InvalidInput: the command or the user cannot be used; then the instance is gone.
        """
        record = self._get(exec_id)
        async with self._lifecycle.lock(record.container_id):
            container = self._startable(record)
            if automatic and (container.running or not container.wanted):
                self._store.execs.delete(record.id)
                raise Conflict(f"container '{container.name}' is not to be started again")
            process = await self._start(
                record, container, attach=attach, up=start_container, size=(rows, columns)
            )
            if not record.cmd and not automatic:
                self._store.containers.update(container.id, wanted=True, restart_count=0)
            ended = self.watch(container, record.id, process)
            self._core.events.of_container("exec-start", container, exec_id=record.id)
        return ExecSession(record.id, container.id, process, ended, self._lifecycle)

    def _get(self, exec_id: str) -> ExecRecord:
        record = self._store.execs.get(exec_id)
        if record is None:
            raise NotFound(
                f"no such execution instance: '{exec_id}'", hint="it may have ended already"
            )
        return record

    def _startable(self, record: ExecRecord) -> ContainerRecord:
        container = self._store.containers.get(record.container_id)
        if container is None or container.state != "ready":
            raise NotFound(f"no such container: '{record.container_id}'", hint="klee lsc -a")
        if self._get(record.id).state != "created":
            raise Conflict(
                f"execution instance '{record.id}' was started before",
                hint="make a new one: klee exec",
            )
        return container

    async def _start(
        self,
        record: ExecRecord,
        container: ContainerRecord,
        *,
        attach: bool,
        up: bool,
        size: tuple[int | None, int | None],
    ) -> Process:
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(self._store.execs.delete, record.id)
            # It may be up already, for this process alone.
            undo.push_async_callback(self._lifecycle.take_down_if_empty, container)
            spec = _process_spec(record, container, size, attach)
            if not container.running:
                if not up:
                    raise Conflict(
                        f"container '{container.name}' is not running",
                        hint=f"start it first: klee start {container.name}",
                    )
                await self._lifecycle.bring_up(container)
            env = self._lifecycle.shells.env(container.id)
            spec = replace(spec, env=[*spec.env, *env])
            main = not record.cmd or not container.running
            self._store.execs.update(record.id, state="running", main=main)
            runtime = self._core.platform.runtime
            process = await runtime.exec(container.id, record.id, spec, attach=attach)
            undo.pop_all()
        return process

    def watch(
        self, container: ContainerRecord, exec_id: str, process: Process
    ) -> asyncio.Task[int]:
        """Record how a running instance ends, and have its container go down when it is empty."""
        work = self._record_end(container.id, exec_id, process)
        ended = self._core.background(work, f"watch {exec_id}")
        self._lifecycle.supervise(container, ended)
        self._watched[exec_id] = _Watched(container.id, process, ended)
        return ended

    async def _record_end(self, container: str, exec_id: str, process: Process) -> int:
        code = await process.wait()
        record = self._store.execs.get(exec_id)
        main = record is not None and record.main
        with self._core.database.transaction():
            if main:
                self._store.containers.update(container, exit_code=code)
            self._store.execs.delete(exec_id)
        del self._watched[exec_id]
        if (present := self._store.containers.get(container)) is not None:
            self._core.events.of_container("exec-die", present, exec_id=exec_id, exit_code=code)
        for waiter in self._waiters.get(container, ()) if main else ():
            waiter.code = code
        return code

    async def running(self, reference: str) -> list[ExecInfo]:
        """The instances that run in a container, the oldest first: that is its main process."""
        container = lookup.container(self._store, reference)
        return [
            ExecInfo(record.id, record.cmd, record.user, record.tty, record.stdin)
            for record in self._store.execs_of(container.id)
            if record.id in self._watched
        ]

    async def attach(self, reference: str, config: AttachConfig) -> ExecSession:
        """Connect to an instance that runs, by default the oldest, beside whoever is connected already.

        Raises:
            Conflict: nothing runs in the container, or the instance that was named.
        """
        container = lookup.container(self._store, reference)
        found = [
            (record, watched)
            for record in self._store.execs_of(container.id)
            if record.id.startswith(config.exec_id) and (watched := self._watched.get(record.id))
        ]
        if not found:
            what = f"'{config.exec_id}' does not run" if config.exec_id else "is not running"
            subject = "execution instance of " if config.exec_id else ""
            raise Conflict(
                f"{subject}container '{container.name}' {what}",
                hint=f"start it first: klee start {container.name}",
            )
        record, watched = found[0]
        connection = await self._core.platform.runtime.attach(
            container.id, record.id, terminal=record.tty, stdin=record.stdin
        )
        if config.rows is not None and config.columns is not None and record.tty:
            await watched.process.resize(config.rows, config.columns)
        return ExecSession(
            record.id, container.id, watched.process, watched.ended, self._lifecycle, connection
        )

    async def wait(self, reference: str) -> int:
        """Wait until a container stops; the exit status of its main process, 0 before its first.

        Of a container that does not run, that is known already.
        """
        container = lookup.container(self._store, reference)
        waiter = _Waiter(container.exit_code or 0)
        waiters = self._waiters.setdefault(container.id, set())
        waiters.add(waiter)
        try:
            await self._lifecycle.wait_down(container.id)
            left = [w.ended for w in self._watched.values() if w.container == container.id]
            if left:
                await asyncio.wait(left)
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(container.id, None)
        return waiter.code

    async def stop(self, exec_id: str, *, force: bool, stop_container: bool) -> str:
        """End an instance, by SIGTERM or by force, or the whole container it runs in."""
        record = self._get(exec_id)
        if stop_container:
            grace = 0.0 if force else None
            await self._containers.stop(record.container_id, timeout=grace)
            return exec_id
        watched = self._watched.get(exec_id)
        if watched is None:
            self._store.execs.delete(exec_id)
            return exec_id
        await self._end(watched.process, force)
        return exec_id

    async def _end(self, process: Process, force: bool) -> None:
        if not force:
            await process.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await process.wait()
                    return
        await process.signal(signal.SIGKILL)
        await process.wait()


def _process_spec(
    record: ExecRecord,
    container: ContainerRecord,
    size: tuple[int | None, int | None],
    attach: bool,
) -> ProcessSpec:
    """A process that nobody is attached to reads end of file: there is nobody to write to it."""
    args = record.cmd or [*container.entrypoint, *container.cmd]
    if not args or not args[0]:
        raise InvalidInput(
            f"container '{container.name}' has no command"
            if not args
            else "the command has no name: its first word is empty",
            hint="name one: klee run IMAGE COMMAND, or set CMD or ENTRYPOINT in the Dockerfile",
        )
    rows, columns = size
    return ProcessSpec(
        args=args,
        env=lookup.merge_environment(container.env, record.env),
        cwd=record.workdir or container.workdir or "/",
        user=record.user or container.user,
        terminal=record.tty,
        stdin=record.stdin and attach,
        rows=rows or 24,
        columns=columns or 80,
        privileged=record.privileged,
    )
