"""The check for leftovers sees what a test leaves, and only what is this run's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import baseline
from tests.support.required import require

pytestmark = pytest.mark.slow


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, below this test's own directory."""
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False)
    require("oci", done.returncode == 0, "mount is not permitted")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_mount_is_seen(mounted: Path) -> None:
    assert f"mount {mounted} (tmpfs)" in baseline.take()


def test_what_is_gone_soon_is_not_held_against_a_test(tmp_path: Path) -> None:
    before = baseline.take()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False)
    require("oci", done.returncode == 0, "mount is not permitted")
    with subprocess.Popen(["sh", "-c", f"sleep 0.3; umount {tmp_path}"]):
        assert baseline.left_since(before, by_one_test=True) == []


def test_what_tests_share_is_no_single_ones(mounted: Path) -> None:
    with baseline.shared(str(mounted)):
        left = baseline.left_since(baseline.take() - {f"mount {mounted} (tmpfs)"}, by_one_test=True)
        assert left == []


def test_the_kernels_own_things_have_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLEENE_ALONE", raising=False)
    names = [name for _, name in socket.if_nameindex()]
    assert not {f"link {name}" for name in names} & baseline.take()
