"""The commands of the page on debugging a build, run from the page itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "debugging-a-build.md"
_BLOCK = re.compile(r"```(dockerfile|console)\n(.*?)```", re.DOTALL)


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Every command of the page, with the lines that it shows below it."""
    found: list[tuple[str, list[str]]] = []
    for kind, block in _BLOCK.findall(text):
        for line in block.splitlines() if kind == "console" else []:
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def test_the_page_tells_what_happens(daemon: Daemon, tmp_path: Path) -> None:
    text = PAGE.read_text()
    (tmp_path / "shop").mkdir()
    dockerfile = next(block for kind, block in _BLOCK.findall(text) if kind == "dockerfile")
    (tmp_path / "shop" / "Dockerfile").write_text(dockerfile)
    klee, host, *_ = daemon.command()
    for command, shown in sessions(text):
        done = subprocess.run(
            ["sh", "-c", f'klee() {{ "{klee}" {host} {daemon.command()[2]} "$@"; }}; {command}'],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        failing = shown[:1] == ["exit status 1"]
        assert done.returncode == int(failing), (command, done.stdout, done.stderr)
        for line in shown[failing:]:
            assert line in done.stdout, (command, done.stdout, done.stderr)
    assert daemon.klee("lsc", "-aq").stdout == ""
