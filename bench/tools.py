"""The tools that are compared: how each is asked for the same thing.

A tool owns a directory of the bench and what it starts there; both last for one run. All of it lies in the
bench's own namespaces (``bench.isolation``), so ending the bench ends everything that a tool left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

# Where root lacks CAP_SYS_RESOURCE a tool that raises its containers' limits cannot start one.
FILES, PROCESSES = "nofile=1024:1024", "nproc=1024:1024"
BASE = "base"
LIMIT = 300.0


class Missing(Exception):
    """The tool cannot take part; the message says why."""


class Failed(Exception):
    """A tool's command ended with an error; the message is the command and the end of its output."""


def run(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    """Run a command to its end and return its output; raise :class:`Failed` if it fails."""
    result = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        timeout=LIMIT,
        check=False,
    )
    output = result.stdout.decode(errors="replace")
    if result.returncode != 0:
        tail = "\n".join(output.strip().splitlines()[-12:])
        raise Failed(f"{' '.join(map(str, argv))}: exit status {result.returncode}\n{tail}")
    return output


def program(name: str) -> str:
    """The program that Debian's package installs; one of the same name elsewhere on PATH is another."""
    found = shutil.which(name, path="/usr/bin:/usr/sbin") or shutil.which(name)
    if found is None:
        raise Missing(f"'{name}' is not installed")
    return found


def wait_for(ready: Sequence[str], daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the command ``ready`` succeeds, up to half a minute; :class:`Missing` if it never does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and daemon.poll() is None:
        if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    daemon.kill()
    last = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise Missing("its daemon does not start: " + " / ".join(last))


class Tool(Protocol):
    """What the rows ask of a tool. A tool that cannot do a thing raises :class:`Missing`."""

    name: str

    def start(self) -> str:
        """Start what the tool needs, and return its version."""
        ...

    def stop(self) -> None:
        """End what :meth:`start` started."""
        ...

    def import_base(self, archive: Path) -> None:
        """Make the image :data:`BASE` of a root file system in a tar archive."""
        ...

    def build(self, context: Path, tag: str, *, cache: bool) -> None: ...

    def run(self, *, bridge: bool) -> None:
        """Run ``true`` in a new container, and remove it."""
        ...

    def start_detached(self, name: str) -> None: ...

    def create(self, name: str) -> None: ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove containers, running or not."""
        ...

    def list_all(self) -> None: ...

    def disk(self) -> int:
        """Bytes of disk that the tool's storage takes."""
        ...


def bytes_of(directory: Path) -> int:
    """Bytes of disk under a directory, mounts left out."""
    return int(run(["du", "-sx", "--block-size=1", directory]).split()[0])


class Docker:
    """Docker: a daemon of the bench's own, in the bench's own network namespace."""

    name = "docker"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemon: subprocess.Popen[bytes] | None = None
        self._socket = f"unix://{directory}/docker.sock"

    def _docker(self, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
        return run([program("docker"), "--host", self._socket, *arguments], env)

    def start(self) -> str:
        log = self.directory / "dockerd.log"
        with log.open("wb") as sink:
            self._daemon = subprocess.Popen(
                [
                    program("dockerd"),
                    *("--host", self._socket),
                    *("--data-root", self.directory / "data"),
                    *("--exec-root", self.directory / "exec"),
                    *("--pidfile", self.directory / "docker.pid"),
                    *("--default-ulimit", FILES),
                    *("--exec-opt", "native.cgroupdriver=cgroupfs"),
                    *("--storage-driver", "overlay2"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        wait_for([program("docker"), "--host", self._socket, "version"], self._daemon, log)
        version = self._docker("version", "--format", "{{.Server.Version}}").strip()
        return f"Docker {version} ({self._docker('info', '--format', '{{.Driver}}').strip()})"

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(60)

    def import_base(self, archive: Path) -> None:
        self._docker("import", archive, BASE)

    @property
    def running(self) -> bool:
        """Whether its daemon runs."""
        return self._daemon is not None and self._daemon.poll() is None

    def build(
        self, context: Path, tag: str, *, cache: bool, env: dict[str, str] | None = None
    ) -> None:
        options = [] if cache else ["--no-cache"]
        self._docker("build", *options, "-q", "-t", tag, context, env=env)

    def run(self, *, bridge: bool) -> None:
        self._docker("run", "--rm", *([] if bridge else ["--network", "host"]), BASE, "true")

    def start_detached(self, name: str) -> None:
        self._docker("run", "-d", "--network", "host", "--name", name, BASE, "sleep", "600")

    def create(self, name: str) -> None:
        self._docker("create", "--network", "host", "--name", name, BASE, "sleep", "600")

    def remove(self, names: Sequence[str]) -> None:
        self._docker("rm", "-f", *names)

    def list_all(self) -> None:
        self._docker("ps", "-a")

    def disk(self) -> int:
        return bytes_of(self.directory / "data")


class BuildsOnly:
    """What a tool answers that runs no containers.

    Attributes:
        why: the reason in the report.
    """

    why: ClassVar[str] = "builds only"

    def run(self, *, bridge: bool) -> None:
        raise Missing(self.why)

    def start_detached(self, name: str) -> None:
        raise Missing(self.why)

    def create(self, name: str) -> None:
        raise Missing(self.why)

    def remove(self, names: Sequence[str]) -> None:
        raise Missing(self.why)

    def list_all(self) -> None:
        raise Missing(self.why)

    def disk(self) -> int:
        raise Missing(self.why)


class DockerBuildKit(BuildsOnly):
    """Docker once more, its builds by BuildKit; the daemon and the base image are Docker's."""

    name = "docker buildkit"
    why = "runs containers as Docker does"

    def __init__(self, docker: Docker) -> None:
        self._tool = docker

    def start(self) -> str:
        if not self._tool.running:
            raise Missing("its daemon does not run")
        return "the same daemon, DOCKER_BUILDKIT=1"

    def stop(self) -> None:
        return None

    def import_base(self, archive: Path) -> None:
        return None

    def build(self, context: Path, tag: str, *, cache: bool) -> None:
        self._tool.build(context, tag, cache=cache, env={"DOCKER_BUILDKIT": "1"})


class Podman:
    """Podman, without a daemon, on a storage directory of the bench's own."""

    name = "podman"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._global = [
            *("--root", str(directory / "root")),
            *("--runroot", str(directory / "run")),
            *("--tmpdir", str(directory / "tmp")),
            *("--network-config-dir", str(directory / "networks")),
            *("--storage-driver", "overlay"),
            *("--cgroup-manager", "cgroupfs"),
            *("--events-backend", "file"),
            *("--runtime", program("runc")),
        ]
        self._limits = ["--ulimit", FILES, "--ulimit", PROCESSES]

    def _podman(self, *arguments: str | Path) -> str:
        return run([program("podman"), *self._global, *arguments])

    def start(self) -> str:
        return "Podman " + self._podman("--version").split()[-1]

    def stop(self) -> None:
        return None

    def import_base(self, archive: Path) -> None:
        self._podman("import", "-q", archive, BASE)

    def build(self, context: Path, tag: str, *, cache: bool) -> None:
        options = ["--layers"] if cache else ["--layers", "--no-cache"]
        self._podman("build", *options, *self._limits, "-q", "-t", tag, context)

    def run(self, *, bridge: bool) -> None:
        network = "podman" if bridge else "host"
        self._podman("run", "--rm", *self._limits, "--network", network, BASE, "true")

    def start_detached(self, name: str) -> None:
        options = [*self._limits, "--network", "host", "--name", name]
        self._podman("run", "-d", *options, BASE, "sleep", "600")

    def create(self, name: str) -> None:
        options = [*self._limits, "--network", "host", "--name", name]
        self._podman("create", *options, BASE, "sleep", "600")

    def remove(self, names: Sequence[str]) -> None:
        self._podman("rm", "-f", "-t", "0", *names)

    def list_all(self) -> None:
        self._podman("ps", "-a")

    def disk(self) -> int:
        return bytes_of(self.directory / "root")


class Buildah(BuildsOnly):
    """Buildah: builds only."""

    name = "buildah"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._global = [
            *("--root", str(directory / "root")),
            *("--runroot", str(directory / "run")),
            *("--storage-driver", "overlay"),
        ]

    def _buildah(self, *arguments: str | Path) -> str:
        return run([program("buildah"), *self._global, *arguments])

    def start(self) -> str:
        return "Buildah " + self._buildah("--version").split()[2]

    def stop(self) -> None:
        return None

    def import_base(self, archive: Path) -> None:
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", "-q", container, archive, "/")
        self._buildah("commit", "-q", "--rm", container, BASE)

    def build(self, context: Path, tag: str, *, cache: bool) -> None:
        options = ["--layers"] if cache else ["--layers", "--no-cache"]
        limits = ["--ulimit", FILES, "--ulimit", PROCESSES]
        runtime = ["--runtime", program("runc")]
        self._buildah("bud", *options, *limits, *runtime, "-q", "-t", tag, context)
