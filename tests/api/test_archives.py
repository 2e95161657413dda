"""Files of containers as tar streams."""

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
