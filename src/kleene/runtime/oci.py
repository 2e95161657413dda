"""Containers on Linux, by an OCI runtime under conmon.

A container's first process is an init that only reaps; every execution instance is a process of its own
beside it, under a keeper, and outlives the daemon. What this module makes lies in the state directory (see
:mod:`kleene.runtime.records`) and in control groups, until :meth:`OciDriver.delete`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from kleene.errors import CommandFailed, InvalidInput, NotFound
from kleene.host import inroot
from kleene.runtime import (
    attach,
    bundle,
    cgroups,
    checks,
    conmon,
    etcfiles,
    failures,
    jail_params,
    limits,
    logseries,
    oci_spec,
    oom,
    pidfd,
    proctable,
    programs,
    step_mounts,
    usage,
    users,
)
from kleene.runtime.attach import Attachment
from kleene.runtime.calls import Calls
from kleene.runtime.driver import (
    ContainerSpec,
    LogBounds,
    ProcessInfo,
    ProcessSpec,
    ResourceUsage,
    RuntimeCapabilities,
    StepMount,
)
from kleene.runtime.kept import KeptProcess
from kleene.runtime.logs import ContainerLog
from kleene.runtime.options import Limits, Options
from kleene.runtime.records import Record, State, store
from kleene.runtime.rotation import Rotation
from kleene.runtime.step import Pipes, StepProcess

_REAPING = 0.02  # seconds after which a killed process must have ended, if nothing holds it
_KEEPER_TIMEOUT = 5.0  # seconds for a keeper to end after its process


class OciDriver:
    """A :class:`kleene.runtime.driver.RuntimeDriver`; made by :meth:`open`.

    Attributes:
        tried: for each runtime that was tried, ``ok`` or why it does not work.
        log_bounds: how much is kept of what instances write.
    """

    def __init__(self, state: State, groups: cgroups.Cgroups, found: programs.Programs) -> None:
        self._state = state
        self._groups = groups
        self._host = found.host
        self._runtime = conmon.Runtime(found.program, state.runtime, found.conmon)
        self._found = found
        self.log_bounds = LogBounds()
        self._rotation = Rotation()
        self._being_made = 0
        self._calls = Calls(self._runtime, groups, helpers=int(found.name == "crun"))
        self._steps: set[int] = set()  # processes that wait for their exit status themselves
        self._alone: set[int] = set()  # sessions whose processes do not count
        self.tried = found.tried

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        instance: str,
        *,
        runtimes: Sequence[str],
        run_dir: Path | None = None,
    ) -> OciDriver:
        """A driver for the containers of one daemon.

        Args:
            state_dir: made if missing; has the logs and exit statuses.
            instance: the daemon's 6 hex digits; names its control group.
            runtimes: names of programs; the first that works is taken.
            run_dir: made if missing; has what lasts no longer than the containers run, and so no longer
                than the host: best in memory (tmpfs). The same as ``state_dir`` if left out.

        Raises:
            HostUnavailable: names what the host lacks.
        """
        pidfd.become_subreaper()
        state = State(state_dir, run_dir or state_dir)
        groups = cgroups.of_host(instance)
        return cls(state, groups, await programs.find(run_dir or state_dir, groups, runtimes))

    def close(self) -> None:
        """Give back what is held; containers and their processes stay as they are."""
        self._found.close()

    @property
    def capabilities(self) -> RuntimeCapabilities:
        return RuntimeCapabilities(self._found.name, self._found.version)

    def check_jail_params(self, params: Mapping[str, str]) -> None:
        jail_params.adjustments(params)

    def check_options(self, options: Options) -> None:
        checks.check_options(options, self._host, self._groups)

    # Containers

    async def limit(self, container: str, new: Limits) -> list[str]:
        if self._record(container) is None:
            raise _not_up(container)
        wanted = limits.writes(new, unified=self._groups.unified)
        return await asyncio.to_thread(self._groups.write, container, wanted)

    async def create(self, spec: ContainerSpec) -> int:
        adjusted = jail_params.adjustments(spec.jail_params)
        bundle.check_mounts(spec)
        if spec.id in await self.containers():
            await self.delete(spec.id)
        self._being_made += 1
        try:
            group = self._groups.path(spec.id)
            record = bundle.write(self._state, spec, adjusted, self._host, group)
            pid = await self._run(spec.id)
            oom.spare(pid)
            self._state.save(spec.id, record.with_init(pid, self._state.boot))
        except BaseException:
            await asyncio.shield(self.delete(spec.id))
            raise
        finally:
            self._being_made -= 1
        return pid

    async def _run(self, container: str) -> int:
        """Bring up the container that the bundle describes; the init's process id."""
        at = self._state.bundle(container)
        pid_file, log = at / "pid", at / "runtime.log"
        arguments = ("run", "--detach", "--bundle", str(at), "--pid-file", str(pid_file), container)
        status = await self._calls.run(log, *arguments)
        if status != 0:
            text = failures.messages(_read(log))
            raise CommandFailed([self._found.name, "run"], status, text)
        return int(_read(pid_file))

    async def is_up(self, container: str) -> bool:
        return self._record(container) is not None

    async def init_pid(self, container: str) -> int | None:
        record = self._record(container)
        return record.pid if record else None

    def mountpoints(self, container: str) -> list[str]:
        record = self._state.record(container)
        return [*record.made] if record else []

    async def containers(self) -> list[str]:
        return sorted(self._state.known() | self._groups.containers())

    async def delete(self, container: str) -> None:
        record = self._state.record(container)
        await self._kill_all(container, record.pid if record else 0)
        if record is not None:
            pidfd.reap_started(record.pid, record.started)
        for instance in self._state.instances(container):
            await _end_keeper(instance)
        await self._groups.remove(container)
        if record is not None:
            etcfiles.remove_mountpoints(Path(record.rootfs), record.made)
        self._state.remove(container)

    async def forget(self, container: str) -> None:
        self._state.forget(container)
        if not self._being_made:
            self._groups.remove_parent()

    # Processes of a container

    async def processes(self, container: str) -> list[int]:
        record = self._state.record(container)
        init = record.pid if record else 0
        found = [pid for pid in self._groups.pids(container) if pid != init]
        return [p for p in found if pidfd.session(p) not in self._alone] if self._alone else found

    async def top(self, container: str) -> list[ProcessInfo]:
        record = self._record(container)
        if record is None:
            raise _not_up(container)
        names = users.names(Path(f"/proc/{record.pid}/root"))
        return list(proctable.read(await self.processes(container), names))

    async def usage(self, container: str) -> ResourceUsage:
        record = self._record(container)
        if record is None:
            raise _not_up(container)
        groups = self._groups
        return usage.read(
            lambda controller: groups.directory(container, controller),
            record.pid,
            unified=groups.unified,
        )

    async def wait_empty(self, container: str) -> None:
        while pids := await self.processes(container):
            await pidfd.gone(pids[0])

    async def signal_all(self, container: str, signum: int) -> None:
        init = await self.init_pid(container)
        for pid, fd in self._groups.hold(container):
            with pidfd.closing(fd):
                if pid != init:
                    pidfd.send(fd, signum)

    async def _kill_all(self, container: str, init: int) -> None:
        """With its init, all that a container has ends; but the init may be unknown after a crash."""
        while members := self._groups.hold(container):
            for _, fd in members:
                pidfd.send(fd, signal.SIGKILL)
            for pid, fd in sorted(members, key=lambda member: member[0] == init):  # it ends last
                await self._ended(pid, fd)
                pidfd.reap(pid)

    async def _ended(self, pid: int, fd: int) -> None:
        """Wait for a killed process; if it takes long, because of processes that nobody reaped."""
        end = asyncio.ensure_future(pidfd.ended(fd))
        while not (await asyncio.wait((end,), timeout=_REAPING))[0]:
            pidfd.reap_orphans(self._steps)

    # Execution instances

    async def exec(
        self, container: str, instance: str, spec: ProcessSpec, *, attach: bool
    ) -> KeptProcess:
        directories = self._state.instance(container, instance)
        async with self._prepared(container, directories, spec) as prepared:
            try:
                started = await conmon.start(
                    self._runtime,
                    directories,
                    terminal=spec.terminal,
                    stdin=spec.stdin,
                    attached=attach,
                    log_size=self.log_bounds.size * self.log_bounds.files,
                    on_go=self._calls.warm_up,
                )
            except conmon.StartFailed as error:
                raise self._not_started(container, directories, prepared, str(error)) from error
        oom.adjust(started.pid, self._host.oom_score_adj)
        attachment = None
        if started.connection is not None:
            attachment = Attachment(started.connection, terminal=spec.terminal, stdin=spec.stdin)
        return KeptProcess(started.pid, started.keeper, directories, attachment)

    async def exec_build(
        self, container: str, instance: str, spec: ProcessSpec, *, alone: bool = False
    ) -> StepProcess:
        if spec.terminal:
            raise InvalidInput("a build step has no terminal")
        directories = self._state.instance(container, instance)
        before = set(self._groups.pids(container))
        async with self._prepared(container, directories, spec) as prepared:
            pipes = Pipes(stdin=spec.stdin)
            try:
                pid = await self._start_step(container, directories, prepared, pipes)
            except BaseException:
                pipes.close()
                if not alone:
                    await asyncio.shield(_all_gone(self._kill_since(container, before)))
                elif (session := directories.session()) is not None:
                    self._kill_session(container, session)
                raise
        oom.adjust(pid, self._host.oom_score_adj)
        session = directories.note_session(pid)

        def kill_rest() -> None:
            if alone:
                self._kill_session(container, session)
            else:
                self._kill_since(container, before)

        def clean_up() -> None:
            self._steps.discard(pid)
            if alone:
                self._kill_session(container, session)
                self._alone.discard(session)
            directories.remove()

        self._steps.add(pid)
        if alone:
            self._alone.add(session)
        return StepProcess(
            pid,
            pipes,
            kill_rest=kill_rest,
            clean_up=clean_up,
        )

    async def _start_step(
        self, container: str, directories: conmon.Directories, spec: ProcessSpec, pipes: Pipes
    ) -> int:
        pid_file, log = directories.live / "pid", directories.live / "runtime.log"
        options = ("--detach", "--pid-file", str(pid_file), "--process", str(directories.process))
        try:
            status = await self._calls.execute(
                log,
                "exec",
                *options,
                container,
                stdin=pipes.child_stdin,
                stdout=pipes.child_stdout,
                stderr=pipes.child_stderr,
            )
        finally:
            pipes.close_child()
        pid = directories.process_pid()
        if status != 0 or pid is None:
            raise self._not_started(container, directories, spec, "")
        return pid

    @contextlib.asynccontextmanager
    async def _prepared(
        self, container: str, directories: conmon.Directories, spec: ProcessSpec
    ) -> AsyncIterator[ProcessSpec]:
        """All that a process needs to be started; removed again if the block raises. Gives the
        specification with the user that the jail parameters ask for."""
        record = self._record(container)
        if record is None or not spec.args:
            raise _not_up(container) if record is None else InvalidInput("no command to execute")
        if record.user is not None:
            spec = replace(spec, user=record.user)
        if (root := self.open_root(container)) is None:
            raise _not_up(container)
        try:
            identity = users.resolve(root, spec.user, record.groups)
            made = bundle.make_cwd(root, spec.cwd)
        except BaseException:
            os.close(root)
            raise
        try:
            directories.make()
            held = sorted(self._host.capabilities) if spec.privileged else record.capabilities
            no_new = record.no_new_privileges
            document = oci_spec.process(spec, identity, held, record.rlimits, no_new=no_new)
            store(directories.process, document)
            yield spec
        except BaseException:
            bundle.remove_cwd(root, made)
            directories.remove()
            raise
        finally:
            os.close(root)

    def _not_started(
        self, container: str, directories: conmon.Directories, spec: ProcessSpec, said: str
    ) -> Exception:
        text = failures.messages(_read(directories.live / "runtime.log")) or said
        if self._record(container) is None:
            return _not_up(container)
        return failures.not_started(container, spec, self._found.name, text)

    def _kill_since(self, container: str, before: set[int]) -> set[int]:
        """Kill what was started in a container after ``before`` was the list of its processes; which."""
        spared = set(before)
        while pids := set(self._groups.pids(container)) - spared:
            for pid, fd in self._groups.hold(container):
                with pidfd.closing(fd):
                    if pid in pids:
                        pidfd.send(fd, signal.SIGKILL)
            spared |= pids
        return spared - before

    def _kill_session(self, container: str, session: int) -> None:
        """Kill what belongs to a session (setsid(2)): each process that the runtime starts has its own."""
        for pid, fd in self._groups.hold(container):
            with pidfd.closing(fd):
                if pidfd.session(pid) == session:
                    pidfd.send(fd, signal.SIGKILL)

    async def end_strays(self, container: str, known: Set[str]) -> None:
        for directories in self._state.instances(container):
            if directories.live.name not in known and directories.keeper_pid() is None:
                if (session := directories.session()) is not None:
                    self._kill_session(container, session)
                directories.remove()

    @contextlib.contextmanager
    def mounted(self, container: str, mounts: Sequence[StepMount]) -> Iterator[None]:
        record = self._record(container)
        if record is None:
            raise _not_up(container)
        with step_mounts.mounted(record.pid, mounts):
            yield

    async def adopt(self, container: str, instance: str) -> KeptProcess | None:
        directories = self._state.instance(container, instance)
        if directories.exit_status() is not None:
            return KeptProcess(0, 0, directories)
        keeper, pid = directories.keeper_pid(), directories.process_pid()
        if keeper is None or pid is None or not logseries.exists(directories.log):
            return None
        # Whoever has these ids now is meant only if it is the keeper, and is in the container.
        keeper = keeper if conmon.is_keeper(keeper, instance) else 0
        pid = pid if pid in self._groups.pids(container) else 0
        return KeptProcess(pid, keeper, directories)

    async def attach(
        self, container: str, instance: str, *, terminal: bool, stdin: bool
    ) -> Attachment:
        directories = self._state.instance(container, instance)
        try:
            connection = attach.connect(directories.live)
        except OSError as error:
            raise NotFound(f"execution instance '{instance}' has ended") from error
        return Attachment(connection, terminal=terminal, stdin=stdin, keep=stdin and not terminal)

    def open_root(self, container: str) -> int | None:
        if (record := self._record(container)) is None:
            return None
        try:
            fd = os.open(f"/proc/{record.pid}/root", inroot.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        if self._record(container) is None:  # it ended meanwhile: the id may be another process's
            os.close(fd)
            return None
        return fd

    def log_path(self, container: str, instance: str) -> Path:
        return self._state.instance(container, instance).log

    async def rotate_logs(self) -> bool:
        running = [at for c in self._state.with_bundle() for at in self._state.instances(c)]
        if not running:
            return False
        return await asyncio.to_thread(self._rotation.rotate_all, running, self.log_bounds)

    def log(self, container: str) -> ContainerLog:
        return ContainerLog(self._state.kept / container, container)

    def _record(self, container: str) -> Record | None:
        """Of a container that is up."""
        record = self._state.record(container)
        return record if record and record.is_up(self._state.boot) else None


def _not_up(container: str) -> NotFound:
    return NotFound(f"container '{container}' is not running", hint=f"klee start {container}")


async def _all_gone(pids: Iterable[int]) -> None:
    for pid in pids:
        await pidfd.gone(pid)


async def _end_keeper(directories: conmon.Directories) -> None:
    """Wait for a keeper whose process has ended; it has an exit status to write."""
    keeper = directories.keeper_pid()
    if keeper is None or not conmon.is_keeper(keeper, directories.live.name):
        return
    try:
        async with asyncio.timeout(_KEEPER_TIMEOUT):
            await pidfd.gone(keeper)
    except TimeoutError:
        await conmon.end(directories)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""
