"""A whole daemon on a ZFS pool: builds, the ways into them, and prunes by ZFS' own accounts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import MIB
from tests.support import baseline
from tests.support.daemon import Daemon, wait_until
from tests.support.rootfs import write_tar

pytestmark = pytest.mark.slow

BROKEN = (
    "FROM tiny\nRUN head -c 3000000 /dev/urandom >/big && echo kept >/file\nWORKDIR /srv\n"
    "RUN echo half >half && test -e /fixed\nRUN rm /file /big\n"
)


@pytest.fixture(scope="module")
def daemon(zfs_pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with all that it stores below ``POOL/kleene``, with the image ``tiny``."""
    daemon = Daemon(configuration=f"storage: zfs\nzfs_dataset: {zfs_pool}/kleene\n")
    with baseline.shared(*daemon.marks):
        try:
            daemon.start()
            archive = write_tar(tmp_path_factory.mktemp("rootfs") / "tiny.tar")
            daemon.klee("image", "create", "-t", "tiny", "fetch", f"file://{archive}")
            yield daemon
        finally:
            daemon.destroy()


def test_a_build_is_entered_resumed_compared_and_pruned(
    daemon: Daemon, zfs_pool: str, tmp_path: Path
) -> None:
    dockerfile = tmp_path / "Dockerfile"

    def build(text: str, *options: str, check: bool = True) -> str:
        dockerfile.write_text(text)
        return daemon.klee("build", "-t", "web", *options, tmp_path, check=check).stdout

    def told(*arguments: str) -> Any:
        return json.loads(daemon.klee(*arguments, "--format", "json").stdout)

    build(BROKEN, check=False)
    assert daemon.klee("build", "shell", "web:failed", "--", "cat", "half").stdout == "half\n"
    build(BROKEN.replace("test -e /fixed", "true"), "--resume", "web:failed")
    assert "Using cached" in build(BROKEN.replace("test -e /fixed", "true"))
    assert [c["path"] for c in told("image", "diff", "web:failed", "web")] == [
        "big",
        "file",
        "srv",
        "srv/half",
    ]
    assert told("image", "blame", "web", "/file")["found"] is False
    found = daemon.klee("image", "bisect", "tiny", "web", "--", "test", "!", "-e", "/srv/half")
    assert "the command fails since step 4" in found.stdout
    container = daemon.klee("create", "web:failed").id
    daemon.restart()
    usage = told("df")
    before = used(zfs_pool)
    assert usage["own"] == pytest.approx(before, abs=MIB)
    daemon.klee("build", "prune", "--all", "--force")
    daemon.klee("rmc", container)
    daemon.klee("image", "prune", "--all", "--force")
    wait_until(lambda: used(zfs_pool) < MIB, "something is left")
    assert told("df")["own"] == 0


def used(pool: str) -> int:
    """Bytes of all datasets of the daemon, as ZFS has accounted for them by now."""
    argv = ["zfs", "get", "-Hp", "-o", "value", "used", f"{pool}/kleene"]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
