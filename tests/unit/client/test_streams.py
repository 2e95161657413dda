"""The typed stream: messages, output, input, and its untimely ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from kleene.client.api import Client
from kleene.client.failures import DaemonFault, DaemonUnreachable
from kleene.client.operations import JsonClient
from kleene.client.streams import Output, Stream
from kleene.errors import NotFound
from kleene.schemas.execs import ExecStartConfig
from kleene.schemas.stream import Closing, Starting, StepStarted
from tests.unit.client.scripted import Peer, Script, ScriptedDaemon

START = {"exec_id": "e" * 12, "attach": True, "start_container": True}


def _stream_of(daemon: ScriptedDaemon, script: Script, subprotocol: str | None = "") -> Stream:
    if subprotocol == "":
        daemon.stream("/exec/start", script)
    else:
        daemon.stream("/exec/start", script, subprotocol)
    return JsonClient(daemon.host).execs.start(START)


def test_messages_and_output_come_in_order(tmp_path: Path) -> None:
    def script(peer: Peer, config: Any) -> None:
        assert config == START
        peer.tell("starting")
        peer.output(b"one\n")
        peer.output(b"\xff\x00", stream=2)
        peer.tell("closing", exit_code=3)
        peer.receive()

    with ScriptedDaemon(tmp_path / "s") as daemon, _stream_of(daemon, script) as stream:
        assert list(stream) == [
            {"type": "starting"},
            Output(1, b"one\n"),
            Output(2, b"\xff\x00"),
            {"type": "closing", "exit_code": 3},
        ]
        assert stream.ended


def test_typed_client_decodes_messages(tmp_path: Path) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting", data="i")
        peer.tell("step_started", number=1, total=2, instruction="FROM x")
        peer.tell("closing", data="i")
        peer.receive()

    with ScriptedDaemon(tmp_path / "s") as daemon, Client(daemon.host) as client:
        daemon.stream("/exec/start", script)
        with client.execs.start(ExecStartConfig("e" * 12, True, True)) as stream:
            assert list(stream) == [
                Starting("i"),
                StepStarted(1, 2, "FROM x"),
                Closing(data="i"),
            ]
        assert daemon.requests[0].body["exec_id"] == "e" * 12


def test_fragments_are_one_message(tmp_path: Path) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.send(BytesMessage(data=b"\x02be", message_finished=False))
        peer.send(BytesMessage(data=b"gin", message_finished=True))
        peer.send(Ping(payload=b"?"))
        peer.send(TextMessage(data='{"type": "clo', message_finished=False))
        peer.send(TextMessage(data='sing"}', message_finished=True))
        peer.receive()

    with ScriptedDaemon(tmp_path / "s") as daemon, _stream_of(daemon, script) as stream:
        *output, last = list(stream)
        assert b"".join(o.data for o in output) == b"begin"
        assert {o.stream for o in output} == {2}
        assert last == {"type": "closing"}


def test_input_and_controls_arrive(tmp_path: Path) -> None:
    seen: list[Any] = []

    def script(peer: Peer, config: Any) -> None:
        for _ in range(4):
            seen.append(peer.receive())
        peer.tell("closing")
        peer.receive()

    with ScriptedDaemon(tmp_path / "s") as daemon, _stream_of(daemon, script) as stream:
        stream.write(b"\x03data")
        stream.resize(24, 80)
        stream.signal("SIGINT")
        stream.end_input()
        list(stream)
    assert seen == [
        b"\x00\x03data",
        {"type": "resize", "rows": 24, "columns": 80},
        {"type": "signal", "name": "SIGINT"},
        {"type": "end_of_input"},
    ]


def test_writing_does_not_lock_up_with_a_daemon_that_writes_too(tmp_path: Path) -> None:
    size = 4_000_000

    def script(peer: Peer, config: Any) -> None:
        peer.output(b"x" * size)  # before anything is read
        while peer.receive() != {"type": "end_of_input"}:
            pass
        peer.tell("closing")
        peer.receive()

    with ScriptedDaemon(tmp_path / "s") as daemon, _stream_of(daemon, script) as stream:
        for _ in range(0, size, 50_000):
            stream.write(b"y" * 50_000)
        stream.end_input()
        assert stream.backlog
        assert sum(len(e.data) for e in stream if isinstance(e, Output)) == size
        assert not stream.backlog


def test_refused_stream_tells_why(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, pytest.raises(NotFound, match="no such stream"):
        JsonClient(daemon.host).images.build({})


def test_daemon_without_the_subprotocol(tmp_path: Path) -> None:
    with (
        ScriptedDaemon(tmp_path / "s") as daemon,
        pytest.raises(DaemonFault, match="does not speak"),
    ):
        _stream_of(daemon, lambda peer, config: None, None)


def test_connection_that_breaks_before_the_end(tmp_path: Path) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.output(b"half")

    with ScriptedDaemon(tmp_path / "s") as daemon, _stream_of(daemon, script) as stream:
        events = iter(stream)
        assert next(events) == Output(1, b"half")
        with pytest.raises(DaemonUnreachable, match="closed the connection"):
            next(events)


def test_close_frame_before_the_end_tells_its_reason(tmp_path: Path) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.send(CloseConnection(code=1011, reason="out of luck"))

    with (
        ScriptedDaemon(tmp_path / "s") as daemon,
        _stream_of(daemon, script) as stream,
        pytest.raises(DaemonFault, match="out of luck"),
    ):
        list(stream)


@pytest.mark.parametrize("text", ["no json", "[]", '{"kind": 1}'])
def test_message_that_is_none(tmp_path: Path, text: str) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.send(TextMessage(data=text))
        peer.receive()

    with (
        ScriptedDaemon(tmp_path / "s") as daemon,
        _stream_of(daemon, script) as stream,
        pytest.raises(DaemonFault, match="not a Kleene daemon"),
    ):
        list(stream)


def test_closing_early_tells_the_daemon(tmp_path: Path) -> None:
    gone = threading.Event()

    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting")
        if peer.receive() is None:
            gone.set()

    with ScriptedDaemon(tmp_path / "s") as daemon:
        with _stream_of(daemon, script) as stream:
            stream.wait()
        assert gone.wait(10)
