"""The streams of a container's logs, and of its end."""

from __future__ import annotations

import asyncio
import json

from kleene.runtime.driver import Output
from kleene.schemas.logs import LogsConfig
from tests.api.conftest import Streamer
from tests.api.fake_engine import FakeEngine

WRITTEN = [Output("stdout", b"a\n\xff"), Output("stderr", b"b")]


async def test_typed_logs_are_the_bytes_of_both_streams(
    streamer: Streamer, engine: FakeEngine
) -> None:
    engine.logs.written = WRITTEN
    stream = await streamer.open("/containers/web/logs", typed=True)
    stream.send({})
    frames = await stream.rest()
    assert [frame for frame in frames if isinstance(frame, bytes)] == [b"\x01a\n\xff", b"\x02b"]
    assert stream.close == (1000, "")
    assert engine.logs.config == LogsConfig(follow=False, tail=1000, since="", timestamps=False)


async def test_documented_logs_are_raw(streamer: Streamer, engine: FakeEngine) -> None:
    engine.logs.written = WRITTEN
    stream = await streamer.open("/containers/web/logs")
    stream.send({"tail": None})
    assert (await stream.rest())[1:] == [b"a\n\xff", b"b"]
    assert engine.logs.config is not None
    assert engine.logs.config.tail is None


async def test_logs_of_nothing(streamer: Streamer) -> None:
    stream = await streamer.open("/containers/nothing/logs", typed=True)
    stream.send({})
    *_, last = await stream.rest()
    assert "does not exist" in str(last)


async def test_a_wrong_number_of_lines_is_refused(streamer: Streamer) -> None:
    stream = await streamer.open("/containers/web/logs", typed=True)
    stream.send({"tail": -1})
    (last,) = await stream.rest()
    assert "tail" in str(last)
    assert stream.close == (1002, "")


async def test_a_client_that_leaves_ends_the_reading(
    streamer: Streamer, engine: FakeEngine
) -> None:
    engine.logs.written, engine.logs.endless = WRITTEN, True
    stream = await streamer.open("/containers/web/logs", typed=True)
    stream.send({"follow": True})
    await stream.receive()
    stream.leave()
    await asyncio.wait_for(engine.logs.closed.wait(), 5)


async def test_the_end_of_a_container(streamer: Streamer) -> None:
    stream = await streamer.open("/containers/web/wait", typed=True)
    stream.send({})
    *_, last = await stream.rest()
    told = json.loads(last)
    assert (told["type"], told["exit_code"], told["container_stopped"]) == ("closing", 7, True)


async def test_the_end_of_nothing(streamer: Streamer) -> None:
    stream = await streamer.open("/containers/nothing/wait", typed=True)
    stream.send({})
    *_, last = await stream.rest()
    assert json.loads(last)["type"] == "failed"
