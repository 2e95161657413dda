"""The three streams in both protocols: what is sent, how they end, and what a client that leaves does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema
import pytest

from kleene.build import events
from kleene.build.events import BuildFailed, Emit
from kleene.daemon.streams import Streams
from kleene.errors import InvalidInput
from kleene.runtime.driver import Output
from kleene.schemas.stream import SUBPROTOCOL
from tests.api.asgi import Stream
from tests.api.conftest import Streamer
from tests.api.fake_engine import FakeEngine, FakeResult, FakeSession

IMAGE = "4a103f27dad8"
SNAPSHOT = "c069e69af8cf"
BUILD = {"context": "/src", "container_config": {"image": None}}


def started(exec_id: str, *, attach: bool = True, **more: object) -> dict[str, object]:
    return {"exec_id": exec_id, "attach": attach, "start_container": True, **more}


def texts(frames: list[str | bytes]) -> list[Any]:
    return [json.loads(frame) for frame in frames if isinstance(frame, str)]


def reason(stream: Stream) -> tuple[int, dict[str, str]]:
    """The close code, and the message in the close reason, which always must be valid."""
    assert stream.close is not None
    code, text = stream.close
    assert len(text.encode()) <= 123
    return code, json.loads(text)


def message(kind: str, text: str = "", data: str = "") -> dict[str, str]:
    return {"msg_type": kind, "message": text, "data": data}


async def build_two_steps(emit: Emit) -> str:
    await emit(events.Started(IMAGE))
    await emit(events.StepStarted(1, 2, "FROM web"))
    await emit(events.StepFinished(1, None, False, 0.0))
    await emit(events.StepStarted(2, 2, "RUN make"))
    await emit(events.OutputWritten(b"caf\xc3"))
    await emit(events.OutputWritten(b"\xa9, no line end"))
    await emit(events.OutputWritten(b"warned\n", "stderr"))
    await emit(events.StepFinished(2, SNAPSHOT, True, 1.5))
    return IMAGE


def failing(error: Exception, *, begun: bool = True) -> Callable[[Emit], Any]:
    async def fail(emit: Emit) -> str:
        if begun:
            await emit(events.Started(IMAGE))
            await emit(events.OutputWritten(b"half a line"))
        raise error

    return fail


# The documented protocol


async def test_documented_build(streamer: Streamer, engine: FakeEngine) -> None:
    engine.images.making = build_two_steps
    stream = await streamer.open("/images/build")
    assert stream.subprotocol is None
    stream.send(BUILD)

    first, *rest = await stream.rest()

    assert json.loads(first) == message("starting", data=IMAGE)
    assert rest == [
        "Step 1/2 : FROM web",
        "Step 2/2 : RUN make",
        "caf",
        "é, no line end",
        "warned\n",
        "--> Using cache\n",
        f"--> Snapshot created: @{SNAPSHOT}",
    ]
    assert reason(stream) == (1000, message("closing", "image created", IMAGE))


async def test_documented_build_takes_what_the_published_client_sends(
    streamer: Streamer, engine: FakeEngine
) -> None:
    engine.images.making = build_two_steps
    stream = await streamer.open("/images/build")
    stream.send({**BUILD, "quiet": "true", "cleanup": False, "buildargs": {"A": "b"}})

    frames = await stream.rest()

    assert texts(frames) == [message("starting", data=IMAGE)]
    assert reason(stream) == (1000, message("closing", "image created", IMAGE))


async def test_documented_build_that_fails(streamer: Streamer, engine: FakeEngine) -> None:
    said = "the command '/bin/sh -c false' returned a non-zero code: 1"
    engine.images.making = failing(
        BuildFailed(said, hint="look into it: klee run web:failed", snapshot=SNAPSHOT, exit_code=1)
    )
    stream = await streamer.open("/images/build")
    stream.send(BUILD)

    frames = await stream.rest()

    assert frames[1:] == [
        "half a line",
        "\n",
        f"{said}\nhint: look into it: klee run web:failed",
    ]
    code, told = reason(stream)
    assert (code, told["msg_type"], told["data"]) == (1011, "error", f"@{SNAPSHOT}")


async def test_documented_build_that_fails_before_it_begins(
    streamer: Streamer, engine: FakeEngine
) -> None:
    error = InvalidInput("Dockerfile:2: unknown instruction 'RUM'", details="2 | RUM true")
    engine.images.making = failing(error, begun=False)
    stream = await streamer.open("/images/build")
    stream.send(BUILD)

    first, *rest = await stream.rest()

    assert json.loads(first) == message("starting")
    assert rest == ["Dockerfile:2: unknown instruction 'RUM'\n2 | RUM true"]
    assert reason(stream) == (1011, message("error", "Dockerfile:2: unknown instruction 'RUM'"))


async def test_documented_creation_tells_progress_in_lines(
    streamer: Streamer, engine: FakeEngine
) -> None:
    async def fetch(emit: Emit) -> str:
        await emit(events.Started(IMAGE))
        for done in range(0, 101, 2):
            await emit(events.ProgressMade("fetching", done, 100))
        await emit(events.ProgressMade("unpacking", 20_000_000))
        return IMAGE

    engine.images.making = fetch
    stream = await streamer.open("/images/create")
    stream.send({"method": "fetch", "url": "file:///base.tar"})

    first, *rest = await stream.rest()

    assert json.loads(first) == message("starting")
    tenths = [f"fetching: {part} %\n" for part in range(0, 101, 10)]
    assert rest == [*tenths, "unpacking: 20 MB\n"]
    assert reason(stream) == (1000, message("closing", "image created", IMAGE))


async def test_documented_exec_passes_bytes_as_they_are(
    streamer: Streamer, engine: FakeEngine
) -> None:
    session = engine.execs.add(Output("stdout", b"\xff\x00ab"), Output("stderr", b"no\n"))
    stream = await streamer.open("/exec/start")
    stream.send({**started(session.exec_id), "start_container": "true"})

    first, *rest = await stream.rest()

    assert json.loads(first) == message("starting")
    assert rest == [b"\xff\x00ab", b"no\n"]
    ended = f"executable {session.exec_id} and its container exited with exit-code 0"
    assert reason(stream) == (1000, message("closing", ended))
    assert engine.execs.started == [{"attach": True, "start_container": True, "size": (None, None)}]


async def test_documented_exec_that_leaves_its_container_running(
    streamer: Streamer, engine: FakeEngine
) -> None:
    session = engine.execs.add(ending=FakeResult(137, False))
    stream = await streamer.open("/exec/start")
    stream.send(started(session.exec_id))
    await stream.rest()
    assert reason(stream) == (
        1000,
        message("closing", f"{session.exec_id} has exited with exit-code 137"),
    )


async def test_documented_exec_detached(streamer: Streamer, engine: FakeEngine) -> None:
    session = engine.execs.add(Output("stdout", b"unseen"))
    stream = await streamer.open("/exec/start")
    stream.send(started(session.exec_id, attach=False))
    assert texts(await stream.rest()) == [message("starting")]
    code, told = reason(stream)
    assert (code, told["msg_type"]) == (1001, "closing")


async def test_documented_exec_input_and_its_end(streamer: Streamer, engine: FakeEngine) -> None:
    session = engine.execs.add(talk=echo)
    stream = await streamer.open("/exec/start")
    stream.send(started(session.exec_id))
    await stream.receive()
    stream.send(b"a")
    assert await stream.receive() == b"a"
    stream.send("text\n")
    assert await stream.receive() == b"text\n"
    for _ in range(50):
        stream.send(b"")
    assert await stream.rest() == []
    assert session.received.empty()


async def test_documented_error_is_whole_in_the_reason_or_in_the_output(
    streamer: Streamer, engine: FakeEngine
) -> None:
    for text in ("command 'x' does not exist", 'a "long" story: ' + "é" * 200):
        engine.execs.failure = InvalidInput(text)
        stream = await streamer.open("/exec/start")
        stream.send(started("a"))
        frames = await stream.rest()
        code, told = reason(stream)
        assert (code, told["msg_type"]) == (1011, "error")
        if told["message"] == text:
            assert frames[1:] == []
        else:
            assert told["message"].endswith("…")
            assert text.startswith(told["message"][:-1])
            assert frames[1:] == [text]


@pytest.mark.parametrize(
    ("path", "frame", "said"),
    [
        ("/exec/start", {"attach": True, "start_container": True}, "field 'exec_id' is missing"),
        ("/exec/start", "no", "not valid JSON: "),
        ("/exec/start", b"\xff\xfe", "not valid JSON: "),
        ("/exec/start", started("a", rows=0), "field 'rows' must be a whole number >= 1"),
        ("/images/build", {"context": "/"}, "field 'container_config' is missing"),
        ("/images/create", {"method": "ftp"}, "field 'method' must be one of 'fetch'"),
    ],
)
async def test_invalid_first_frame_is_1002(
    streamer: Streamer, path: str, frame: object, said: str
) -> None:
    documented = await streamer.open(path)
    documented.send(frame)
    assert await documented.rest() == []
    code, told = reason(documented)
    assert (code, told["msg_type"]) == (1002, "error")
    assert told["message"].startswith(said)

    typed = await streamer.open(path, typed=True)
    typed.send(frame)
    (failed,) = texts(await typed.rest())
    assert failed["type"] == "failed"
    assert failed["message"].startswith(said)
    assert typed.close == (1002, "")


async def test_bug_in_a_stream_is_told_by_an_id(
    streamer: Streamer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.images.making = failing(ZeroDivisionError("secret of the house"))
    typed = await streamer.open("/images/build", typed=True)
    typed.send(BUILD)
    with caplog.at_level(logging.ERROR):
        failed = texts(await typed.rest())[-1]
    assert failed["error_id"] in failed["message"]
    assert failed["error_id"] in caplog.text
    assert "ZeroDivisionError: secret of the house" in caplog.text
    assert "secret" not in json.dumps(failed)

    documented = await streamer.open("/images/build")
    documented.send(BUILD)
    await documented.rest()
    code, told = reason(documented)
    assert code == 1011
    assert told["message"].startswith("internal error ")


# The typed protocol


def step_started(number: int, instruction: str) -> dict[str, Any]:
    return {
        "type": "step_started",
        "number": number,
        "total": 2,
        "instruction": instruction,
        "stage": 0,
        "stage_name": "",
    }


async def test_typed_build(streamer: Streamer, engine: FakeEngine) -> None:
    engine.images.making = build_two_steps
    stream = await streamer.open("/images/build", typed=True)
    assert stream.subprotocol == SUBPROTOCOL
    stream.send(BUILD)

    frames = await stream.rest()

    assert texts(frames) == [
        {"type": "starting", "data": IMAGE},
        {
            "type": "step_started",
            "number": 1,
            "total": 2,
            "instruction": "FROM web",
            "stage": 0,
            "stage_name": "",
        },
        {"type": "step_finished", "number": 1, "snapshot": "", "cached": False, "seconds": 0.0},
        {
            "type": "step_started",
            "number": 2,
            "total": 2,
            "instruction": "RUN make",
            "stage": 0,
            "stage_name": "",
        },
        {
            "type": "step_finished",
            "number": 2,
            "snapshot": SNAPSHOT,
            "cached": True,
            "seconds": 1.5,
        },
        {
            "type": "closing",
            "message": "image created",
            "data": IMAGE,
            "exit_code": None,
            "container_stopped": False,
            "detached": False,
        },
    ]
    assert [frame for frame in frames if isinstance(frame, bytes)] == [
        b"\x01caf\xc3",
        b"\x01\xa9, no line end",
        b"\x02warned\n",
    ]
    assert stream.close == (1000, "")


async def test_typed_build_that_fails(streamer: Streamer, engine: FakeEngine) -> None:
    engine.images.making = failing(
        BuildFailed("it broke", hint="h", snapshot=SNAPSHOT, exit_code=3, image_id=IMAGE)
    )
    stream = await streamer.open("/images/build", typed=True)
    stream.send(BUILD)
    assert texts(await stream.rest())[-1] == {
        "type": "failed",
        "message": "it broke",
        "hint": "h",
        "details": None,
        "data": SNAPSHOT,
        "exit_code": 3,
        "image_id": IMAGE,
        "step": 0,
        "failed_snapshot": "",
        "error_id": None,
    }
    assert stream.close == (1011, "")


async def test_typed_exec_with_input_size_and_signals(
    streamer: Streamer, engine: FakeEngine
) -> None:
    session = engine.execs.add(Output("stderr", b"$ "), talk=echo, ending=FakeResult(7, False))
    stream = await streamer.open("/exec/start", typed=True)
    stream.send(started(session.exec_id, rows=50, columns=132))
    assert json.loads(await stream.receive() or "") == {"type": "starting", "data": ""}
    assert await stream.receive() == b"\x02$ "
    stream.send(b"\x00hello")
    assert await stream.receive() == b"\x01hello"
    stream.send({"type": "resize", "rows": 20, "columns": 60})
    stream.send({"type": "signal", "name": "SIGINT"})
    assert await session.controls.get() == (20, 60)
    assert await session.controls.get() == "SIGINT"
    stream.send({"type": "end_of_input"})
    (closing,) = texts(await stream.rest())
    assert (closing["exit_code"], closing["container_stopped"]) == (7, False)
    assert closing["data"] == session.exec_id
    assert engine.execs.started[0]["size"] == (50, 132)


async def test_typed_exec_detached(streamer: Streamer, engine: FakeEngine) -> None:
    session = engine.execs.add()
    stream = await streamer.open("/exec/start", typed=True)
    stream.send(started(session.exec_id, attach=False))
    closing = texts(await stream.rest())[-1]
    assert closing["detached"] is True
    assert stream.close == (1001, "")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"\x05what", "binary frame is not input"),
        ({"type": "dance"}, "field 'type' has a value that it may not have, not 'dance'"),
        ({"type": "resize", "rows": 70000, "columns": 1}, "field 'rows' must be a whole number <="),
        ({"type": "signal", "name": "HUP"}, "signal 'HUP' is not known"),
    ],
)
async def test_typed_exec_refuses_what_it_does_not_understand(
    streamer: Streamer, engine: FakeEngine, frame: object, said: str
) -> None:
    session = engine.execs.add(talk=echo)
    stream = await streamer.open("/exec/start", typed=True)
    stream.send(started(session.exec_id))
    stream.send(frame)
    failed = texts(await stream.rest())[-1]
    assert failed["type"] == "failed"
    assert failed["message"].startswith(said)


# Both: size, speed, leaving, the end of the daemon


@pytest.mark.parametrize("typed", [False, True])
async def test_large_output_arrives_whole_in_frames_that_clients_take(
    streamer: Streamer, engine: FakeEngine, typed: bool
) -> None:
    data = bytes(range(256)) * 16 * 1024  # 4 MiB
    session = engine.execs.add(Output("stdout", data))
    stream = await streamer.open("/exec/start", typed=typed)
    stream.send(started(session.exec_id))
    frames = [frame for frame in await stream.rest() if isinstance(frame, bytes)]
    assert b"".join(frame[1:] if typed else frame for frame in frames) == data
    assert max(map(len, frames)) < 1024 * 1024


async def test_large_build_output_as_text_is_within_the_limit_of_a_frame(
    streamer: Streamer, engine: FakeEngine
) -> None:
    async def write(emit: Emit) -> str:
        await emit(events.Started(IMAGE))
        await emit(events.OutputWritten(b"\xff" * 1024 * 1024))
        return IMAGE

    engine.images.making = write
    stream = await streamer.open("/images/build")
    stream.send(BUILD)
    _, *rest = await stream.rest()
    assert sum(map(len, rest)) == 1024 * 1024
    assert max(len(frame.encode()) for frame in rest if isinstance(frame, str)) < 1024 * 1024


@pytest.mark.parametrize("typed", [False, True])
async def test_slow_client_slows_the_process_down(
    streamer: Streamer, engine: FakeEngine, typed: bool
) -> None:
    written: list[int] = []

    async def write(_: FakeSession) -> AsyncIterator[Output]:
        for number in range(100):
            written.append(number)
            yield Output("stdout", b"x")

    session = engine.execs.add(talk=write)
    stream = await streamer.open("/exec/start", typed=typed)
    stream.send(started(session.exec_id))
    for _ in range(10):
        await stream.receive()
    assert len(written) < 15
    await stream.rest()
    assert len(written) == 100


async def test_input_is_held_up_to_a_limit(streamer: Streamer, engine: FakeEngine) -> None:
    session = engine.execs.add(talk=deaf)
    taken, reads = asyncio.Event(), asyncio.Event()

    async def write(_: bytes, /) -> None:
        taken.set()
        await reads.wait()

    session.write = write  # type: ignore[method-assign]
    stream = await streamer.open("/exec/start")
    stream.send(started(session.exec_id))
    for _ in range(64):
        stream.send(bytes(64 * 1024))
    await asyncio.wait_for(taken.wait(), 5)
    await stream.receive()
    assert stream.unread() > 40
    reads.set()
    stream.leave()
    await stream.finish()


@pytest.mark.parametrize("path", ["/images/build", "/images/create"])
@pytest.mark.parametrize("typed", [False, True])
async def test_client_that_leaves_cancels_what_is_made(
    streamer: Streamer, engine: FakeEngine, path: str, typed: bool
) -> None:
    begun = asyncio.Event()

    async def work(emit: Emit) -> str:
        begun.set()
        await asyncio.Event().wait()
        return IMAGE

    engine.images.making = work
    stream = await streamer.open(path, typed=typed)
    stream.send(BUILD if path.endswith("build") else {"method": "fetch-auto"})
    await asyncio.wait_for(begun.wait(), 5)
    stream.leave()
    await asyncio.wait_for(engine.images.cancelled.wait(), 5)
    await stream.finish()


async def test_bug_while_a_cancelled_build_is_undone_is_logged(
    streamer: Streamer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def work(emit: Emit) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError("undoing")

    engine.images.making = work
    stream = await streamer.open("/images/build")
    stream.send(BUILD)
    await asyncio.wait_for(begun.wait(), 5)
    stream.leave()
    await stream.finish()
    assert "ZeroDivisionError: undoing" in caplog.text


async def test_client_that_leaves_while_output_flows_cancels_the_build(
    streamer: Streamer, engine: FakeEngine
) -> None:
    async def chatter(emit: Emit) -> str:
        while True:
            await emit(events.OutputWritten(b"again\n"))
            await asyncio.sleep(0)

    engine.images.making = chatter
    stream = await streamer.open("/images/build", typed=True)
    stream.send(BUILD)
    await stream.receive()
    stream.leave()
    await stream.finish()


async def test_client_that_leaves_detaches_from_a_process(
    streamer: Streamer, engine: FakeEngine
) -> None:
    session = engine.execs.add(Output("stdout", b"up"), talk=deaf)
    stream = await streamer.open("/exec/start", typed=True)
    stream.send(started(session.exec_id))
    await stream.receive()
    assert await stream.receive() == b"\x01up"
    stream.leave()
    await asyncio.wait_for(session.detached.wait(), 5)
    await stream.finish()
    assert session.controls.empty()
    assert session.received.empty()


async def test_client_that_leaves_before_its_first_frame(streamer: Streamer) -> None:
    stream = await streamer.open("/exec/start")
    stream.leave()
    await stream.finish()


async def test_daemon_that_stops_ends_streams_with_that_reason(
    streamer: Streamer, engine: FakeEngine, streams: Streams
) -> None:
    begun = asyncio.Event()

    async def work(emit: Emit) -> str:
        begun.set()
        await asyncio.Event().wait()
        return IMAGE

    engine.images.making = work
    build = await streamer.open("/images/build", typed=True)
    build.send(BUILD)
    idle = await streamer.open("/exec/start")
    await asyncio.wait_for(begun.wait(), 5)

    stopping = asyncio.create_task(streams.stop(5))

    (failed,) = texts(await build.rest())
    assert failed["message"].startswith("kleened is stopping")
    assert engine.images.cancelled.is_set()
    await idle.rest()
    assert reason(idle)[1]["message"].startswith("kleened is stopping")
    await asyncio.wait_for(stopping, 5)


async def test_messages_of_the_typed_protocol_are_those_of_the_document(
    streamer: Streamer, engine: FakeEngine, document: dict[str, Any]
) -> None:
    engine.images.making = build_two_steps
    stream = await streamer.open("/images/build", typed=True)
    stream.send(BUILD)
    answer = document["paths"]["/images/build"]["get"]["responses"]["101"]
    schema = answer["content"]["application/json"]["schema"]
    for frame in texts(await stream.rest()):
        jsonschema.validate(frame, {**schema, "components": document["components"]})


async def echo(session: FakeSession) -> AsyncIterator[Output]:
    """A process that writes what it reads, until the end of its input."""
    while (data := await session.received.get()) is not None:
        yield Output("stdout", data)


async def deaf(_: FakeSession) -> AsyncIterator[Output]:
    """A process that neither reads nor writes, and does not end."""
    await asyncio.Event().wait()
    yield Output("stdout", b"")
