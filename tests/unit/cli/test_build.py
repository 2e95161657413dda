"""``klee build`` and ``klee image create``: what is asked, and how it is shown."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import Peer, ScriptedDaemon

I = "f7b6cc114e75"  # noqa: E741 - the image


def _begin(peer: Peer) -> None:
    peer.tell("starting", data=I)
    peer.tell("step_started", number=1, total=3, instruction="FROM Debian:latest")
    peer.tell("step_finished", number=1, snapshot="", cached=False, seconds=0.0)
    peer.tell("step_started", number=2, total=3, instruction="RUN apt-get update")
    peer.tell("step_finished", number=2, snapshot="c069e69af8cf", cached=True, seconds=0.0)
    peer.tell("step_started", number=3, total=3, instruction="RUN ls /")
    peer.output(b"bin\n")
    peer.output(b"no newline", stream=2)


def _success(peer: Peer, config: Any) -> None:
    _begin(peer)
    peer.tell("step_finished", number=3, snapshot="7cb0ccbebd9d", cached=False, seconds=1.5)
    peer.tell("closing", message="image created", data=I)
    peer.receive()


def _failure(peer: Peer, config: Any) -> None:
    _begin(peer)
    message = "the command '/bin/sh -c ls /' returned a non-zero code: 2"
    peer.tell("failed", message=message, data="c069e69af8cf", exit_code=2, image_id=I)
    peer.receive()


def test_plain_build(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.stream("/images/build", _success)
    done = klee("build", "-t", "web", ".")
    assert (done.status, done.err) == (0, "")
    out, took = re.subn(r"steps, \d+\.\d s", "steps, T", done.out)
    assert took == 1
    assert out == (
        f"Started to build image with ID {I}\n"
        "Step 1/3 : FROM Debian:latest\n"
        "Step 2/3 : RUN apt-get update\n"
        "--> Using cached snapshot @c069e69af8cf\n"
        "Step 3/3 : RUN ls /\n"
        "bin\nno newline\n"
        "--> Snapshot created: @7cb0ccbebd9d\n"
        f"\nimage created (1 of 2 states cached, 1 snapshot made, 3 steps, T)\n{I}\n"
    )


def test_build_sends_the_configuration(
    daemon: ScriptedDaemon, klee: Klee, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t")
    daemon.stream("/images/build", _success)
    klee(
        *"image build sub -f D -t web:1 --build-arg A=1 --build-arg TOKEN --build-arg NONE".split(),
        *"--from base@3f --no-cache --target app --rm --parallel 3".split(),
        *"-n net --ip 10.0.0.3 -e E=2 -u app --label team=web".split(),
    )
    body = daemon.requests[0].body
    container = body.pop("container_config")
    assert body == {
        "context": str(tmp_path / "sub"),
        "dockerfile": "D",
        "tag": "web:1",
        "buildargs": {"A": "1", "TOKEN": "t"},
        "cleanup": True,
        "quiet": False,
        "no_cache": True,
        "target": "app",
        "check": False,
        "no_cache_filter": [],
        "cache_last_step": None,
        "parallel": 3,
        "ordered": True,
        "resume": "",
        "labels": {"team": "web"},
        "networks": [
            {"container": "", "network": "net", "ip_address": "10.0.0.3", "ip_address6": "<auto>"}
        ],
    }
    assert (container["image"], container["network_driver"]) == ("base@3f", "ipnet")
    assert (container["env"], container["user"]) == (["E=2"], "app")
    klee("build", ".")
    assert daemon.requests[1].body["cleanup"] is False
    assert daemon.requests[1].body["container_config"]["network_driver"] == "host"


@pytest.mark.parametrize(("tag", "name"), [("web:1", "web:failed"), ("", I)])
def test_failed_build_tells_how_to_look_into_it(
    daemon: ScriptedDaemon, klee: Klee, tag: str, name: str
) -> None:
    daemon.stream("/images/build", _failure)
    done = klee("build", *(["-t", tag] if tag else []), ".")
    assert done.status == 1
    assert done.out.endswith(
        f"no newline\nFailed to build image {I}. Most recent snapshot is @c069e69af8cf\n"
    )
    assert "klee: the command '/bin/sh -c ls /' returned a non-zero code: 2\n" in done.err
    assert f"klee run -it {name}@c069e69af8cf /bin/sh" in done.err


def test_failed_run_tells_how_to_walk_into_its_step(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        left = {"data": "c069e69af8cf", "failed_snapshot": "d0d0d0d0d0d0", "step": 3}
        peer.tell("failed", message="no", image_id=I, **left)
        peer.receive()

    daemon.stream("/images/build", script)
    done = klee("build", "-t", "web", ".")
    assert "klee run -it web:failed@d0d0d0d0d0d0 /bin/sh\n" in done.err
    assert "klee build shell web:failed --step 3 --failed\n" in done.err


def test_dockerfile_that_cannot_be_understood(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        details = "Dockerfile:2:1\n  2 | RNU ls"
        peer.tell("failed", message="unknown 'RNU'", details=details, hint="did you mean RUN?")
        peer.receive()

    daemon.stream("/images/build", script)
    assert klee("build", ".") == (
        1,
        "",
        "klee: unknown 'RNU'\nDockerfile:2:1\n  2 | RNU ls\nhint: did you mean RUN?\n",
    )


def test_quiet_build(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.stream("/images/build", _success)
    assert klee("build", "-q", ".") == (0, f"{I}\n", "")
    assert daemon.requests[0].body["quiet"] is True
    daemon.stream("/images/build", _failure)
    failed = klee("build", "-q", ".")
    assert (failed.status, failed.out) == (1, "")
    assert "Most recent snapshot is @c069e69af8cf" in failed.err


def test_interrupt_cancels_the_build(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    gone = threading.Event()

    def script(peer: Peer, config: Any) -> None:
        _begin(peer)
        if peer.receive() is None:
            gone.set()

    daemon.stream("/images/build", script)
    process = klee_process("build", ".", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        while process.stdout.readline() != b"bin\n":
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert b"klee: the build was cancelled" in process.stderr.read()
    assert gone.wait(20)


def _in_terminal(
    klee_process: Callable[..., subprocess.Popen[bytes]], *arguments: str
) -> tuple[int, str]:
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "COLUMNS": "100"}
    process = klee_process(*arguments, stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 20)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # EIO: the last one closed it
            break
    os.close(master)
    return process.wait(20), shown.decode()


def test_live_view(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    daemon.stream("/images/build", _success)
    status, shown = _in_terminal(klee_process, "build", ".")
    assert status == 0
    assert "✓" in shown
    for text in (
        "2/3 RUN apt-get update",
        "cached",
        "1.5 s",
        "1 of 2 states cached, 1 snapshot made, 3 steps",
        I,
    ):
        assert text in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is shown again


def test_live_view_of_a_failure_keeps_the_output(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    daemon.stream("/images/build", _failure)
    status, shown = _in_terminal(klee_process, "build", "-t", "web", ".")
    assert status == 1
    _, _, end = shown.partition("✗")
    assert "3/3 RUN ls /" in end
    assert "bin\r\n" in end
    assert "no newline" in end
    assert "klee run -it web:failed@c069e69af8cf /bin/sh" in end


def test_plain_progress_in_a_terminal(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    daemon.stream("/images/build", _success)
    status, shown = _in_terminal(klee_process, "build", "--progress", "plain", ".")
    assert status == 0
    assert "Step 2/3 : RUN apt-get update" in shown


def _create(peer: Peer, config: Any) -> None:
    peer.tell("starting")
    for done in range(0, 1001, 5):
        peer.tell("progress", operation="fetch", done=done * 1000, total=1_000_000, unit="bytes")
    peer.output(b"unpacking\n")
    peer.tell("progress", operation="unpack", done=20_000, total=None, unit="entries")
    peer.tell("closing", message="image created", data=I)
    peer.receive()


def test_image_create(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.stream("/images/create", _create)
    done = klee("image", "create", "-t", "Debian", "fetch-auto")
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert lines[:2] == ["fetch: 10% (100.0 kB of 1.0 MB)", "fetch: 20% (200.0 kB of 1.0 MB)"]
    assert lines[10:] == ["unpacking", "unpack: 20000 entries", "image created", I]
    assert daemon.requests[0].body == {
        "method": "fetch-auto",
        "tag": "Debian",
        "url": "",
        "zfs_dataset": "",
        "autotag": False,
        "force": False,
        "dns": True,
        "localtime": True,
        "update": False,
    }


def test_image_create_with_a_bar(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    daemon.stream("/images/create", _create)
    status, shown = _in_terminal(klee_process, "image", "create", "fetch-auto")
    assert status == 0
    assert "fetch" in shown
    assert "unpacking" in shown
    assert shown.rstrip().endswith(I)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://h/x.tar", "https://h/x.tar"),
        ("a b.tar", "file://{cwd}/a%20b.tar"),
        ("/x", "file:///x"),
    ],
)
def test_source_of_fetch(
    daemon: ScriptedDaemon, klee: Klee, tmp_path: Path, source: str, url: str
) -> None:
    daemon.stream("/images/create", _create)
    assert klee("image", "create", "fetch", source).status == 0
    assert daemon.requests[0].body["url"] == url.format(cwd=tmp_path)
    assert daemon.requests[0].body["autotag"] is True


def test_image_create_from_a_dataset_that_fails(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("failed", message=f"dataset '{config['zfs_dataset']}' does not exist")
        peer.receive()

    daemon.stream("/images/create", script)
    done = klee("image", "create", "zfs-clone", "tank/x")
    assert (done.status, done.err) == (1, "klee: dataset 'tank/x' does not exist\n")
