"""The published client of Kleene, in a virtual environment of its own: the judge of the documented API.

The environment is made once and kept below ``build-output/``. Installing asks the package index that pip is
configured for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import Daemon, Result
from tests.support.required import require

VERSION = "0.1.0rc4"
_PLACE = Path(__file__).parents[2] / "build-output" / f"published-client-{VERSION}"
_PATIENCE = 120.0
"""Seconds for a command, and twice as many for the installation."""


@dataclass(frozen=True)
class PublishedClient:
    """The client for one daemon. Without a terminal, a theme or a width that the host decides on."""

    python: Path
    daemon: Daemon

    def command(self, *arguments: str | Path) -> list[str]:
        """Its command line."""
        host = f"http://{self.daemon.socket}"
        words = [self.python, "-I", "-m", "klee.main", "--theme", "simple", "--host", host]
        return [str(word) for word in (*words, *arguments)]

    def __call__(
        self, *arguments: str | Path, status: int = 0, cwd: Path | None = None, stdin: str = ""
    ) -> Result:
        """Run it to its end, and assert its exit status."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            cwd=cwd or self.daemon.home,
            env={"PATH": os.environ["PATH"], "COLUMNS": "250", "HOME": str(self.daemon.home)},
            check=False,
        )
        assert done.returncode == status, (
            f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}\n"
            f"--- the daemon's log\n{self.daemon.log[-3000:]}"
        )
        return Result(done.returncode, done.stdout, done.stderr)


def install() -> Path:
    """The Python of the environment; it is made if it is not there. Skips the test if that fails."""
    python = _PLACE / "bin" / "python"
    if not python.exists():
        _PLACE.parent.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="published-client-", dir=_PLACE.parent))
        try:
            _make(made)
            # Another test run may be doing the same: the first one whole is kept.
            if not _PLACE.exists():
                made.rename(_PLACE)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return python


def _make(place: Path) -> None:
    venv.create(place, symlinks=True)
    target = ("--python", place / "bin" / "python", "install", "--quiet")
    done = subprocess.run(
        [sys.executable, "-m", "pip", *target, f"kleene-cli=={VERSION}"],
        capture_output=True,
        text=True,
        timeout=2 * _PATIENCE,
        check=False,
    )
    reason = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
    require("published-client", done.returncode == 0, f"it cannot be installed: {reason[0]}")
