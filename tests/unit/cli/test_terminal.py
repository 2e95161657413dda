"""A real terminal on the user's side: raw mode, size, and both put back on every way out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.client.scripted import Peer, Script, ScriptedDaemon

PATIENCE = 20.0
C, E = "c" * 12, "e" * 12

Start = Callable[..., subprocess.Popen[bytes]]


class Terminal:
    """Both ends of a pseudo-terminal; the test types at ``master``."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text: bytes) -> bytes:
        """What was shown, up to ``text``."""
        shown, deadline = b"", time.monotonic() + PATIENCE
        while text not in shown:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], shown
            shown += os.read(self.master, 65536)
        return shown

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    @property
    def restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def start(
    daemon: ScriptedDaemon, klee_process: Start, terminal: Terminal
) -> Callable[[Script], subprocess.Popen[bytes]]:
    """Starts ``klee run -it`` in the terminal, with a daemon that follows the script."""

    def run(script: Script, *flags: str) -> subprocess.Popen[bytes]:
        daemon.answer("POST", "/containers/create", {"id": C}, 201)
        daemon.answer("POST", "/exec/create", {"id": E}, 201)
        daemon.stream("/exec/start", script)
        end = terminal.slave
        return klee_process(
            "run", *(flags or ("-it",)), "image", "sh", stdin=end, stdout=end, stderr=end
        )

    return run


def test_session_in_raw_mode(
    daemon: ScriptedDaemon, terminal: Terminal, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    raw, seen = [], []

    def script(peer: Peer, config: Any) -> None:
        raw.append(terminal.is_raw)
        peer.output(b"$ ")
        seen.append(peer.receive())
        raw.append(terminal.is_raw)
        peer.tell("closing", exit_code=5, container_stopped=True)
        peer.receive()

    process = start(script)
    terminal.read_until(b"$ ")
    os.write(terminal.master, b"\x03\x1a\r")  # ctrl-c and ctrl-z are the process's
    shown = terminal.read_until(b"exit-code 5")
    assert process.wait(PATIENCE) == 5
    assert seen == [b"\x00\x03\x1a\r"]
    assert raw[1]
    assert terminal.restored
    assert b"and its container exited" in shown
    assert daemon.requests[1].body["tty"] is True
    assert (daemon.requests[2].body["rows"], daemon.requests[2].body["columns"]) == (24, 80)


def test_size_is_passed_on(
    terminal: Terminal, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    seen = []

    def script(peer: Peer, config: Any) -> None:
        peer.output(b"$ ")
        seen.append(peer.receive())
        peer.tell("closing", exit_code=0)
        peer.receive()

    process = start(script)
    terminal.read_until(b"$ ")
    terminal.resize(50, 132)
    process.send_signal(signal.SIGWINCH)  # it is not in the terminal's foreground group
    assert process.wait(PATIENCE) == 0
    assert seen == [{"type": "resize", "rows": 50, "columns": 132}]


def _vanish(peer: Peer, config: Any) -> None:
    peer.output(b"$ ")
    peer.receive()
    # the daemon dies: no message, no close frame


def _garbage(peer: Peer, config: Any) -> None:
    peer.output(b"$ ")
    peer.receive()
    peer.socket.sendall(b"\xff\xff\xff\xff")
    peer.receive()


def _failure(peer: Peer, config: Any) -> None:
    peer.output(b"$ ")
    peer.receive()
    peer.tell("failed", message="the container is gone")
    peer.receive()


@pytest.mark.parametrize("script", [_vanish, _garbage, _failure])
def test_terminal_is_restored_when_the_daemon_fails(
    terminal: Terminal, start: Callable[..., subprocess.Popen[bytes]], script: Script
) -> None:
    process = start(script)
    terminal.read_until(b"$ ")
    os.write(terminal.master, b"x")
    terminal.read_until(b"klee:")
    assert process.wait(PATIENCE) == 1
    assert terminal.restored


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        ([signal.SIGTERM, signal.SIGTERM], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGUSR1, signal.SIGUSR1, signal.SIGQUIT, signal.SIGQUIT], 130),
        ([signal.SIGHUP], 129),
    ],
)
def test_terminal_is_restored_when_klee_is_signalled(
    terminal: Terminal,
    start: Callable[..., subprocess.Popen[bytes]],
    signals: list[signal.Signals],
    status: int,
) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.output(b"$ ")
        while (message := peer.receive()) is not None:
            peer.output(f"<{message['name']}>".encode())

    process = start(script)
    terminal.read_until(b"$ ")
    for number in signals[:-1]:
        process.send_signal(number)
        terminal.read_until(f"<{number.name}>".encode())
    process.send_signal(signals[-1])
    assert process.wait(PATIENCE) == status
    assert terminal.restored


def test_terminal_stays_as_it_is_without_input(
    terminal: Terminal, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    raw = []

    def script(peer: Peer, config: Any) -> None:
        raw.append(terminal.is_raw)
        peer.tell("closing", exit_code=0, container_stopped=True)
        peer.receive()

    assert start(script, "-t").wait(PATIENCE) == 0
    assert raw == [False]


def test_fancy_list_in_a_terminal(
    daemon: ScriptedDaemon, klee_process: Start, terminal: Terminal
) -> None:
    daemon.answer("GET", "/networks/list", [])
    env = os.environ | {"TERM": "xterm", "PYTHONUTF8": "1"}
    end = terminal.slave

    def shown(*arguments: str, **extra: str) -> bytes:
        process = klee_process(*arguments, stdin=end, stdout=end, stderr=end, env=env | extra)
        assert process.wait(PATIENCE) == 0
        return terminal.read_until(b"\n")

    fancy = shown("lsn")
    assert b"\x1b[1m" in fancy
    assert "─".encode() in fancy
    plain = shown("lsn", NO_COLOR="1")
    assert b"\x1b" not in plain
    assert "─".encode() in plain
    assert "─".encode() not in shown("--theme", "simple", "lsn")
    assert "─".encode() not in shown("lsn", KLEE_THEME="simple")
