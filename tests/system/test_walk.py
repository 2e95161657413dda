"""The walk of the README, for real: Debian, its packages, a Flask server, and nothing left at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import baseline
from tests.support.daemon import Daemon, unused_network, wait_until
from tests.support.required import require

pytestmark = pytest.mark.slow

CONTEXT = Path(__file__).parents[2] / "demo"


@pytest.fixture
def bare_daemon(host: None) -> Iterator[Daemon]:
    """A daemon that was just installed: no image, nothing configured."""
    require("oci", shutil.which("mmdebstrap") is not None, "'mmdebstrap' is not installed")
    daemon = Daemon(pool_size="20G")
    for mark in daemon.marks:
        baseline.mark(mark)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.destroy()


def address_of(daemon: Daemon, container: str) -> str:
    """The container's address, as ``inspect`` shows it."""
    inspected = json.loads(daemon.klee("container", "inspect", container).stdout)
    if isinstance(inspected, list):
        inspected = inspected[0]
    (endpoint,) = inspected["container_endpoints"]
    return str(endpoint["ip_address"])


def page(address: str) -> str:
    """What the server says; empty while it does not listen."""
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "5", f"http://{address}:8000/"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_from_a_dockerfile_to_a_running_container(bare_daemon: Daemon) -> None:
    klee = bare_daemon.klee
    klee("image", "create", "-t", "Debian", "fetch-auto", timeout=600)
    network = unused_network()
    klee("network", "create", "--subnet", f"{network}.0/24", "testnet")

    built = klee("build", "-t", "test:latest", ".", cwd=CONTEXT, timeout=600).stdout
    assert "Step 2/5 : RUN apt-get update" in built
    assert "--> Snapshot created: @" in built

    container = klee("run", "-d", "--network", "testnet", "test:latest").id
    address = address_of(bare_daemon, container)
    assert address.startswith(f"{network}.")
    wait_until(lambda: page(address) == "Hello World!", "the page does not greet", 60)

    images = klee("lsi").stdout
    assert "Debian" in images
    assert "test" in images
    assert container in klee("lsc", "-a").stdout
    assert "flask run" in klee("exec", container, "ps", "-ax").stdout

    klee("stop", container)
    assert page(address) == ""
    klee("rmc", container)
    klee("rmi", "test:latest")
    klee("rmi", "Debian")
    klee("rmn", "testnet")
    assert bare_daemon.datasets() == []
