"""Containers that start again by themselves, and that are asked whether they are well."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_containers_left(daemon: Daemon) -> Iterator[None]:
    """Each test begins without containers."""
    yield
    if names := daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", "-f", *names)


def inspected(daemon: Daemon, name: str) -> dict[str, Any]:
    """What is known of a container."""
    found: dict[str, Any] = json.loads(daemon.klee("isc", name).stdout)["container"]
    return found


def becomes(
    daemon: Daemon, name: str, condition: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    """What is known of a container when a condition holds."""
    return wait_until(
        lambda: condition(found := inspected(daemon, name)) and found,
        f"'{name}' does not come to that",
    )


def status(daemon: Daemon, name: str) -> str:
    """What a list tells of a container."""
    lines = daemon.klee("lsc", "-a").stdout.splitlines()
    return next(line for line in lines if f" {name} " in line)


# --- Restart policies


def test_a_failing_container_is_restarted_so_often(daemon: Daemon) -> None:
    began = time.monotonic()
    script = "echo run >> /runs; exit 4"
    daemon.klee(
        "run", "-d", "--name", "box", "--restart", "on-failure:3", "tiny", "sh", "-c", script
    )
    shown = becomes(
        daemon,
        "box",
        lambda c: c["restart_count"] == 3 and not c["running"] and not c["restarting"],
    )
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4
    assert shown["exit_code"] == 4
    assert (shown["restart_policy"], shown["restart_retries"]) == ("on-failure", 3)
    assert daemon.klee("exec", "-q", "box", "cat", "/runs").stdout == "run\n" * 4
    daemon.klee("start", "-d", "box")
    becomes(daemon, "box", lambda c: c["restart_count"] == 3 and not c["running"])
    daemon.klee("run", "--name", "well", "--restart", "on-failure", "tiny", "true")
    assert inspected(daemon, "well")["restart_count"] == 0
    assert not inspected(daemon, "well")["restarting"]


def test_a_users_stop_is_final(daemon: Daemon) -> None:
    for name, policy in (
        ("steady", "always"),
        ("calm", "unless-stopped"),
        ("off", "unless-stopped"),
    ):
        daemon.klee("run", "-d", "--name", name, "--restart", policy, "tiny", "sleep", "600")
    (line,) = daemon.klee("top", "steady").stdout.splitlines()[1:]
    os.kill(int(line.split()[2]), signal.SIGKILL)
    becomes(daemon, "steady", lambda c: c["running"] and c["restart_count"] == 1)
    daemon.klee("stop", "-t", "0", "off")
    daemon.klee("kill", "steady")
    wait_until(lambda: not inspected(daemon, "steady")["running"], "it is not killed")
    assert not inspected(daemon, "steady")["restarting"]
    daemon.klee("exec", "off", "true")
    daemon.restart()
    assert inspected(daemon, "calm")["running"]
    assert not inspected(daemon, "off")["running"]
    assert inspected(daemon, "steady")["running"], "it is to start with the daemon"
    (line,) = daemon.klee("top", "calm").stdout.splitlines()[1:]
    os.kill(int(line.split()[2]), signal.SIGKILL)
    becomes(daemon, "calm", lambda c: c["running"] and c["restart_count"] == 1)
    daemon.klee("update", "--restart", "no", "calm")
    (line,) = daemon.klee("top", "calm").stdout.splitlines()[1:]
    os.kill(int(line.split()[2]), signal.SIGKILL)
    becomes(daemon, "calm", lambda c: not c["running"] and not c["restarting"])


def test_a_container_is_stopped_while_it_waits_for_its_restart(daemon: Daemon) -> None:
    daemon.klee("run", "-d", "--name", "box", "--restart", "always", "tiny", "false")
    becomes(daemon, "box", lambda c: c["restart_count"] >= 3 and c["restarting"])
    daemon.klee("stop", "box")
    shown = inspected(daemon, "box")
    assert not shown["restarting"]
    daemon.klee("start", "-d", "box")
    becomes(daemon, "box", lambda c: c["restart_count"] >= 1)
    daemon.klee("rmc", "-f", "box")


def test_what_ended_while_the_daemon_was_away(daemon: Daemon) -> None:
    daemon.klee("run", "-d", "--name", "box", "--restart", "on-failure", "tiny", "sleep", "600")
    (line,) = daemon.klee("top", "box").stdout.splitlines()[1:]
    daemon.kill()
    os.kill(int(line.split()[2]), signal.SIGKILL)
    daemon.start()
    becomes(daemon, "box", lambda c: c["running"] and c["restart_count"] == 1)


# --- Health checks

FAST = ("--health-interval", "100ms", "--health-retries", "2")


def test_health_comes_and_goes(daemon: Daemon) -> None:
    command = "test -e /well && echo fine || { echo sick; exit 3; }"
    options = ("--health-cmd", command, *FAST, "--health-start-period", "1h")
    daemon.klee("run", "-d", "--name", "box", *options, "tiny", "sleep", "600")
    becomes(daemon, "box", lambda c: len(c["health"]["log"]) > 2)
    assert inspected(daemon, "box")["health"]["status"] == "starting"
    daemon.klee("update", "--health-start-period", "1ms", "box")
    shown = becomes(daemon, "box", lambda c: c["health"]["status"] == "unhealthy")
    last = shown["health"]["log"][-1]
    assert (last["exit_code"], last["output"]) == (3, "sick")
    assert last["started"] < last["ended"]
    assert "(unhealthy)" in status(daemon, "box")
    daemon.klee("exec", "box", "touch", "/well")
    shown = becomes(daemon, "box", lambda c: c["health"]["status"] == "healthy")
    assert shown["health"]["failures"] == 0
    assert "(healthy)" in status(daemon, "box")
    daemon.klee("update", "--health-cmd", "false", "--health-start-period", "1ms", "box")
    becomes(daemon, "box", lambda c: c["health"]["status"] == "unhealthy")
    daemon.klee("update", "--no-healthcheck", "box")
    assert inspected(daemon, "box")["health"] is None
    daemon.klee("stop", "-t", "0", "box")


def test_a_check_that_hangs_is_killed_with_all_it_started(daemon: Daemon) -> None:
    command = "sleep 611 & sleep 612; true"
    options = ("--health-cmd", command, "--health-timeout", "300ms", *FAST)
    daemon.klee("run", "-d", "--name", "box", *options, "tiny", "sleep", "600")
    shown = becomes(daemon, "box", lambda c: c["health"]["status"] == "unhealthy")
    last = shown["health"]["log"][-1]
    assert last["exit_code"] is None
    assert "not ended within 0.3 seconds" in last["output"]
    # One that is just being started is not told apart for some milliseconds.
    wait_until(
        lambda: len(daemon.klee("top", "-q", "box").stdout.split()) == 1,
        "checks are no processes of users",
    )
    daemon.kill()
    daemon.start()
    assert inspected(daemon, "box")["health"]["status"] == "unhealthy"
    daemon.klee("update", "--health-cmd", "true", "--health-interval", "1h", "box")
    wait_until(lambda: not sleepers("611") and not sleepers("612"), "a check goes on")
    assert sleepers("600")
    daemon.klee("update", "--health-interval", "100ms", "box")
    becomes(daemon, "box", lambda c: c["health"]["status"] == "healthy")


def sleepers(seconds: str) -> list[str]:
    """Processes that sleep so long."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_check_keeps_no_container_up(daemon: Daemon) -> None:
    options = ("--health-cmd", "sleep 600", "--health-interval", "50ms")
    script = "until test -e /go; do sleep 0.1; done"
    daemon.klee("run", "-d", "--name", "box", *options, "tiny", "sh", "-c", script)
    wait_until(lambda: "sleep 600" in group_of(daemon), "no check is started")
    daemon.klee("exec", "box", "touch", "/go")
    becomes(daemon, "box", lambda c: not c["running"])
    assert inspected(daemon, "box")["health"] is None


def group_of(daemon: Daemon) -> str:
    """The command lines of all that runs in this daemon's control groups."""
    (instance,) = [mark for mark in daemon.marks if "/" not in mark]
    lines = []
    for members in Path("/sys/fs/cgroup").glob(f"**/kleene-{instance}/*/cgroup.procs"):
        for pid in members.read_text().split():
            try:
                lines.append(
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                )
            except OSError:
                continue
    return "\n".join(lines)


def test_the_check_of_an_image(daemon: Daemon, tmp_path: Path) -> None:
    check = "HEALTHCHECK --interval=100ms --retries=1 CMD test $(id -u) = 65534\n"
    (tmp_path / "Dockerfile").write_text(f"FROM tiny\n{check}CMD sleep 600\n")
    daemon.klee("build", "-q", "-t", "checked", tmp_path)
    try:
        daemon.klee("run", "-d", "--name", "root", "checked")
        daemon.klee("run", "-d", "--name", "user", "-u", "nobody", "checked")
        daemon.klee("run", "-d", "--name", "without", "--no-healthcheck", "checked")
        becomes(daemon, "root", lambda c: c["health"]["status"] == "unhealthy")
        becomes(daemon, "user", lambda c: c["health"]["status"] == "healthy")
        assert inspected(daemon, "without")["health"] is None
        daemon.klee("rmc", "-f", "root", "user", "without")
    finally:
        daemon.klee("rmi", "checked")
