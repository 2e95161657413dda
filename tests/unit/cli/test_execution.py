"""``klee run``, ``exec``, ``start`` and ``restart`` without a terminal."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import Peer, Script, ScriptedDaemon

C, E = "c" * 12, "e" * 12


def _script(daemon: ScriptedDaemon, script: Script) -> None:
    daemon.answer("POST", "/containers/create", {"id": C}, 201)
    daemon.answer("POST", "/exec/create", {"id": E}, 201)
    daemon.stream("/exec/start", script)


def _ends(code: int = 0, *, stopped: bool = True, output: bytes = b"hi\n") -> Script:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting")
        if output:
            peer.output(output)
        peer.tell("closing", exit_code=code, container_stopped=stopped)
        peer.receive()

    return script


def test_run_prints_as_documented(daemon: ScriptedDaemon, klee: Klee) -> None:
    _script(daemon, _ends(7))
    assert klee("run", "image", "ls", "-l") == (
        7,
        f"{C}\ncreated execution instance {E}\nhi\n\n"
        f"executable {E} and its container exited with exit-code 7\n",
        "",
    )
    assert daemon.requests[0].body["cmd"] == ["ls", "-l"]
    assert daemon.requests[1].body == {
        "container_id": C,
        "cmd": [],
        "env": [],
        "user": "",
        "tty": False,
        "stdin": False,
    }
    assert daemon.requests[2].body == {
        "exec_id": E,
        "attach": True,
        "start_container": True,
        "rows": None,
        "columns": None,
    }


def test_exec_in_a_container_that_goes_on(daemon: ScriptedDaemon, klee: Klee) -> None:
    _script(daemon, _ends(0, stopped=False))
    done = klee("exec", "-u", "app", "-e", "A=1", "web", "ps", "-ef")
    assert done.out.endswith(f"hi\n\n{E} has exited with exit-code 0\n")
    assert daemon.requests[0].body["cmd"] == ["ps", "-ef"]
    assert daemon.requests[0].body["user"] == "app"


def test_quiet_run_gives_the_bytes_of_the_process(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    blob = bytes(range(256)) * 4000

    def script(peer: Peer, config: Any) -> None:
        peer.output(b"warning\n", stream=2)
        for start in range(0, len(blob), 100_000):
            peer.output(blob[start : start + 100_000])
        peer.tell("closing", exit_code=0, container_stopped=True)
        peer.receive()

    _script(daemon, script)
    process = klee_process("run", "-q", "image", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=20)
    assert out == blob
    assert err == b"warning\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("flags", "out"), [(["-d"], f"{C}\ncreated execution instance {E}\n"), (["-dq"], f"{C}\n")]
)
def test_detached_run(daemon: ScriptedDaemon, klee: Klee, flags: list[str], out: str) -> None:
    def script(peer: Peer, config: Any) -> None:
        assert config["attach"] is False
        peer.tell("closing", detached=True)
        peer.receive()

    _script(daemon, script)
    assert klee("run", *flags, "image") == (0, out, "")


def test_process_that_cannot_be_started(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("failed", message="'sl' is not in the container", hint="install it")
        peer.receive()

    _script(daemon, script)
    daemon.answer("DELETE", f"/containers/{C}", {"id": C})
    done = klee("run", "image", "sl")
    assert (done.status, done.err) == (1, "klee: 'sl' is not in the container\nhint: install it\n")
    assert daemon.requests[-1].method == "WEBSOCKET"
    klee("run", "--rm", "image", "sl")
    assert daemon.requests[-1].method == "DELETE"


def test_input_is_passed_on_to_its_end(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    seen = b""

    def script(peer: Peer, config: Any) -> None:
        nonlocal seen
        while (message := peer.receive()) != {"type": "end_of_input"}:
            seen += message[1:]
            peer.output(message[1:])
        peer.tell("closing", exit_code=0, container_stopped=True)
        peer.receive()

    _script(daemon, script)
    process = klee_process(
        "run", "-qi", "image", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = process.communicate(b"one\ntwo\x04\x03\n", timeout=20)
    assert out == seen == b"one\ntwo\x04\x03\n"
    assert daemon.requests[1].body["stdin"] is True


def test_terminal_is_needed_for_an_interactive_one(daemon: ScriptedDaemon, klee: Klee) -> None:
    done = klee("run", "-it", "image")
    assert done.status == 1
    assert "standard input is not a terminal" in done.err
    assert daemon.requests == []


def test_only_one_container_can_be_attached_to(daemon: ScriptedDaemon, klee: Klee) -> None:
    done = klee("start", "a", "b")
    assert done.status == 2
    assert "hint: use klee start --detach" in done.err
    _script(daemon, _ends(4))
    assert klee("start", "a").status == 4


def test_several_are_started_detached(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("closing", detached=True)
        peer.receive()

    _script(daemon, script)
    assert klee("start", "-d", "a", "b").out == f"created execution instance {E}\n" * 2


def test_restart_also_starts_what_was_stopped(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("closing", detached=True)
        peer.receive()

    _script(daemon, script)
    daemon.answer("POST", "/containers/a/stop", {"message": "not running"}, 409)
    daemon.answer("POST", "/containers/b/stop", {"id": "b" * 12})
    daemon.answer("POST", "/containers/x/stop", {"message": "container 'x' does not exist"}, 404)
    done = klee("restart", "a", "x", "b")
    started = f"created execution instance {E}\n"
    assert done == (1, f"{started}{'b' * 12}\n{started}", "klee: container 'x' does not exist\n")


def test_first_interrupt_goes_to_the_process(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process: subprocess.Popen[bytes] | None = None
    seen = []

    def script(peer: Peer, config: Any) -> None:
        peer.output(b"ready\n")
        seen.append(peer.receive())
        peer.tell("closing", exit_code=130, container_stopped=True)
        peer.receive()

    _script(daemon, script)
    process = klee_process("run", "-q", "image", stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert seen == [{"type": "signal", "name": "SIGINT"}]


def test_second_interrupt_leaves(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    seen = []

    def script(peer: Peer, config: Any) -> None:
        peer.output(b"ready\n")
        seen.append(peer.receive())
        peer.output(b"stubborn\n")
        seen.append(peer.receive())

    _script(daemon, script)
    process = klee_process("run", "-q", "image", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"stubborn\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert b"may still run" in process.stderr.read()
    assert seen == [{"type": "signal", "name": "SIGINT"}, None]


def test_reader_that_goes_away_ends_the_attachment(
    daemon: ScriptedDaemon, klee_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    def script(peer: Peer, config: Any) -> None:
        for _ in range(1000):
            peer.output(b"y\n" * 10000)

    _script(daemon, script)
    process = klee_process("run", "-q", "i", "yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(20) == 1
