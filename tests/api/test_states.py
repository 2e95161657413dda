"""States of containers, what they use, and events."""

from __future__ import annotations

import json

from kleene.runtime.driver import Output
from tests.api.asgi import Api
from tests.api.conftest import Streamer
from tests.api.fake_engine import FakeEngine


async def test_states_and_statistics(api: Api) -> None:
    changes = await api.send("GET", "/containers/web/diff")
    assert changes[0] == {"kind": "added", "path": "/new"}
    wanted = {"tag": "kept:1", "changes": ["CMD x"], "message": "why"}
    assert (await api.send("POST", "/containers/web/commit", wanted))["id"]
    assert (await api.send("GET", "/containers/web/stats"))["pids"] == 3
    assert [each["name"] for each in await api.send("GET", "/containers/stats")] == ["web"]
    for path in ("/containers/nothing/diff", "/containers/nothing/stats"):
        assert (await api.request("GET", path)).status_code == 404


async def test_attach(api: Api, engine: FakeEngine, streamer: Streamer) -> None:
    session = engine.execs.add(Output("stdout", b"shown"))
    (running,) = await api.send("GET", "/containers/web/execs")
    assert (running["id"], running["stdin"]) == (session.exec_id, True)
    stream = await streamer.open("/containers/web/attach", typed=True)
    stream.send({"exec_id": session.exec_id})
    frames = await stream.rest()
    assert b"\x01shown" in frames
    last = [frame for frame in frames if isinstance(frame, str)][-1]
    assert json.loads(last)["type"] == "closing"


async def test_events(streamer: Streamer) -> None:
    stream = await streamer.open("/events", typed=True)
    stream.send({"since": "1h"})
    frames = await stream.rest()
    (line,) = [frame[1:] for frame in frames if isinstance(frame, bytes)]
    event = json.loads(line)
    assert (event["kind"], event["action"], event["name"]) == ("container", "start", "web")
    assert event["attributes"] == {"image": "web:latest"}
    refused = await streamer.open("/events", typed=True)
    refused.send({"filters": ["wrong"]})
    assert "cannot be understood" in str((await refused.rest())[-1])
