"""``kill -9`` at any moment, then a restart: whole objects only, and what runs is found again."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, unused_network, wait_until
from tests.support.rootfs import write_tar

pytestmark = pytest.mark.slow

STEPS = 6


@pytest.fixture
def daemon(new_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon for one test alone: it is killed."""
    return new_daemon()


def visible(daemon: Daemon) -> set[str]:
    """Ids of all containers and images."""
    return set(daemon.klee("lsc", "-aq").stdout.split() + daemon.klee("lsi", "-q").stdout.split())


def on_disk(daemon: Daemon) -> set[str]:
    """Ids of the containers and images that have a file system."""
    names = (name.partition("@")[0].partition("/") for name in daemon.datasets())
    return {identifier for _, _, identifier in names}


def running(daemon: Daemon) -> set[str]:
    """Ids of the containers that run."""
    return set(daemon.klee("lsc", "-q").stdout.split())


def assert_whole(daemon: Daemon) -> None:
    """What is on disk is visible, and what is visible can be used."""
    assert on_disk(daemon) <= visible(daemon)
    for image in daemon.klee("lsi", "-q").stdout.split():
        assert daemon.klee("run", "-q", "--rm", image, "echo", "whole").stdout == "whole\n"


def kill_during(daemon: Daemon, seconds: float, *command: str | Path) -> None:
    """Start a command, kill the daemon a moment later, start the daemon again."""
    client = daemon.popen(*command)
    time.sleep(seconds)  # The moment itself is what is tested.
    daemon.kill()
    client.communicate(timeout=30)
    daemon.start()


def context(directory: Path) -> Path:
    """A build of some steps that take a moment each."""
    steps = [f"RUN echo {n} > /step-{n} && sleep 0.05" for n in range(STEPS)]
    (directory / "file").write_text("copied")
    lines = ["FROM tiny", *steps, "COPY file /", "CMD sleep 600"]
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    return directory


def moments(longest: float, count: int) -> Iterator[float]:
    """``count`` moments spread over ``longest`` seconds."""
    return (longest * (number + 0.5) / count for number in range(count))


def test_during_a_build(daemon: Daemon, tmp_path: Path) -> None:
    before = visible(daemon)
    for moment in moments(2.0, 8):
        kill_during(daemon, moment, "build", "--no-cache", "-t", "built", context(tmp_path))
        assert_whole(daemon)
        for image in visible(daemon) - before:
            daemon.klee("rmi", image)
        assert on_disk(daemon) <= before


def test_during_the_creation_of_a_base_image(daemon: Daemon, tmp_path: Path) -> None:
    files = {f"data/{number}": bytes(64 * 1024) for number in range(400)}
    archive = write_tar(tmp_path / "big.tar", files)
    before = visible(daemon)
    for moment in moments(0.8, 6):
        kill_during(daemon, moment, "image", "create", "-t", "big", "fetch", f"file://{archive}")
        assert_whole(daemon)
        for image in visible(daemon) - before:
            daemon.klee("rmi", image)
        assert on_disk(daemon) == before


def test_during_a_run(daemon: Daemon) -> None:
    daemon.klee("network", "create", "--subnet", f"{unused_network()}.0/24", "net")
    before = visible(daemon)
    for moment in moments(0.7, 8):
        kill_during(daemon, moment, "run", "-d", "-n", "net", "tiny", "sleep", "600")
        assert_whole(daemon)
        for container in visible(daemon) - before:
            daemon.klee("rmc", "-f", container)
        assert on_disk(daemon) == before
    assert daemon.klee("run", "-q", "--rm", "-n", "net", "tiny", "echo", "up").stdout == "up\n"


def test_during_a_stop(daemon: Daemon) -> None:
    for moment in moments(0.3, 4):
        container = daemon.klee("run", "-d", "tiny", "sleep", "600").id
        kill_during(daemon, moment, "stop", container)
        assert container in visible(daemon)
        daemon.klee("stop", container)
        assert container not in running(daemon)
        daemon.klee("rmc", container)


def test_during_a_removal(daemon: Daemon) -> None:
    for moment in moments(0.3, 5):
        container = daemon.klee("run", "-d", "tiny", "sleep", "600").id
        kill_during(daemon, moment, "rmc", "-f", container)
        assert_whole(daemon)
        if container in visible(daemon):
            daemon.klee("rmc", "-f", container)
        assert container not in on_disk(daemon)


def test_what_runs_goes_on_and_is_found_again(daemon: Daemon) -> None:
    script = "echo before; while [ ! -e /go ]; do sleep 0.05; done; echo after; exit 7"
    container = daemon.klee("run", "-d", "tiny", "sh", "-c", script).id
    daemon.restart()
    assert container in running(daemon)

    (daemon.pool() / "datasets" / "container" / container / "go").touch()
    wait_until(lambda: container not in running(daemon), "the container still runs")
    assert inspect(daemon, container)["exit_code"] == 7
    assert logs_of(daemon) == "before\nafter\n"


def test_what_ended_meanwhile_has_its_exit_code(daemon: Daemon) -> None:
    container = daemon.klee("run", "-d", "tiny", "sh", "-c", "sleep 1; exit 9").id
    daemon.kill()
    wait_until(lambda: not keepers(daemon), "the container goes on")
    daemon.start()
    wait_until(lambda: container not in running(daemon), "the container is not taken down")
    assert inspect(daemon, container)["exit_code"] == 9


def test_a_container_keeps_its_address(daemon: Daemon) -> None:
    daemon.klee("network", "create", "--subnet", f"{unused_network()}.0/24", "net")
    script = "while true; do echo hello | nc -l -p 8000; done"
    container = daemon.klee("run", "-d", "-n", "net", "tiny", "sh", "-c", script).id
    address = endpoint(daemon, container)["ip_address"]
    daemon.restart()
    assert endpoint(daemon, container)["ip_address"] == address
    command = ["busybox", "nc", "-w", "2", address, "8000"]

    def answer() -> bool:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        return done.stdout == b"hello\n"

    wait_until(answer, f"nobody answers on {address}")


def test_a_container_that_starts_with_the_daemon(daemon: Daemon) -> None:
    name = ["--name", "always", "--restart", "on-startup"]
    container = daemon.klee("create", *name, "tiny", "sleep", "600").id
    assert container not in running(daemon)
    daemon.restart()
    wait_until(lambda: container in running(daemon), "the container was not started")


def test_another_pool_is_not_taken_for_the_one_of_before(daemon: Daemon) -> None:
    """What is removed there would be forgotten where it lies."""
    before = visible(daemon)
    assert before
    daemon.stop()
    subprocess.run(["umount", daemon.pool()], check=True)
    file, away = daemon.root / "storage.btrfs", daemon.home / "away"
    file.rename(away)
    process = daemon.launch()
    assert process.wait(60) == 1
    assert "this is another storage pool than before" in daemon.log
    assert "hint: set 'storage'" in daemon.log
    subprocess.run(["umount", daemon.pool()], check=True)
    away.rename(file)
    daemon.start()
    assert visible(daemon) == before
    assert_whole(daemon)


def test_killed_again_and_again_while_it_starts(daemon: Daemon) -> None:
    container = daemon.klee("run", "-d", "tiny", "sleep", "600").id
    for moment in moments(0.6, 4):
        daemon.kill()
        daemon.process = daemon.launch()
        time.sleep(moment)
    daemon.restart()
    assert container in running(daemon)
    assert_whole(daemon)


def test_an_orderly_stop_is_quick_and_leaves_containers_running(daemon: Daemon) -> None:
    container = daemon.klee("run", "-d", "tiny", "sleep", "600").id
    start = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - start < 5
    daemon.start()
    assert container in running(daemon)


def inspect(daemon: Daemon, container: str) -> dict[str, Any]:
    """The container itself."""
    found: dict[str, Any] = _inspected(daemon, container)["container"]
    return found


def endpoint(daemon: Daemon, container: str) -> dict[str, Any]:
    """The container's only connection to a network."""
    (found,) = _inspected(daemon, container)["container_endpoints"]
    assert isinstance(found, dict)
    return found


def _inspected(daemon: Daemon, container: str) -> dict[str, Any]:
    value = json.loads(daemon.klee("container", "inspect", container).stdout)
    found: dict[str, Any] = value[0] if isinstance(value, list) else value
    return found


def logs_of(daemon: Daemon) -> str:
    """What the containers wrote, from the logs in the data directory."""
    files = sorted((daemon.root / "runtime" / "kept").glob("*/*/log"))
    return "".join(map(_text, files))


def _text(log: Path) -> str:
    """The text of a log in the k8s-file form of conmon: ``TIME STREAM F|P TEXT``."""
    lines = log.read_text().splitlines()
    return "".join(line.split(" ", 3)[3] + "\n" for line in lines if line.count(" ") >= 3)


def keepers(daemon: Daemon) -> list[Path]:
    """Processes that keep instances of this daemon's containers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"conmon" in command and str(daemon.root).encode() in command:
            found.append(process)
    return found
