"""Containers and their processes at the command line: what they wrote, how they end, what goes in and out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kleene.client.operations import JsonClient
from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_containers_left(daemon: Daemon) -> Iterator[None]:
    """Each test begins without containers."""
    yield
    if names := daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", "-f", *names)


def bytes_of(daemon: Daemon, *arguments: str) -> tuple[bytes, bytes]:
    """The standard output and error of a ``klee`` command, as they are."""
    done = subprocess.run(daemon.command(*arguments), capture_output=True, check=True, timeout=60)
    return done.stdout, done.stderr


# --- Logs


def test_logs_are_the_bytes_that_were_written(daemon: Daemon) -> None:
    script = "head -c 30000 /dev/urandom | tee /random; printf e >&2; printf end"
    daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", f"{script}; sleep 600")
    written = wait_until(
        lambda: (
            (found := bytes_of(daemon, "logs", "--tail", "all", "box"))[0].endswith(b"end")
            and found
        ),
        "not all was logged",
    )
    random, _ = bytes_of(daemon, "exec", "-q", "box", "cat", "/random")
    assert written == (random + b"end", b"e")


def test_logs_of_all_runs_in_the_order_of_time(daemon: Daemon) -> None:
    daemon.klee("run", "--name", "box", "tiny", "sh", "-c", "echo one; echo two")
    daemon.klee("exec", "box", "echo", "three")
    assert daemon.klee("logs", "box").stdout == "one\ntwo\nthree\n"
    assert daemon.klee("logs", "--tail", "2", "box").stdout == "two\nthree\n"
    assert daemon.klee("logs", "--tail", "0", "box").stdout == ""
    assert daemon.klee("logs", "--since", "1h", "box").stdout == "one\ntwo\nthree\n"
    assert daemon.klee("logs", "--since", "2099-01-01", "box").stdout == ""
    for line in daemon.klee("logs", "--timestamps", "box").stdout.splitlines():
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|two|three)", line)


def test_logs_are_bounded_by_default(daemon: Daemon) -> None:
    daemon.klee("run", "--name", "box", "tiny", "seq", "3000")
    assert daemon.klee("logs", "box").stdout.split()[0] == "2001"
    assert len(daemon.klee("logs", "--tail", "all", "box").stdout.split()) == 3000


def test_logs_until_a_time(daemon: Daemon) -> None:
    daemon.klee("run", "--name", "box", "tiny", "sh", "-c", "seq 5; sleep 0.3; echo later")
    *_, last = daemon.klee("logs", "-t", "box").stdout.splitlines()
    end = ("--until", last.split()[0])
    assert daemon.klee("logs", *end, "box").stdout.split() == ["1", "2", "3", "4", "5"]
    assert daemon.klee("logs", *end, "-n", "2", "box").stdout.split() == ["4", "5"]
    assert daemon.klee("logs", *end, "-n", "0", "box").stdout == ""
    assert daemon.klee("logs", "-f", "--until", "1h", "box").stdout == ""
    daemon.klee("run", "-d", "--name", "goes-on", "tiny", "sh", "-c", "echo x; sleep 600")
    soon = f"{time.time() + 1:.3f}"
    assert daemon.klee("logs", "-f", "--until", soon, "goes-on").stdout == "x\n"


def test_logs_follow_until_the_container_stops(daemon: Daemon) -> None:
    script = "echo begun; until test -e /go; do sleep 0.1; done; echo done"
    daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", script)
    following = daemon.popen("logs", "-f", "box")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begun\n"
    daemon.klee("exec", "-q", "box", "sh", "-c", "echo other; touch /go")
    assert following.communicate(timeout=30)[0].splitlines() == [b"other", b"done"]
    assert following.returncode == 0


def test_logs_follow_a_container_that_is_removed_when_it_stops(daemon: Daemon) -> None:
    script = "echo begun; until test -e /go; do sleep 0.1; done; seq 100"
    daemon.klee("run", "-d", "--rm", "--name", "box", "tiny", "sh", "-c", script)
    following = daemon.popen("logs", "-f", "box")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begun\n"
    daemon.klee("exec", "-q", "box", "touch", "/go")
    assert following.communicate(timeout=30)[0].split()[-1] == b"100"


def test_to_stop_following_leaves_the_container_alone(daemon: Daemon) -> None:
    daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", "echo begun; sleep 600")
    following = daemon.popen("logs", "-f", "box")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begun\n"
    os.kill(following.pid, signal.SIGINT)
    assert following.communicate(timeout=30)[0].strip() == b""
    assert following.returncode == 130
    assert "running" in daemon.klee("lsc").stdout


def test_logs_that_cannot_be_shown(daemon: Daemon) -> None:
    daemon.klee("create", "--name", "box", "tiny", "true")
    assert daemon.klee("logs", "box").stdout == ""
    assert "no such container" in daemon.klee("logs", "none", check=False).stderr
    assert (
        "'noon' is not a time" in daemon.klee("logs", "--since", "noon", "box", check=False).stderr
    )
    wrong = daemon.klee("logs", "--tail", "few", "box", check=False)
    assert wrong.status == 2
    assert "'few' is neither a number of lines nor 'all'" in wrong.stderr


# --- Rotation


def test_logs_are_bounded_and_nothing_is_lost_at_a_rotation(
    new_daemon: Callable[..., Daemon],
) -> None:
    daemon = new_daemon()
    daemon.configuration = "container_log_size: 64K\ncontainer_log_files: 1000\n"
    daemon.restart()
    # It waits now and then for a second, so that the daemon finds the log grown while it is written.
    pause = "[ $((i % 2000)) != 0 ] || sleep 1.2"
    loop = f"i=0; while [ $i -lt 8000 ]; do echo line $i; i=$((i+1)); {pause}; done"
    script = f"until test -e /go; do sleep 0.1; done; {loop}"
    daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", script)
    following = daemon.popen("logs", "-f", "--tail", "all", "box")
    daemon.klee("exec", "-q", "box", "touch", "/go")
    wanted = "".join(f"line {number}\n" for number in range(8000))
    assert following.communicate(timeout=60)[0].decode() == wanted
    assert daemon.klee("logs", "--tail", "all", "box").stdout == wanted
    assert (
        daemon.klee("logs", "--tail", "5000", "box").stdout == wanted[wanted.index("line 3000\n") :]
    )
    files = list((daemon.root / "runtime" / "kept").glob("*/*/log.*"))
    assert files, "no log was rotated"
    daemon.configuration = "container_log_size: 64K\ncontainer_log_files: 2\n"
    daemon.restart()
    script = "i=0; while :; do echo line $i; i=$((i+1)); done"
    flood = daemon.klee("run", "-d", "--name", "flood", "tiny", "sh", "-c", script).id
    logs = daemon.root / "runtime" / "kept" / flood

    def rotated() -> set[str]:
        return {path.name for path in logs.glob("*/log.*")}

    first = wait_until(rotated, "it is not rotated")
    wait_until(lambda: rotated() and not rotated() & first, "the oldest is not removed")
    assert len(rotated()) <= 2
    daemon.klee("rmc", "-f", "flood", "box")


# --- The end of containers and their processes


def connections(pid: int) -> int:
    """How many sockets a process has open."""
    return sum(_is_socket(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed since it was listed
        return False


def test_wait_prints_exit_statuses(daemon: Daemon) -> None:
    script = "until test -e /go; do sleep 0.1; done; exit 3"
    daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", script)
    daemon.klee("run", "-d", "--rm", "--name", "gone", "tiny", "sh", "-c", script)
    waiting = daemon.popen("wait", "box", "gone")
    wait_until(lambda: connections(waiting.pid) == 2, "the client does not ask")
    daemon.klee("exec", "-q", "gone", "touch", "/go")
    wait_until(lambda: "gone" not in daemon.klee("lsc", "-a").stdout, "it is not removed")
    assert waiting.poll() is None
    daemon.klee("exec", "-q", "box", "touch", "/go")
    assert waiting.communicate(timeout=30)[0].split() == [b"3", b"3"]
    assert waiting.returncode == 0
    assert daemon.klee("wait", "box").stdout == "3\n"
    none = daemon.klee("wait", "nothing", check=False)
    assert none.status == 1
    assert "no such container" in none.stderr


def test_the_exit_status_is_that_of_the_main_process(daemon: Daemon) -> None:
    main = "until test -e /go; do sleep 0.1; done; exit 3"
    box = daemon.klee("run", "-d", "tiny", "sh", "-c", main).id
    longer = daemon.popen("exec", "-q", box, "sh", "-c", "until test -e /on; do sleep 0.1; done")
    wait_until(lambda: "/on" in daemon.klee("top", box).stdout, "the second process does not run")
    daemon.klee("exec", "-q", box, "touch", "/go")
    wait_until(lambda: "/go" not in daemon.klee("top", box).stdout, "the first process still runs")
    daemon.klee("exec", "-q", box, "touch", "/on")
    assert longer.wait(30) == 0
    assert daemon.klee("wait", box).stdout == "3\n"
    assert daemon.klee("exec", "-q", box, "sh", "-c", "exit 4", check=False).status == 4
    assert daemon.klee("wait", box).stdout == "4\n"  # it was started for that


def test_several_are_stopped_at_once(daemon: Daemon, tmp_path: Path) -> None:
    # Each ends only when the other was asked to, too: by way of a directory of the host.
    script = "trap 'touch /m/$0; until test -e /m/$1; do sleep 0.05; done; exit 5' TERM; touch /m/up-$0; "
    script += "while :; do sleep 0.1; done"
    for own, other in (("a", "b"), ("b", "a")):
        run = ("run", "-d", "--name", f"meets-{own}", "-m", f"{tmp_path}:/m", "tiny", "sh", "-c")
        daemon.klee(*run, script, own, other)
    wait_until(lambda: len(list(tmp_path.glob("up-*"))) == 2, "the traps are not set")
    stopped = daemon.klee("stop", "-t", "60s", "meets-a", "absent", "meets-b", check=False)
    assert stopped.status == 1
    assert len(stopped.stdout.split()) == 2
    assert "no such container: 'absent'" in stopped.stderr
    assert daemon.klee("wait", "meets-a", "meets-b").stdout.split() == ["5", "5"]
    for mark in tmp_path.iterdir():
        mark.unlink()
    restarted = daemon.klee("restart", "-t", "60s", "meets-a", "meets-b", "meets-a")
    assert len(re.findall(r"^[0-9a-f]{12}$", restarted.stdout, re.MULTILINE)) == 2
    assert daemon.klee("top", "meets-a").stdout.count("trap") == 1
    daemon.klee("rmc", "-f", "meets-a", "meets-b")


def test_kill_sends_a_signal(daemon: Daemon) -> None:
    script = "trap 'echo hup' HUP; touch /ready; while :; do sleep 0.1; done"
    box = daemon.klee("run", "-d", "--name", "box", "tiny", "sh", "-c", script).id
    daemon.klee("exec", "box", "sh", "-c", "until test -e /ready; do sleep 0.1; done")
    assert daemon.klee("kill", "-s", "hup", "box").stdout.strip() == box
    wait_until(lambda: daemon.klee("logs", "box").stdout == "hup\n", "no signal arrived")
    assert "no such signal: 'LOUD'" in daemon.klee("kill", "-s", "LOUD", "box", check=False).stderr
    daemon.klee("kill", "box")
    assert daemon.klee("wait", "box").stdout == "137\n"
    assert "is not running" in daemon.klee("kill", "box", check=False).stderr


def test_top_lists_processes(daemon: Daemon) -> None:
    daemon.klee("run", "-d", "--name", "box", "-u", "nobody", "tiny", "sleep", "600")
    title, line = daemon.klee("top", "box").stdout.splitlines()
    assert title.split() == ["PID", "PPID", "HOST", "PID", "USER", "STARTED", "CPU", "COMMAND"]
    pid, _, host_pid, user, *_ = line.split()
    assert user == "nobody"
    assert line.endswith("sleep 600")
    status = Path(f"/proc/{host_pid}/status").read_text()
    assert f"NSpid:\t{host_pid}\t{pid}\n" in status
    daemon.klee("kill", "box")
    daemon.klee("wait", "box")
    assert "is not running" in daemon.klee("top", "box", check=False).stderr


@pytest.mark.parametrize(("command", "status"), [("nosuch", 127), ("/etc", 126)])
def test_a_command_that_cannot_be_started(daemon: Daemon, command: str, status: int) -> None:
    done = daemon.klee("run", "--name", "box", "tiny", command, check=False)
    assert done.status == status
    assert f"command '{command}'" in done.stderr
    assert daemon.klee("exec", "box", command, check=False).status == status


# --- What a container is made of


def test_entrypoint_and_working_directory(daemon: Daemon) -> None:
    options = ("--workdir", "/made/here", "--entrypoint", "/bin/ls", "-q", "--name", "box")
    assert daemon.klee("run", *options, "tiny", "-d", "/bin").stdout == "/bin\n"
    assert daemon.klee("exec", "-q", "box", "pwd").stdout == "/made/here\n"
    shown = json.loads(daemon.klee("isc", "box").stdout)["container"]
    assert (shown["workdir"], shown["entrypoint"]) == ("/made/here", ["/bin/ls"])
    refused = daemon.klee("run", "--workdir", "here", "tiny", "true", check=False)
    assert "working directory 'here' is not absolute" in refused.stderr


def test_a_container_that_nothing_is_started_in_goes_down_again(daemon: Daemon) -> None:
    config = {"name": "early", "image": "tiny", "cmd": ["true"], "start_soon": True}
    created = JsonClient(f"http://{daemon.socket}").containers.create(config)
    try:
        wait_until(lambda: created in daemon.klee("lsc", "-q").stdout, "it is not brought up")
        # What the documented API takes where nothing is said.
        assert (
            json.loads(daemon.klee("isc", created).stdout)["container"]["network_driver"] == "ipnet"
        )
        wait_until(lambda: created not in daemon.klee("lsc", "-q").stdout, "it stays up")
    finally:
        daemon.klee("rmc", "-f", created)


def test_a_command_that_cannot_be_started_leaves_no_container_up(daemon: Daemon) -> None:
    refused = daemon.klee("run", "--name", "none", "tiny", "no-such-command", check=False)
    assert refused.status == 127
    assert daemon.klee("lsc", "-q").stdout == ""
    daemon.klee("rmc", "none")
