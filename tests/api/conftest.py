"""The API in process, without a socket: every answer is checked against the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar

from kleene.daemon.app import create_app
from kleene.daemon.streams import Streams
from tests.api.asgi import Api, Stream
from tests.api.fake_engine import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def streams() -> Streams:
    return Streams()


@pytest.fixture
def app(engine: FakeEngine, streams: Streams) -> Litestar:
    return create_app(engine, streams)


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document, which is the same whatever the engine has."""
    return create_app(FakeEngine()).openapi_schema.to_schema()


@pytest.fixture
async def api(app: Litestar, document: dict[str, Any]) -> AsyncIterator[Api]:
    async with Api(app, document) as client:
        yield client


class Streamer:
    """Opens streams and sees that each of them has ended with the test."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._open: list[Stream] = []

    async def open(self, path: str, *, typed: bool = False) -> Stream:
        stream = Stream(self._app, path, typed=typed)
        self._open.append(stream)
        await stream.connect()
        return stream

    async def finish(self) -> None:
        for stream in self._open:
            await stream.finish()


@pytest.fixture
async def streamer(app: Litestar) -> AsyncIterator[Streamer]:
    opener = Streamer(app)
    yield opener
    await opener.finish()
