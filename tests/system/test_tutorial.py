"""The tutorial, done as its page says: every file written, every command typed, every output compared."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import baseline
from tests.support.daemon import BIN, Daemon, unused_network
from tests.support.page import Command, File, steps
from tests.support.required import require

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_PATIENCE = 600


class Reader:
    """Does what the page says, in a shell of their own: only the directory is kept from line to line."""

    def __init__(self, daemon: Daemon, home: Path) -> None:
        self.daemon = daemon
        self._directory, self._place = ROOT, home / "directory"
        (home / "bin").mkdir()
        self._write_klee(home / "bin" / "klee", f"http://{daemon.socket}")
        self._environment = os.environ | {
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "no_proxy": "*",
        }

    def _write_klee(self, path: Path, host: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(str(BIN / "klee"))} --host {host} "$@"\n')
        path.chmod(0o755)

    def write(self, file: File) -> None:
        (self._directory / file.name).write_text(file.text)

    def type(self, command: Command) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{command.line}\nstatus=$?; pwd >{self._place}; exit $status"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._directory,
            env=self._environment,
            timeout=_PATIENCE,
            check=False,
        )
        self._directory = Path(self._place.read_text().rstrip("\n"))
        if done.returncode != 0 or not command.is_output(done.stdout):
            containers = self.daemon.klee("lsc", "-a").stdout
            logs = self.daemon.klee("logs", "todo", check=False)
            said = f"$ {command.line}\n{done.stdout}\nstatus {done.returncode}"
            pytest.fail(f"{said}\n{containers}{logs}", pytrace=False)


@pytest.fixture
def reader(host: None, tmp_path: Path) -> Iterator[Reader]:
    require("oci", shutil.which("mmdebstrap") is not None, "'mmdebstrap' is not installed")
    daemon = Daemon(pool_size="20G")
    for mark in daemon.marks:
        baseline.mark(mark)
    try:
        daemon.start()
        yield Reader(daemon, tmp_path)
    finally:
        daemon.destroy()


def test_tutorial(reader: Reader) -> None:
    text = PAGE.read_text().replace("10.13.37.", f"{unused_network()}.")
    found = list(steps(text))
    assert len(found) > 40
    for step in found:
        if isinstance(step, File):
            reader.write(step)
        else:
            reader.type(step)
    assert reader.daemon.datasets() == []
