"""A real ``kleened`` on a socket and a data directory of its own, and ``klee`` to talk to it.

It works on the host's kernel like any other daemon. :meth:`Daemon.destroy` takes away all that it made, in
whatever state a test left it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import randrange
from typing import TypeVar

from kleene.daemon.platforms import instance_of

BIN = Path(sys.executable).parent
_POOL = "4G"
_PATIENCE = float(os.environ.get("KLEENE_PATIENCE", "30"))  # seconds; a slow machine needs more

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What a ``klee`` command came to."""

    status: int
    stdout: str
    stderr: str

    @property
    def id(self) -> str:
        """The first id in the output."""
        match = re.search(r"\b[0-9a-f]{12}\b", self.stdout)
        assert match, f"no id in {self.stdout!r}"
        return match[0]


def wait_until(condition: Callable[[], T], what: str, patience: float = _PATIENCE) -> T:
    """The first true value of ``condition``, asked again and again; a failure after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"after {patience:g} s: {what}"
        time.sleep(0.02)


def unused_network() -> str:
    """The first three numbers of a network: ``10.211.37`` for 10.211.37.0/24. Taken by chance, so
    that test runs at the same time do not meet."""
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    while f"{(prefix := f'10.{randrange(200, 250)}.{randrange(256)}')}." in routes:
        pass
    return prefix


@dataclass
class Daemon:
    """One daemon. Its directory is short: a unix socket's path may not be longer than 107 bytes."""

    pool_size: str = _POOL
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="kleene-test-")))
    process: subprocess.Popen[bytes] | None = None
    port: int | None = None
    """Of the loopback interface, where the API is served too."""
    sockets: str = ""
    """Further lines of the list of sockets."""
    configuration: str = ""
    """Further lines of the configuration file."""

    @property
    def root(self) -> Path:
        """The data directory."""
        return self.home / "root"

    @property
    def socket(self) -> Path:
        """Where the API is served."""
        return self.home / "kleened.sock"

    @property
    def marks(self) -> tuple[str, str]:
        """What everything that this daemon makes in the kernel bears one of."""
        return str(self.home), instance_of(self.root)

    @property
    def log(self) -> str:
        """What the daemon has logged so far."""
        return (self.home / "log").read_text(errors="replace")

    def config(self) -> str:
        """The text of the configuration file."""
        return (
            f"kleene_root: {self.root}\n"
            f"api_listening_sockets:\n  - address: http://{self.socket}\n{self._tcp()}{self.sockets}"
            f"pool_size: {self.pool_size}\n{self.configuration}"
        )

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for anything."""
        config = self.home / "config.yaml"
        config.write_text(self.config())
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [BIN / "kleened", "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _tcp(self) -> str:
        return f"  - http://127.0.0.1:{self.port}\n" if self.port else ""

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self.process = self.launch()
        wait_until(self._accepts, "the daemon does not listen")

    def _accepts(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended:\n{self.log[-4000:]}"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
            # A child of a killed daemon may have held its socket until now (SO_PEERCRED in unix(7)).
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int.from_bytes(peer[:4], sys.byteorder) == self.process.pid
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process by a signal and return its exit status; containers go on."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(_PATIENCE)
        self.process = None
        return status

    def kill(self) -> None:
        """End it as a power cut would: without a chance to tidy up."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of ``klee`` with these arguments, for this daemon."""
        return [str(BIN / "klee"), "--host", f"http://{self.socket}", *map(str, arguments)]

    def klee(
        self,
        *arguments: str | Path,
        check: bool = True,
        stdin: str = "",
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run ``klee`` to its end; with ``check``, fail the test if it fails."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            words = " ".join(map(str, arguments))
            raise AssertionError(
                f"klee {words}: exit status {done.returncode}\n{done.stdout}{done.stderr}\n"
                f"--- the daemon's log\n{self.log[-3000:]}"
            )
        return Result(done.returncode, done.stdout, done.stderr)

    def popen(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start ``klee`` and return at once; the caller waits for it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
        )

    def pool(self) -> Path:
        """Where the daemon's storage is mounted."""
        return next(path for path in mounts_below(self.root) if "btrfs" in mount_type(path))

    def rows(self, query: str) -> set[str]:
        """The only column of a query of the metadata."""
        path = f"file:{self.root}/kleene.db?mode=ro"
        with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
            return {value for (value,) in database.execute(query)}

    def settle(self) -> None:
        """Wait until no container is being removed: nobody else waits for one that ran with ``--rm``."""
        removing = "SELECT id FROM containers WHERE state = 'removing'"
        wait_until(lambda: not self.rows(removing), "a container is still being removed")

    def datasets(self) -> list[str]:
        """What is on disk: file systems, as ``image/ID``; snapshots, as ``image/ID@SNAPSHOT``; trash."""
        self.settle()
        pool = self.pool()
        places = ((pool / "datasets", "*/*"), (pool / "snapshots", "*/*/*"), (pool, "trash/*"))
        found = (path.relative_to(top) for top, pattern in places for path in top.glob(pattern))
        return sorted("@".join(path.as_posix().rsplit("/", len(path.parts) - 2)) for path in found)

    def destroy(self) -> None:
        """Remove everything, running containers first: they would outlive the daemon."""
        try:
            if self.root.exists():
                if self.process is None or self.process.poll() is not None:
                    self.start()
                for kind, listing, removing in (("c", ["-aq"], ["-f"]), ("n", ["-q"], [])):
                    names = self.klee(f"ls{kind}", *listing).stdout.split()
                    if names:
                        self.klee(f"rm{kind}", *removing, *names)
        finally:
            self.stop()
            self._end_what_runs()
            for path in mounts_below(self.home):
                subprocess.run(["umount", path], check=False)
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.rmtree(f"/run/kleene/{instance_of(self.root)}", ignore_errors=True)

    def _end_what_runs(self) -> None:
        """Kill what is left in this daemon's cgroups: nothing, unless it could not be started any more."""
        for group in Path("/sys/fs/cgroup").glob(f"*/*{instance_of(self.root)}*"):
            for members in group.glob("**/cgroup.procs"):
                for pid in members.read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)


def mounts_below(directory: Path) -> list[Path]:
    """Where something is mounted below a directory, the latest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [Path(line.split()[4]) for line in reversed(lines)]
    return [place for place in places if directory in place.parents]


def mount_type(path: Path) -> str:
    """The type of the file system mounted at ``path``."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4] == str(path):
            return line.split(" - ")[1].split()[0]
    return ""
