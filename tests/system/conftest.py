"""Daemons for system tests, and a tiny image for them to work with."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import baseline
from tests.support.daemon import Daemon
from tests.support.required import require
from tests.support.rootfs import write_tar

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TOOLS = {
    "mkfs.btrfs": "btrfs",
    "nft": "nftables",
    "runc": "oci",
    "conmon": "oci",
    "catatonit": "oci",
}


@pytest.fixture(scope="module", autouse=True)
def _orphans_go_to_process_1() -> None:
    """A runtime in this process, as the contract tests have one, makes it the parent of orphans (prctl(2)).

    Those of a daemon that is killed here must go to who reaps them: a container's init waits for that.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(scope="session")
def host() -> None:
    """What a daemon needs of the host, or the test is skipped."""
    require("oci", os.geteuid() == 0, "this is not root")
    for program, capability in TOOLS.items():
        require(capability, shutil.which(program) is not None, f"'{program}' is not installed")


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with busybox in it, as a tar archive."""
    return write_tar(tmp_path_factory.mktemp("rootfs") / "tiny.tar")


@pytest.fixture(scope="module")
def daemon(host: None, tiny_archive: Path) -> Iterator[Daemon]:
    """A daemon that the tests of a module share, with the image ``tiny``."""
    daemon = Daemon()
    with baseline.shared(*daemon.marks):
        try:
            daemon.start()
            add_tiny(daemon, tiny_archive)
            yield daemon
        finally:
            daemon.destroy()


@pytest.fixture
def new_daemon(host: None, tiny_archive: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons for one test alone, started, with the image ``tiny``."""
    with ExitStack() as stack:

        def make(pool_size: str = "4G") -> Daemon:
            daemon = Daemon(pool_size)
            for mark in daemon.marks:
                baseline.mark(mark)
            stack.callback(daemon.destroy)
            daemon.start()
            add_tiny(daemon, tiny_archive)
            return daemon

        yield make


def add_tiny(daemon: Daemon, archive: Path) -> None:
    """Make the image ``tiny`` of the archive."""
    daemon.klee("image", "create", "-t", "tiny", "fetch", f"file://{archive}")
