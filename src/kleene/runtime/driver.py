"""The runtime contract: containers, and execution instances in them.

A *container* is a set of namespaces (Linux) or a jail (FreeBSD) over a root file system. It is up while
it exists for the runtime: its first process is a small init that reaps orphans and does nothing else.
An *execution instance* is one process that the user started in it; there can be several. A *keeper*
(conmon on Linux) holds the instance's terminal, log and exit status, so that it outlives the daemon.

What a driver owns lies under its state directory and in the kernel; it lasts until :meth:`delete`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from kleene.runtime.options import NO_OPTIONS, Limits, Options


@dataclass(frozen=True)
class Mount:
    """A path of the host that the container sees at ``destination`` (absolute, in the container)."""

    source: Path
    destination: str
    read_only: bool = False


@dataclass(frozen=True)
class LogBounds:
    """How much is kept of the log of an instance.

    Attributes:
        size: bytes after which a log is rotated; 0 is never.
        files: that are kept, with the one that is written to; two at least.
    """

    size: int = 10 * 1024 * 1024
    files: int = 5


@dataclass(frozen=True)
class StepMount:
    """What the processes of one build step see at ``destination`` (absolute, in the container).

    Attributes:
        source: a directory of the host; ``None`` is a file system in memory.
        path: of what is mounted, resolved inside ``source``.
        size: bytes of the file system in memory; 0 is the kernel's default.
        content: of the one file that the file system in memory is for; ``None``: it is an empty directory.
        mode, uid, gid: of that file.
    """

    destination: str
    source: Path | None = None
    path: str = "/"
    read_only: bool = False
    size: int = 0
    content: bytes | None = field(default=None, repr=False)
    mode: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Network:
    """How a container is connected.

    Attributes:
        kind: ``host`` shares the host's stack; ``namespace`` joins the one at ``path``; ``none`` has
            a stack of its own with nothing but a loopback interface.
        path: of the network namespace (network_namespaces(7)), for ``namespace``.
    """

    kind: Literal["host", "namespace", "none"]
    path: Path | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """All that a container is made from.

    Attributes:
        id: 12 hex digits.
        rootfs: the dataset's mountpoint.
        hostname: at most 63 characters (hostname(7)).
        network: see :class:`Network`.
        network_driver: ``host``, ``ipnet``, ``vnet`` or ``disabled``: decides the default privileges.
        mounts: in the order in which they are made.
        jail_params: ``name`` -> value (``"true"`` for a bare name).
        options: see :class:`Options`.
    """

    id: str
    rootfs: Path
    hostname: str
    network: Network
    network_driver: Literal["host", "ipnet", "vnet", "disabled"]
    mounts: Sequence[Mount] = ()
    jail_params: Mapping[str, str] = field(default_factory=dict)
    options: Options = NO_OPTIONS


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start in a container.

    Attributes:
        args: argument vector; the first is looked up in the container's ``PATH``.
        env: the whole environment but for what the driver adds where it is missing
            (``PATH``, ``HOME``, and ``TERM`` with a terminal).
        cwd: absolute, in the container; made if it is missing.
        user: ``NAME|UID[:GROUP|GID]``, looked up in the container's own files; ``""`` is root.
        terminal: give it a pseudo terminal.
        stdin: keep its standard input open for :meth:`Process.write`.
        rows, columns: size of the terminal in characters.
        privileged: it has all capabilities that the daemon can give, whatever the container has.
    """

    args: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    user: str = ""
    terminal: bool = False
    stdin: bool = False
    rows: int = 24
    columns: int = 80
    privileged: bool = False


@dataclass(frozen=True)
class Output:
    """Bytes that a process wrote. With a terminal all of it is ``stdout``."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class LogRecord(NamedTuple):
    """A part of what a process wrote, as the log has it.

    Attributes:
        data: a whole line with its end, or a part of one.
        time: when it was written, in nanoseconds since the epoch.
        begins: whether a line begins with it.
    """

    stream: Literal["stdout", "stderr"]
    data: bytes
    time: int
    begins: bool


class Log(Protocol):
    """What all instances of a container wrote, in the order of time. Its methods block."""

    def history(self, *, lines: int | None, since: int = 0) -> Iterator[LogRecord]:
        """What is there, at most the last ``lines``, none of it older than ``since`` (nanoseconds)."""
        ...

    def news(self) -> list[LogRecord]:
        """What was written after that, each time; instances that are new count too."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ProcessInfo:
    """A process in a container, as the kernel tells of it.

    Attributes:
        pid: on the host.
        inner_pid, inner_parent: its id and its parent's in the container; 0 for a parent outside.
        user: its effective user, by the container's name for it, or by number.
        started: nanoseconds since the epoch.
        cpu: nanoseconds of processor time.
        args: its command line; in brackets its name if it has none.
    """

    pid: int
    inner_pid: int
    inner_parent: int
    user: str
    started: int
    cpu: int
    args: Sequence[str]


@dataclass(frozen=True)
class ResourceUsage:
    """What a container uses, or has used since it is up.

    Attributes:
        cpu: nanoseconds of processor time.
        memory: bytes, without what the page cache could give back at once.
        memory_limit: bytes; 0 is none.
        pids: processes and threads.
        read, written: bytes from and to block devices.
        received, sent: bytes; ``None`` if it shares the host's network stack.
    """

    cpu: int
    memory: int
    memory_limit: int
    pids: int
    read: int
    written: int
    received: int | None
    sent: int | None


class Connection(Protocol):
    """Somebody who is connected to an execution instance."""

    def output(self) -> AsyncIterator[Output]:
        """What it writes from now on, until it ends; may be iterated once."""
        ...

    async def write(self, data: bytes) -> None:
        """Send to its standard input; returns when taken. Ignored after it ended."""
        ...

    async def close_stdin(self) -> None:
        """End its standard input, for everybody."""
        ...


class Process(Protocol):
    """A running execution instance, as long as the daemon watches it."""

    @property
    def pid(self) -> int:
        """On the host."""
        ...

    def output(self) -> AsyncIterator[Output]:
        """What it writes from the moment of :meth:`RuntimeDriver.exec` on, nothing lost, until it
        ends. Only for processes that were started with ``attach``; may be iterated once."""
        ...

    async def write(self, data: bytes) -> None:
        """Send to its standard input; returns when taken. Ignored after it ended."""
        ...

    async def close_stdin(self) -> None: ...

    async def resize(self, rows: int, columns: int) -> None: ...

    async def signal(self, signum: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...

    async def wait(self) -> int:
        """Its exit status; 128 + n if signal n ended it. Any number may wait."""
        ...


@dataclass(frozen=True)
class RuntimeCapabilities:
    """What a backend can do beyond the contract."""

    name: str
    version: str


class RuntimeDriver(Protocol):
    """Containers of one daemon. Methods raise ``NotFound`` for a container that is not up, and
    ``InvalidInput`` for a jail parameter, user or command that cannot be used.

    Attributes:
        log_bounds: how much is kept of what instances write; may be set at any time.
    """

    log_bounds: LogBounds

    @property
    def capabilities(self) -> RuntimeCapabilities: ...

    def check_jail_params(self, params: Mapping[str, str]) -> None:
        """Refuse, by name, parameters that are unknown or have no meaning here.

        Raises:
            InvalidInput: names the parameter and why.
        """
        ...

    def check_options(self, options: Options) -> None:
        """Refuse what this host cannot do.

        Raises:
            InvalidInput: names the option and why.
        """
        ...

    async def limit(self, container: str, new: Limits) -> list[str]:
        """Change the limits of a container that is up; what the kernel would not change now, in sentences."""
        ...

    async def create(self, spec: ContainerSpec) -> int:
        """Bring the container up with nothing but its init running; the init's process id.

        A container of this id that is left from a crash is removed first.
        """
        ...

    async def exec(
        self, container: str, instance: str, spec: ProcessSpec, *, attach: bool
    ) -> Process:
        """Start an execution instance under a keeper. Its output is also in its log.

        Args:
            container: id of a container that is up.
            instance: 12 hex digits, new.
            attach: whether :meth:`Process.output` and :meth:`Process.write` are wanted.

        Raises:
            InvalidInput: the command, the user or the working directory does not exist or may not
                be used; nothing is left behind.
        """
        ...

    async def exec_build(
        self, container: str, instance: str, spec: ProcessSpec, *, alone: bool = False
    ) -> Process:
        """Start a process without a keeper: cheaper, and it dies with the daemon. For build steps and checks.

        The end of the process is the end of its output, whatever it left running in the container.

        Args:
            alone: it does not count as a process of the container, what it left running goes with it, and to
                leave :meth:`Process.output` early kills these and nothing else.
        """
        ...

    def mounted(
        self, container: str, mounts: Sequence[StepMount]
    ) -> contextlib.AbstractContextManager[None]:
        """Have mounts in a container that is up, in this order, as long as the block lasts.

        What is missing to mount on is made, and removed again: the container's file system is left without a
        trace. Entering and leaving blocks for some milliseconds at most.

        Raises:
            InvalidInput: a target cannot be mounted on.
        """
        ...

    async def adopt(self, container: str, instance: str) -> Process | None:
        """An instance that an earlier daemon started, running or ended (then :meth:`Process.wait`
        returns at once); ``None`` if nothing is known of it. It cannot be attached to."""
        ...

    async def end_strays(self, container: str, known: Set[str]) -> None:
        """End processes without a keeper that an earlier daemon started in a container and could not end.

        Args:
            known: ids of the instances to spare.
        """
        ...

    async def attach(
        self, container: str, instance: str, *, terminal: bool, stdin: bool
    ) -> Connection:
        """Connect to a running instance, beside whoever is connected already.

        Args:
            terminal, stdin: as it was started with. To leave the connection does not end its input.

        Raises:
            NotFound: it has ended.
        """
        ...

    async def processes(self, container: str) -> list[int]:
        """Process ids on the host of all that runs in the container, its init left out."""
        ...

    async def top(self, container: str) -> list[ProcessInfo]:
        """The processes of a container, its init left out; blocks for some milliseconds at most."""
        ...

    async def usage(self, container: str) -> ResourceUsage:
        """What a container uses; blocks for a millisecond or so."""
        ...

    async def wait_empty(self, container: str) -> None:
        """Return when no process but the init is left in the container, or it is gone."""
        ...

    async def signal_all(self, container: str, signum: int) -> None:
        """Send a signal to every process in the container but its init."""
        ...

    async def is_up(self, container: str) -> bool: ...

    async def init_pid(self, container: str) -> int | None:
        """Process id of the init on the host; ``None`` if the container is not up."""
        ...

    def mountpoints(self, container: str) -> list[str]:
        """What was made in a container's root to mount files of the daemon on, as absolute paths, parents
        first: it is empty there, and goes when the container goes down."""
        ...

    async def delete(self, container: str) -> None:
        """Kill what runs and remove the container with the state of its instances, logs left out.
        Containers that are not there are passed over."""
        ...

    async def forget(self, container: str) -> None:
        """Remove the logs and exit statuses of a container that is not up."""
        ...

    def open_root(self, container: str) -> int | None:
        """A descriptor of the root directory as the container's processes see it, with what is mounted there;
        ``None`` if it is not up. To be opened in only by names that are resolved inside it."""
        ...

    def log_path(self, container: str, instance: str) -> Path:
        """Where the instance's output is kept."""
        ...

    async def rotate_logs(self) -> bool:
        """Keep the logs of running instances within :attr:`log_bounds`; to be called every second or so, and
        at once again as long as it gives true: logs grow fast."""
        ...

    def log(self, container: str) -> Log:
        """The output of all its instances, as long as it is not forgotten."""
        ...

    async def containers(self) -> list[str]:
        """Ids of all containers that the runtime or the state directory knows. For reconciliation."""
        ...
