"""Kleene as one of the tools: ``klee`` as a user types it, on a daemon of the bench's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.tools import BASE, Missing, run, wait_for

_BIN = Path(sys.executable).parent


class Kleene:
    """Kleene on its embedded default: a sparse file with btrfs in it.

    Args:
        oci_runtime: the key of the configuration of that name. The others use runc where crun refuses
            the host, so Kleene with runc is what compares with them step by step.
    """

    def __init__(self, directory: Path, name: str = "kleene", *, oci_runtime: str = "auto") -> None:
        self.name = name
        self.directory = directory
        self._oci_runtime = oci_runtime
        self._socket = f"http://{directory}/kleened.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    def _klee(self, *arguments: str | Path) -> str:
        return run([_BIN / "klee", "--host", self._socket, *arguments], {"KLEE_THEME": "simple"})

    def start(self) -> str:
        if not (_BIN / "kleened").exists():
            raise Missing("'kleened' is not installed in the virtual environment")
        config = self.directory / "config.yaml"
        config.write_text(
            f"kleene_root: {self.directory}/root\napi_listening_sockets:\n"
            f"  - address: {self._socket}\noci_runtime: {self._oci_runtime}\n"
        )
        log = self.directory / "kleened.log"
        with log.open("wb") as sink:
            self._daemon = subprocess.Popen(
                [_BIN / "kleened", "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        wait_for([str(_BIN / "klee"), "--host", self._socket, "lsi"], self._daemon, log)
        # Two of them share the host's network.
        subnet = "10.13.38.0/24" if self._oci_runtime == "runc" else "10.13.37.0/24"
        self._klee("network", "create", "--subnet", subnet, "bench")
        return f"this checkout, {json.loads(self._klee('info', '--format', 'json'))['runtime']}"

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(60)

    def import_base(self, archive: Path) -> None:
        self._klee("image", "create", "-t", BASE, "fetch", f"file://{archive}")

    def build(self, context: Path, tag: str, *, cache: bool) -> None:
        self._klee("build", *([] if cache else ["--no-cache"]), "-q", "-t", tag, context)

    def run(self, *, bridge: bool) -> None:
        self._klee("run", "--rm", *(["--network", "bench"] if bridge else []), BASE, "true")

    def start_detached(self, name: str) -> None:
        self._klee("run", "-d", "--name", name, BASE, "sleep", "600")

    def create(self, name: str) -> None:
        self._klee("container", "create", "--name", name, BASE, "sleep", "600")

    def remove(self, names: Sequence[str]) -> None:
        self._klee("rmc", "-f", *names)

    def list_all(self) -> None:
        self._klee("lsc", "-a")

    def disk(self) -> int:
        """Bytes used in the file system that the daemon mounted below its data directory."""
        os.sync()
        return shutil.disk_usage(self.storage()).used

    def storage(self) -> Path:
        """Where that file system is mounted."""
        root = str(self.directory / "root")
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            where = line.split()[4]
            if where.startswith(root) and " - btrfs " in line:
                return Path(where)
        raise Missing("the daemon's storage is not mounted")

    def last_step(self, image: str) -> float:
        """Seconds that the last step of an image took."""
        steps = json.loads(self._klee("image", "history", "--format", "json", image))
        return float(steps[-1]["seconds"])

    def remove_image(self, name: str) -> None:
        self._klee("rmi", name)
