"""A scripted daemon, and ``klee`` run in this process or as one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kleene.cli.main import run
from tests.unit.client.scripted import ScriptedDaemon


class Done(NamedTuple):
    """How a command line went."""

    status: int
    out: str
    err: str


Klee = Callable[..., Done]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but the test's own."""
    for name in list(os.environ):
        if name.startswith("KLEE_") or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "s") as scripted:
        yield scripted


@pytest.fixture
def klee(daemon: ScriptedDaemon, capfd: pytest.CaptureFixture[str]) -> Klee:
    """Runs a command line against the daemon."""

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        status = run(["--host", daemon.host, *arguments])
        return Done(status, *capfd.readouterr())

    return call


@pytest.fixture
def klee_process(daemon: ScriptedDaemon) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts a command line in a process of its own; keyword arguments are Popen's."""

    def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", "from kleene.cli.main import main; main()"]
        return subprocess.Popen([*argv, "--host", daemon.host, *arguments], **options)  # type: ignore[call-overload, no-any-return]

    return start
