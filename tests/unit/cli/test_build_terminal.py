"""The view of a build on a screen: ``klee`` in a pseudo-terminal, its output read by a terminal emulator."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyte
import pytest

from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import Peer, ScriptedDaemon

I = "f7b6cc114e75"  # noqa: E741 - the image
PATIENCE = 20.0

Start = Callable[..., subprocess.Popen[bytes]]


class Terminal:
    """A pseudo-terminal with ``klee`` in it, and what one would see on it."""

    def __init__(self, rows: int, columns: int) -> None:
        self.master, self.slave = pty.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without the empty rows at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def read(self) -> bool:
        """Take what was written; false when nobody can write any more."""
        if not select.select([self.master], [], [], 0.05)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the last one closed it
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, *texts: str) -> list[str]:
        """Read until the screen shows all of these."""
        deadline = time.monotonic() + PATIENCE
        while not all(any(text in line for line in self.lines) for text in texts):
            assert time.monotonic() < deadline, "\n".join(self.lines)
            assert self.read(), "\n".join(self.lines)
        return self.lines

    def end(self) -> list[str]:
        """Read to the end."""
        while self.read():
            pass
        return self.lines


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(20, 60)
    yield terminal
    os.close(terminal.master)


@pytest.fixture
def start(klee_process: Start, terminal: Terminal) -> Start:
    """Starts ``klee`` in the terminal."""

    def start(*arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        env = os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"} | environ
        end = terminal.slave
        process = klee_process(*arguments, stdin=end, stdout=end, stderr=end, env=env)
        os.close(end)
        return process

    return start


def step(peer: Peer, number: int, instruction: str, stage: str = "", total: int = 5) -> None:
    name = {"stage_name": stage} if stage else {}
    peer.tell("step_started", number=number, total=total, instruction=instruction, **name)


def done(peer: Peer, number: int, *, cached: bool = False, seconds: float = 1.5) -> None:
    snapshot = f"{number}" * 12 if number > 1 else ""
    peer.tell("step_finished", number=number, snapshot=snapshot, cached=cached, seconds=seconds)


def without_times(lines: list[str]) -> list[str]:
    """Lines with the times of what runs, and of the whole, left out."""
    return [re.sub(r"(?<=  )\d+\.\d s$|\d+\.\d s\)$", "T", line) for line in lines]


def two_stages(gates: list[threading.Event]) -> Callable[[Peer, Any], None]:
    """A build of two stages at the same time that waits at two gates."""

    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting", data=I)
        step(peer, 1, "FROM Debian", "base")
        done(peer, 1)
        step(peer, 2, "RUN apt-get update && apt-get install --yes build-essential", "base")
        done(peer, 2, cached=True)
        step(peer, 3, "RUN make -C /src all install DESTDIR=/out PREFIX=/usr", "base")
        step(peer, 4, "RUN ./test", "test")
        for number in range(9):
            peer.tell("output_of", number=3)
            peer.output(b"compiling %d of a long list of files that is cut\n" % number)
            peer.tell("output_of", number=4)
            peer.output(b"\x1b[31mtest %d\x1b[0m\r\ntick\rtock" % number, stream=2)
        assert gates[0].wait(PATIENCE)
        peer.tell("output_of", number=3)
        peer.output("gr\u00fc\u00df 世界\n".encode())
        assert gates[1].wait(PATIENCE)
        done(peer, 4)
        done(peer, 3, seconds=75)
        step(peer, 5, "COPY . /")
        done(peer, 5)
        peer.tell("closing", message="image created", data=I)
        peer.receive()

    return script


FINAL = [
    f"Building image {I}",
    "✓ 1/5 [base] FROM Debian  1.5 s",
    "✓ 2/5 [base] RUN apt-get update && …  cached  @222222222222",
    "✓ 4/5 [test] RUN ./test  1.5 s  @444444444444",
    "✓ 3/5 [base] RUN make -C /src all…  1:15 min  @333333333333",
    "✓ 5/5 COPY . /  1.5 s  @555555555555",
    "",
]


def test_stages_at_the_same_time(daemon: ScriptedDaemon, start: Start, terminal: Terminal) -> None:
    gates = [threading.Event(), threading.Event()]
    daemon.stream("/images/build", two_stages(gates))
    process = start("build", ".")
    terminal.until("compiling 8", "test 8")
    gates[0].set()
    shown = without_times(terminal.until("世"))
    # What a command wrote of a line is shown too; its colours are not.
    assert shown[3:] == [
        "▸ 3/5 [base] RUN make -C /src all install DESTDIR=/…  T",
        *(f"    compiling {n} of a long list of files that is cut" for n in range(4, 9)),
        "    grüß 世界",
        "▸ 4/5 [test] RUN ./test  T",
        *(f"    tocktest {n}" for n in range(4, 9)),
        "    tock",
        "2 of 5 steps, 1 cached, 2 running  T",
    ]
    gates[1].set()
    assert process.wait(PATIENCE) == 0
    lines = terminal.end()
    assert lines[:7] == FINAL
    assert lines[7].startswith("image created  (1 of 4 states cached, 3 snapshots made, 5 ")
    assert lines[-1] == I
    assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize(("rows", "columns"), [(20, 44), (12, 60), (30, 100), (9, 30)])
def test_a_terminal_that_changes_its_size(
    daemon: ScriptedDaemon, start: Start, terminal: Terminal, rows: int, columns: int
) -> None:
    gates = [threading.Event(), threading.Event()]
    daemon.stream("/images/build", two_stages(gates))
    process = start("build", ".")
    terminal.until("compiling 8", "test 8", "2 of 5 steps")
    terminal.resize(rows, columns)
    gates[0].set()
    terminal.until("世")
    gates[1].set()
    assert process.wait(PATIENCE) == 0
    lines = terminal.end()
    marks = [line[:5] for line in lines if line[:1] in "✓▸✗" and line]
    assert marks == ["✓ 1/5", "✓ 2/5", "✓ 4/5", "✓ 3/5", "✓ 5/5"][-len(marks) :]
    assert len(marks) == {20: 5, 30: 5, 12: 3, 9: 3}[rows]  # the others are above the screen
    assert not [line for line in lines if "compiling" in line or "running" in line]
    assert lines[-1] == I


def test_more_steps_than_rows(daemon: ScriptedDaemon, start: Start, terminal: Terminal) -> None:
    gate = threading.Event()

    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting", data=I)
        for number in range(1, 31):
            step(peer, number, f"RUN {number}", total=30)
            peer.tell("output_of", number=number)
            peer.output(b"busy\n" * 10)
        assert gate.wait(PATIENCE)
        for number in range(1, 31):
            done(peer, number)
        peer.tell("closing", message="image created", data=I)
        peer.receive()

    daemon.stream("/images/build", script)
    process = start("build", ".")
    terminal.until("0 of 30 steps, 0 cached, 30 running")
    gate.set()
    assert process.wait(PATIENCE) == 0
    lines = terminal.end()
    history = [
        "".join(row[n].data for n in range(60)).rstrip() for row in terminal.screen.history.top
    ]
    finished = [line.split()[1] for line in [*history, *lines] if line.startswith("✓")]
    assert finished == [f"{number}/30" for number in range(1, 31)]


def test_a_step_that_fails(daemon: ScriptedDaemon, start: Start, terminal: Terminal) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting", data=I)
        step(peer, 1, "RUN make", total=2)
        step(peer, 2, "RUN other", "b", total=2)
        peer.tell("output_of", number=1)
        peer.output(b"cc -c x.c\nx.c:1: " + b"long " * 20 + b"\n")
        details = "Dockerfile:3:1\n  |\n3 | RUN make\n  | ^^^^^^^^"
        peer.tell(
            "failed",
            message="the command 'make' returned a non-zero code: 2",
            details=details,
            data="c069e69af8cf",
            step=1,
            failed_snapshot="d0d0d0d0d0d0",
            image_id=I,
        )
        peer.receive()

    daemon.stream("/images/build", script)
    process = start("build", "-t", "web", ".")
    assert process.wait(PATIENCE) == 1
    end = terminal.end()
    above = terminal.screen.history.top  # what the hints have pushed off the screen
    rows = ["".join(row[n].data for n in range(60)).rstrip() for row in above]
    lines = without_times([*rows, *end])
    assert lines[1:5] == [
        "○ 2/2 [b] RUN other  cancelled",
        "✗ 1/2 RUN make  T",
        "  cc -c x.c",
        "  x.c:1: long long long long long long long long long long l",
    ]
    text = "\n".join(lines)
    assert "klee: the command 'make' returned a non-zero code: 2" in text
    assert "3 | RUN make\n  | ^^^^^^^^\n" in text
    assert "klee run -it web:failed@d0d0d0d0d0d0 /bin/sh" in terminal.raw.decode()


def test_colours_are_left_out_if_nobody_wants_them(
    daemon: ScriptedDaemon, start: Start, terminal: Terminal
) -> None:
    gate = threading.Event()
    gate.set()
    daemon.stream("/images/build", two_stages([gate, gate]))
    assert start("build", ".", NO_COLOR="1").wait(PATIENCE) == 0
    assert terminal.end()[:7] == FINAL
    assert not re.search(rb"\x1b\[[0-9;]*m", terminal.raw)


def test_a_terminal_that_cannot_draw(
    daemon: ScriptedDaemon, start: Start, terminal: Terminal
) -> None:
    gate = threading.Event()
    gate.set()
    daemon.stream("/images/build", two_stages([gate, gate]))
    assert start("build", ".", TERM="dumb").wait(PATIENCE) == 0
    terminal.end()
    shown = terminal.raw.decode()
    assert "Step 3/5 : RUN make" in shown
    assert "#3 compiling 8" in shown
    assert "\x1b[" not in shown.replace("\x1b[31m", "").replace("\x1b[0m", "")


def test_interleaved_steps_in_a_pipe(daemon: ScriptedDaemon, klee: Klee) -> None:
    gate = threading.Event()
    gate.set()
    daemon.stream("/images/build", two_stages([gate, gate]))
    out = klee("build", ".").out.splitlines()
    assert "#3 compiling 0 of a long list of files that is cut" in out
    assert "#3 grüß 世界" in out
    assert out.index("#4 --> Snapshot created: @444444444444") > out.index("#3 grüß 世界")
    assert "--> Snapshot created: @333333333333" in out


def test_json(daemon: ScriptedDaemon, klee: Klee) -> None:
    gate = threading.Event()
    gate.set()
    daemon.stream("/images/build", two_stages([gate, gate]))
    events = [
        json.loads(line) for line in klee("build", "--progress", "json", ".").out.splitlines()
    ]
    assert events[0].pop("elapsed") >= 0
    assert events[0] == {"type": "started", "image": I}
    assert events[1]["stage_name"] == "base"
    outputs = [event for event in events if event["type"] == "output"]
    assert outputs[0]["text"] == "compiling 0 of a long list of files that is cut\n"
    assert (outputs[0]["step"], outputs[0]["stream"]) == (3, "stdout")
    assert (outputs[1]["step"], outputs[1]["stream"]) == (4, "stderr")
    assert (events[-1]["type"], events[-1]["image"]) == ("built", I)


def test_json_of_a_failure(daemon: ScriptedDaemon, klee: Klee) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("failed", message="no", hint="do", data="c069e69af8cf", exit_code=3)
        peer.receive()

    daemon.stream("/images/build", script)
    done = klee("build", "--progress", "json", ".")
    event = json.loads(done.out)
    assert (done.status, done.err) == (1, "")
    assert event | {"elapsed": 0} == {
        "type": "failed",
        "elapsed": 0,
        "message": "no",
        "hint": "do",
        "exit_code": 3,
        "snapshot": "c069e69af8cf",
    }


def test_tty_is_refused_in_a_pipe(klee: Klee) -> None:
    done = klee("build", "--progress", "tty", ".")
    assert done.status == 2
    assert "needs a terminal" in done.err
