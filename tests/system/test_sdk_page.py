"""The examples of the page on the Python client, run as they stand there, with what they must print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.page import Command

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
MARK = "-- end of an example --"


def test_examples(daemon: Daemon) -> None:
    text = PAGE.read_text().replace("/var/run/kleened.sock", str(daemon.socket))
    text = text.replace("Debian", "tiny")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    codes = [body for kind, body in blocks if kind == "python"]
    outputs = [body for kind, body in blocks if kind == "text"]
    assert len(codes) == len(outputs) >= 6
    script = "".join(f"{code}\nprint({MARK!r})\n" for code in codes)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for wanted, written in zip(outputs, done.stdout.split(f"{MARK}\n"), strict=False):
        assert Command("", wanted.splitlines()).is_output(written), f"{written}--- not:\n{wanted}"
