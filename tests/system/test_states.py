"""What users look at and keep of containers: attach, stats, diff, commit, events."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon import Daemon, unused_network, wait_until

pytestmark = pytest.mark.slow

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    for container in daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", "-f", container)


def test_diff_and_commit(daemon: Daemon) -> None:
    daemon.klee(
        *("run", "-d", "--name", "web", "-e", "A=1", "-m", "vol:/vol", "tiny", "sh", "-c"),
        "mkdir /new; echo x > /new/f; chmod 600 /etc/passwd; rm /etc/group; echo v > /vol/v;"
        "touch /done; sleep 600",
    )
    wait_until(lambda: "/done" in daemon.klee("diff", "web").stdout, "the container is not ready")
    listed = daemon.klee("diff", "web").stdout.splitlines()
    # Nothing of volumes, and not the files of /etc that the image has not and the daemon mounts.
    changes = ("A /done", "A /new", "A /new/f", "A /vol", "C /etc/passwd", "D /etc/group")
    assert sorted(listed) == sorted(changes)
    assert {"kind": "removed", "path": "/etc/group"} in json.loads(
        daemon.klee("diff", "--format", "json", "web").stdout
    )

    change = ("-c", 'CMD ["cat", "/new/f"]', "-c", "ENV B=2 C=$A", "-c", "LABEL who=me")
    image = daemon.klee("commit", *change, "-m", "as it is", "web", "kept:1").stdout.strip()
    daemon.klee("rmc", "-f", "web")
    assert daemon.klee("run", "-q", "--rm", "kept:1").stdout == "x\n"
    shown = json.loads(daemon.klee("isi", "kept:1").stdout)
    assert (shown["id"], shown["labels"]["who"]) == (image, "me")
    assert [text for text, _ in shown["instructions"]] == ["COMMIT web # as it is", *change[1::2]]
    assert {"A=1", "B=2", "C=1"} <= set(shown["env"])
    again = daemon.klee(
        "run", "-q", "--rm", "kept:1", "sh", "-c", "ls -A /vol; stat -c %a /etc/passwd"
    )
    assert again.stdout == "600\n"
    assert "/etc/hosts" not in daemon.klee("image", "diff", "tiny", "kept:1").stdout
    assert daemon.klee("diff", daemon.klee("create", "kept:1").id).stdout == ""
    for container in daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", container)
    for words, said in (
        (("commit", "nothing"), "no such container: 'nothing'"),
        (("diff", "nothing"), "no such container: 'nothing'"),
        (("commit", "-c", "RUN true", "idle"), "does not change the configuration"),
        (("commit", "-c", "NONSENSE", "idle"), "NONSENSE"),
        (("commit", "idle", "a b"), "no valid name"),
    ):
        daemon.klee("create", "--name", "idle", "tiny", "true", check=False)
        done = daemon.klee(*words, check=False)
        assert (done.status, said in done.stderr) == (1, True), done.stderr
    daemon.klee("rmi", "kept:1")
    daemon.klee("rmv", "vol")


def test_stats(daemon: Daemon) -> None:
    network = unused_network()
    daemon.klee("network", "create", "--subnet", f"{network}.0/24", "statsnet")
    busy = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); while :; do :; done"
    daemon.klee(
        "run",
        "-d",
        "--name",
        "busy",
        "-n",
        "statsnet",
        "--memory",
        "256m",
        "tiny",
        "sh",
        "-c",
        busy,
    )
    daemon.klee("run", "-d", "--name", "idle", "tiny", "sleep", "600")

    def measured() -> dict[str, dict[str, float]]:
        found = json.loads(daemon.klee("stats", "--no-stream", "--format", "json").stdout)
        return {each["name"]: each for each in found}

    wait_until(lambda: measured()["busy"]["memory"] > 20_000_000, "memory is not counted")
    found = measured()
    assert found["busy"]["cpu_percent"] > 10 > found["idle"]["cpu_percent"]
    assert found["busy"]["memory_limit"] in (0, 256 * 1024**2)
    assert found["busy"]["pids"] == 2
    assert found["busy"]["sent_bytes"] is not None
    assert found["idle"]["received_bytes"] is None
    table = daemon.klee("stats", "--no-stream", "busy").stdout.splitlines()
    assert [line.split()[:2][-1] for line in table] == ["ID", "busy"]
    streaming = daemon.popen("stats", "--format", "json", "idle")
    assert streaming.stdout is not None
    lines = [json.loads(streaming.stdout.readline()) for _ in range(2)]
    streaming.terminate()
    streaming.wait(PATIENCE)
    streaming.stdout.close()
    assert lines[0][0]["time"] < lines[1][0]["time"]
    daemon.klee("stop", "idle")
    stopped = daemon.klee("stats", "--no-stream", "idle", check=False)
    assert "container 'idle' is not running" in stopped.stderr
    daemon.klee("rmc", "-f", "busy")
    daemon.klee("rmn", "statsnet")


def test_events(daemon: Daemon) -> None:
    begin = daemon.klee("events", "--since", "1h", "--until", "0s", "--format", "json").stdout
    assert json.loads(begin.splitlines()[0])["kind"] == "daemon"
    live = daemon.popen("events", "--filter", "container=web", "--format", "json")
    assert live.stdout is not None
    # It listens when it has told of something.
    poke = time.monotonic()
    while not select.select([live.stdout], [], [], 0.2)[0]:
        assert time.monotonic() - poke < PATIENCE
        daemon.klee("create", "--name", "web", "tiny", "true")
        daemon.klee("rmc", "web")
    daemon.klee("run", "-q", "--name", "web", "tiny", "sh", "-c", "exit 3", check=False)
    daemon.klee("wait", "web")
    daemon.klee("container", "rename", "web", "site")
    daemon.klee("image", "tag", "tiny", "other:2")
    daemon.klee("image", "tag", "other:2", "tiny")
    daemon.klee("volume", "create", "v")
    daemon.klee("rmv", "v")

    def story(*filters: str) -> list[tuple[str, str]]:
        words = [word for each in filters for word in ("--filter", each)]
        text = daemon.klee(
            "events", "--since", "1h", "--until", "0s", "--format", "json", *words
        ).stdout
        found = [json.loads(line) for line in text.splitlines()]
        return [(each["action"], each["attributes"].get("exit_code", "")) for each in found]

    told = story("container=web", "type=container")[-6:]
    assert told[:3] == [("create", ""), ("start", ""), ("exec-start", "")]
    assert sorted(told[3:]) == [("die", "3"), ("exec-die", "3"), ("update", "")]
    assert ("tag", "") in story("type=image")
    assert [action for action, _ in story("volume=v")] == ["create", "remove"]
    both = story("type=volume", "event=remove", "event=create")
    assert both[-2:] == story("volume=v")
    live.terminate()
    assert b'"exit_code":"3"' in live.stdout.read()
    live.wait(PATIENCE)
    live.stdout.close()
    human = daemon.klee("events", "--since", "1h", "--until", "0s", "--filter", "volume=v").stdout
    assert " volume create v\n" in human
    for words, status, said in (
        (("--filter", "colour=red"), 2, "filter 'colour=red' of events has an unknown key"),
        (("--since", "yore"), 1, "'yore' is not a time"),
    ):
        done = daemon.klee("events", *words, check=False)
        assert (done.status, said in done.stderr) == (status, True), done.stderr


class Terminal:
    """A pseudo-terminal with ``klee`` in it."""

    def __init__(self, command: list[str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def see(self, text: bytes) -> None:
        """Wait until ``text`` is shown; what was shown up to it is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.shown
            self.shown += os.read(self.master, 65536)
        self.shown = self.shown.partition(text)[2]


@contextmanager
def terminal(daemon: Daemon, *words: str) -> Iterator[Terminal]:
    made = Terminal(daemon.command(*words))
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(PATIENCE)
        os.close(made.master)


def test_attach_to_a_terminal(daemon: Daemon) -> None:
    with terminal(daemon, "run", "-it", "--name", "shell", "tiny", "sh") as first:
        first.see(b"# ")
        first.type(b"echo one-$((1+1))\n")
        first.see(b"one-2")
        with terminal(daemon, "attach", "shell") as second:
            second.type(b"echo two-$((2+2))\n")
            second.see(b"two-4")
            first.see(b"two-4")  # both watch
            second.type(b"\x10\x11")
            second.see(b"detached from ")
            assert second.process.wait(PATIENCE) == 0
        first.type(b"echo three-$((3+3))\n")
        first.see(b"three-6")
        first.type(b"\x10")
        first.type(b"\x11")
        first.see(b"detached from ")
        assert first.process.wait(PATIENCE) == 0
    assert "shell" in daemon.klee("lsc").stdout
    daemon.restart()
    with terminal(daemon, "attach", "shell") as third:
        third.type(b"echo four-$((4+4))\n")
        third.see(b"four-8")
        third.type(b"exit 5\n")
        assert third.process.wait(PATIENCE) == 5


def test_attach_without_a_terminal(daemon: Daemon) -> None:
    first = subprocess.Popen(
        daemon.command("run", "-qi", "--name", "cat", "tiny", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdin and first.stdout
    first.stdin.write(b"a\n")
    first.stdin.flush()
    assert first.stdout.readline() == b"a\n"
    watchers = [daemon.popen("attach", "--no-stdin", "cat") for _ in range(2)]
    for watcher in watchers:  # each is connected when it has shown something
        assert watcher.stdout
        while not select.select([watcher.stdout], [], [], 0.2)[0]:
            first.stdin.write(b"a\n")
            first.stdin.flush()
            assert first.stdout.readline() == b"a\n"
    second = subprocess.Popen(
        daemon.command("attach", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert second.stdin and second.stdout
    second.stdin.write(b"b\n")
    second.stdin.flush()
    assert (second.stdout.readline(), first.stdout.readline()) == (b"b\n", b"b\n")
    # One that leaves takes nothing from the others; the end of input is the end for all.
    watchers[0].terminate()
    watchers[0].wait(PATIENCE)
    for attached in (first, second):
        assert attached.stdin
        attached.stdin.write(b"c\n")
        attached.stdin.flush()
        assert first.stdout.readline() == second.stdout.readline() == b"c\n"
    second.stdin.close()
    assert [process.wait(PATIENCE) for process in (first, second, watchers[1])] == [0, 0, 0]
    for process in (first, second, *watchers):
        for pipe in (process.stdin, process.stdout):
            if pipe and not pipe.closed:
                pipe.close()
    idle = daemon.klee("attach", "cat", check=False)
    assert "container 'cat' is not running" in idle.stderr
