"""Bodies of any length: files of containers, and build contexts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from litestar import Litestar

from tests.api.fake_engine import FakeEngine


@pytest.fixture
def client(app: Litestar) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://kleened")


async def test_an_archive_out_of_a_container(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.copies.content = [b"abc", b"\xff" * 100_000]
    answer = await client.get("/containers/web/archive", params={"path": "/etc"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.content == b"abc" + b"\xff" * 100_000


async def test_an_archive_into_a_container_may_be_large(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    data = b"x" * 20_000_000
    query: dict[str, Any] = {"path": "/srv", "name": "site", "directory": True}
    answer = await client.put("/containers/web/archive", params=query, content=data)
    assert (answer.status_code, answer.content) == (204, b"")
    assert engine.copies.received == [("web", "/srv", "site", True, data)]


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_is_wrong_with_a_request(client: httpx.AsyncClient, method: str) -> None:
    missing = await client.request(method, "/containers/web/archive")
    assert missing.status_code == 400
    assert missing.json()["message"] == "parameter 'path' is missing"
    unknown = await client.request(method, "/containers/nothing/archive", params={"path": "/"})
    assert unknown.status_code == 404


async def test_a_context_is_offered_and_sent(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    data = b"x" * 20_000_000
    offered = await client.post("/contexts/offer", content=data)
    assert offered.json() == {"id": "0" * 32, "missing": {"a" * 64: 7}}
    sent = await client.put("/contexts/contents", content=data)
    archive = await client.put(f"/contexts/{'1' * 32}/archive", content=data)
    assert (sent.status_code, archive.status_code) == (204, 204)
    assert engine.contexts.listed == [data]
    assert engine.contexts.received == [("", data), ("1" * 32, data)]
    refused = await client.post("/contexts/offer", content=b"")
    assert (refused.status_code, "understood" in refused.json()["message"]) == (400, True)
