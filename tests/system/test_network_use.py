"""Containers on networks, as users meet them: published ports, neighbours, live connections, volumes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator

import pytest

from kleene.client.api import Client
from kleene.schemas.networks import EndPointConfig
from tests.support.daemon import Daemon, unused_network, wait_until

pytestmark = pytest.mark.slow

SERVE = (
    "sh",
    "-c",
    "mkdir -p /www && echo greetings > /www/index.html && httpd -f -p 8000 -h /www",
)


@pytest.fixture
def network(daemon: Daemon) -> Iterator[str]:
    """The name of a network of the test's own."""
    name = "use"
    daemon.klee("network", "create", "--subnet", f"{unused_network()}.0/24", name)
    yield name
    daemon.klee("rmn", name)


@pytest.fixture
def server(daemon: Daemon, network: str) -> Iterator[str]:
    """A web server on the network, its port 8000 published on another of the host's."""
    port = free_port()
    container = daemon.klee(
        "run", "-d", "--name", "server", "-n", network, "-p", f"{port}:8000", "tiny", *SERVE
    ).id
    yield f"{port}"
    daemon.klee("rmc", "-f", container)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(url: str) -> str:
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "3", url]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def address_of(daemon: Daemon, container: str) -> str:
    inspected = json.loads(daemon.klee("isc", container).stdout)
    return str(inspected["container_endpoints"][0]["ip_address"])


def test_a_published_port_is_redirected_and_closed_again(daemon: Daemon, server: str) -> None:
    url = f"http://127.0.0.1:{server}/"
    wait_until(lambda: page(url) == "greetings\n", "the published port does not answer")
    inspected = json.loads(daemon.klee("isc", "server").stdout)["container"]
    (published,) = inspected["public_ports"]
    assert (published["host_port"], published["container_port"]) == (server, "8000")
    assert published["ip_address"] == address_of(daemon, "server")
    daemon.klee("stop", "server")
    assert page(url) == ""


def test_a_port_is_published_once(daemon: Daemon, server: str, network: str) -> None:
    refused = daemon.klee(
        "run", "-d", "-n", network, "-p", f"{server}:80", "tiny", "true", check=False
    )
    assert refused.status == 1
    assert "already published by container 'server'" in refused.stderr
    assert len(daemon.klee("lsc", "-aq").stdout.split()) == 1


def test_a_port_is_published_on_an_interface_that_is_there(daemon: Daemon, network: str) -> None:
    refused = daemon.klee(
        "create", "-n", network, "-p", "none9:8000:80", "tiny", "true", check=False
    )
    assert refused.status == 1
    assert "no such interface: 'none9'" in refused.stderr
    assert "lo" in refused.stderr.partition("hint: ")[2]


@pytest.mark.parametrize("driver", ["host", "disabled"])
def test_a_driver_without_an_address_cannot_publish(daemon: Daemon, driver: str) -> None:
    refused = daemon.klee("run", "-l", driver, "-p", "8000", "tiny", "true", check=False)
    assert refused.status == 1
    assert "cannot publish ports" in refused.stderr
    assert daemon.klee("lsc", "-aq").stdout == ""


def test_neighbours_reach_each_other(daemon: Daemon, server: str, network: str) -> None:
    url = f"http://{address_of(daemon, 'server')}:8000/"
    wait_until(lambda: page(url) == "greetings\n", "the server does not listen")
    said = daemon.klee("run", "-q", "--rm", "-n", network, "tiny", "wget", "-q", "-O", "-", url)
    assert said.stdout == "greetings\n"


def test_a_running_container_is_connected_and_disconnected(daemon: Daemon, network: str) -> None:
    daemon.klee("run", "-d", "--name", "late", "-l", "vnet", "tiny", "sleep", "600")
    try:
        daemon.klee("network", "connect", network, "late")
        address = address_of(daemon, "late")
        assert address in daemon.klee("exec", "-q", "late", "ip", "addr").stdout
        daemon.klee("network", "disconnect", network, "late")
        assert address not in daemon.klee("exec", "-q", "late", "ip", "addr").stdout
    finally:
        daemon.klee("rmc", "-f", "late")


def test_a_container_may_have_no_address(daemon: Daemon, network: str) -> None:
    """As the API has it where none is asked for."""
    daemon.klee("create", "-l", "ipnet", "--name", "silent", "tiny", "sleep", "600")
    client = Client(f"http://{daemon.socket}")
    client.networks.connect(EndPointConfig(container="silent", network=network))
    daemon.klee("start", "-d", "silent")
    try:
        shown = daemon.klee("exec", "silent", "ip", "address", "show", "eth0").stdout
        assert "UP,LOWER_UP" in shown
        assert "inet " not in shown
        assert daemon.klee("exec", "silent", "ip", "route").stdout.count("default") == 0
    finally:
        daemon.klee("rmc", "-f", "silent")


def test_a_volume_is_filled_from_the_image_and_outlives_its_containers(daemon: Daemon) -> None:
    daemon.klee("run", "-q", "--rm", "-m", "data:/bin", "tiny", "sh", "-c", "echo kept > /bin/note")
    try:
        again = daemon.klee("run", "-q", "--rm", "-m", "data:/mnt:ro", "tiny", "cat", "/mnt/note")
        assert again.stdout == "kept\n"
        listed = daemon.klee("run", "-q", "--rm", "-m", "data:/mnt", "tiny", "ls", "/mnt").stdout
        assert "busybox" in listed or "sh" in listed.split()
        refused = daemon.klee(
            "run", "-q", "--rm", "-m", "data:/mnt:ro", "tiny", "touch", "/mnt/x", check=False
        )
        assert refused.status == 1
        assert "Read-only" in refused.stderr
    finally:
        daemon.klee("rmv", "data")
