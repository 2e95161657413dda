"""What an init system gets: a unit for systemd, a script for rc.d."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import BIN

PACKAGING = Path(__file__).parents[3] / "packaging"


def test_unit_leaves_containers_running_and_tells_when_it_is_ready() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PACKAGING / "kleened.service")
    service = unit["Service"]
    assert (service["Type"], service["KillMode"]) == ("notify", "process")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_unit_is_valid(tmp_path: Path) -> None:
    text = (PACKAGING / "kleened.service").read_text()
    unit = tmp_path / "kleened.service"
    unit.write_text(text.replace("/usr/bin/kleened", str(BIN / "kleened")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_script_of_rc_d_is_a_shell_script() -> None:
    script = PACKAGING / "kleened.rc"
    subprocess.run(["sh", "-n", script], check=True)
    assert os.access(script, os.X_OK)
