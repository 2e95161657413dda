"""Builds for real, by ``klee build``: what comes of every instruction, seen from inside the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result

pytestmark = pytest.mark.slow

Build = Callable[..., Result]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    """Builds a Dockerfile of the given text as the image ``made``."""

    def build(text: str | bytes, *options: str, check: bool = True) -> Result:
        data = text if isinstance(text, bytes) else text.encode()
        (context / "Dockerfile").write_bytes(data)
        return daemon.klee("build", "-t", "made", *options, context, check=check)

    return build


@pytest.fixture
def run(daemon: Daemon) -> Callable[..., str]:
    """What a command prints in a container of the image ``made``."""

    def run(*command: str, image: str = "made") -> str:
        return daemon.klee("run", "--rm", image, *command).stdout

    return run


def test_bytes_that_are_no_text_are_shown_by_their_place(build: Build) -> None:
    failed = build(b"FROM tiny\nRUN \xff\n", check=False)
    assert failed.status == 1
    assert "Dockerfile:2:5: byte 0xff is not valid UTF-8" in failed.stderr
