"""A few seconds of coverage-guided fuzzing a target; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.support.required import require

pytestmark = pytest.mark.slow

SECONDS = 4
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(target: str, tmp_path: Path) -> None:
    require("atheris", find_spec("atheris") is not None, "atheris is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, tmp_path / "corpus", str(SECONDS)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "stat::number_of_executed_units" in done.stderr
