"""Volumes beyond making and removing them: their states, and tar streams."""

from __future__ import annotations

import httpx
import pytest
from litestar import Litestar

from tests.api.asgi import Api
from tests.api.fake_engine import FakeEngine


async def test_a_volumes_states(api: Api) -> None:
    await api.send("POST", "/volumes/create", {"name": "data", "quota": 2**30})
    made = await api.send("POST", "/volumes/data/snapshots", {"name": "first"})
    assert made == {"id": "first"}
    listed = await api.send("GET", "/volumes/data/snapshots")
    assert [each["name"] for each in listed] == ["first"]
    again = await api.request("POST", "/volumes/data/snapshots", {"name": "first"})
    assert again.status_code == 409
    restored = await api.send("POST", "/volumes/data/restore", snapshot="first")
    assert restored == {"id": "data"}
    wanted = {"name": "new", "snapshot": "first"}
    assert await api.send("POST", "/volumes/data/clone", wanted) == {"id": "new"}
    assert await api.send("POST", "/volumes/data/update", {"quota": None}) == {"id": "data"}
    assert await api.send("DELETE", "/volumes/data/snapshots/first") == {"id": "first"}
    missing = await api.request("POST", "/volumes/data/restore", snapshot="first")
    assert missing.status_code == 404


async def test_what_is_wrong_with_a_request(api: Api) -> None:
    small = await api.request("POST", "/volumes/create", {"name": "data", "quota": 5})
    assert small.status_code == 400
    assert "quota" in small.json()["message"]
    nothing = await api.request("POST", "/volumes/none/restore")
    assert nothing.json()["message"] == "parameter 'snapshot' is missing"


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_tar_streams(app: Litestar, engine: FakeEngine, size: int) -> None:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://kleened") as client:
        filled = await client.put("/volumes/data/archive", content=b"x" * size)
        assert filled.status_code == 204
        assert engine.volume_states.received == [b"x" * size]
        answer = await client.get("/volumes/data/archive")
        assert (answer.status_code, answer.content) == (200, b"a tar stream")
        assert (await client.get("/volumes/none/archive")).status_code == 404
