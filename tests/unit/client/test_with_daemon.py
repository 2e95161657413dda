"""The client against the daemon's own API, served on a socket, with an engine in memory behind it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kleene.build.events import (
    BuildFailed,
    Emit,
    OutputWritten,
    Started,
    StepFinished,
    StepStarted,
)
from kleene.client.api import Client
from kleene.client.streams import Output
from kleene.daemon.addresses import parse_address
from kleene.daemon.app import create_app
from kleene.daemon.config import Listener
from kleene.daemon.server import serve
from kleene.daemon.streams import Streams
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.runtime.driver import Output as Written
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.execs import ExecStartConfig
from kleene.schemas.images import ImageBuildConfig
from kleene.schemas.networks import EndPointConfig, NetworkConfig
from kleene.schemas.stream import Closing, Failed, Starting
from kleene.schemas.stream import StepFinished as Finished
from kleene.schemas.stream import StepStarted as Begun
from kleene.schemas.volumes import VolumeConfig
from tests.api.fake_engine import FakeEngine, FakeResult, FakeSession

BUILD = ImageBuildConfig(context="/x", container_config=ContainerConfig())


@pytest.fixture(params=["0.2.0", "1.0.0"])
def other_version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A client that was made for another, later version of the API."""
    monkeypatch.setattr("kleene.client.transport.API_VERSION", request.param)
    return str(request.param)


class Served(NamedTuple):
    engine: FakeEngine
    client: Client
    loop: asyncio.AbstractEventLoop


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An engine, and a client of the daemon that serves it from a thread."""
    address = f"http://{tmp_path}/s"
    started = threading.Event()
    loop = asyncio.new_event_loop()
    made: dict[str, FakeEngine] = {}
    stop = asyncio.Event()

    async def main() -> None:
        made["engine"], streams, ready = FakeEngine(), Streams(), asyncio.Event()
        listener = Listener(parse_address(address))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"{tmp_path}/s")
            bound.listen()
            app = create_app(made["engine"], streams)
            serving = asyncio.create_task(
                serve(app, streams, [(listener, bound)], stop, ready=ready)
            )
            await ready.wait()
            started.set()
            await serving

    thread = threading.Thread(target=loop.run_until_complete, args=[main()])
    thread.start()
    assert started.wait(20)
    try:
        with Client(address) as client:
            yield Served(made["engine"], client, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def test_objects(served: Served) -> None:
    client = served.client
    container = client.containers.create(ContainerConfig(image="web", name="api", cmd=["true"]))
    assert [c.name for c in client.containers.list(all=True)] == ["api"]
    assert client.containers.list() == []
    assert client.containers.inspect("api").container.cmd == ["true"]
    assert client.containers.update("api", {"name": "www"}) == container
    with pytest.raises(Conflict, match="'www' is taken"):
        client.containers.create(ContainerConfig(image="web", name="www"))
    network = client.networks.create(NetworkConfig("net", "loopback", "10.0.0.0/24"))
    client.networks.connect(EndPointConfig("www", "net", "<auto>"))
    client.networks.disconnect("net", "www")
    assert client.networks.list()[0].subnet == "10.0.0.0/24"
    assert client.networks.remove("net") == network
    assert client.volumes.create(VolumeConfig("data")) == "data"
    assert [v.name for v in client.volumes.list()] == ["data"]
    assert client.volumes.remove("data") == "data"
    assert client.containers.remove("www", force=True) == container
    with pytest.raises(NotFound, match="does not exist"):
        client.containers.remove("www")


def test_images_with_slashes_in_their_names(served: Served) -> None:
    client = served.client
    image = client.images.inspect("library/web:latest")
    assert client.images.tag("library/web", "library/www:1") == image.id
    assert client.images.remove("library/www:1") == image.id
    assert len(client.images.prune(all=True)) == 1


def test_system(served: Served) -> None:
    assert served.client.version().version
    assert served.client.info().storage


def test_build(served: Served) -> None:
    async def making(emit: Emit) -> str:
        await emit(Started("i" * 12))
        await emit(StepStarted(1, 1, "RUN ls"))
        await emit(OutputWritten(b"bin\n"))
        await emit(StepFinished(1, "s" * 12, False, 0.5))
        return "i" * 12

    served.engine.images.making = making
    with served.client.images.build(BUILD) as stream:
        assert list(stream) == [
            Starting("i" * 12),
            Begun(1, 1, "RUN ls"),
            Output(1, b"bin\n"),
            Finished(1, "s" * 12, False, 0.5),
            Closing(message="image created", data="i" * 12),
        ]
    assert served.engine.images.config == BUILD


def test_failed_build(served: Served) -> None:
    async def making(emit: Emit) -> str:
        raise BuildFailed("step failed", hint="h", image_id="i", snapshot="s", exit_code=2)

    served.engine.images.making = making
    with served.client.images.build(BUILD) as stream:
        (failed,) = stream
    assert isinstance(failed, Failed)
    assert (failed.message, failed.hint, failed.data) == ("step failed", "h", "s")
    assert (failed.image_id, failed.exit_code) == ("i", 2)


def test_closed_stream_cancels_the_build(served: Served) -> None:
    async def making(emit: Emit) -> str:
        await emit(Started("i" * 12))
        await asyncio.Event().wait()
        return ""

    served.engine.images.making = making
    with served.client.images.build(BUILD) as stream:
        assert next(iter(stream)) == Starting("i" * 12)
    waiting = asyncio.run_coroutine_threadsafe(served.engine.images.cancelled.wait(), served.loop)
    assert waiting.result(20)


def test_process_with_input_controls_and_much_output(served: Served) -> None:
    async def talk(session: FakeSession) -> AsyncIterator[Written]:
        while (data := await session.received.get()) is not None:
            yield Written("stderr", data.upper())

    chunks = [Written("stdout", b"x" * 300_000)]
    session = served.engine.execs.add(*chunks, talk=talk, ending=FakeResult(3, False))
    with served.client.execs.start(ExecStartConfig(session.exec_id, True, True, 24, 80)) as stream:
        stream.resize(50, 132)
        stream.signal("SIGINT")
        stream.write(b"y" * 2_000_000)
        stream.write(b"z")
        stream.end_input()
        events = list(stream)
    written = {1: b"", 2: b""}
    for event in events[1:-1]:
        written[event.stream] += event.data
    assert written == {1: b"x" * 300_000, 2: b"Y" * 2_000_000 + b"Z"}
    assert events[-1].exit_code == 3
    assert not events[-1].container_stopped
    assert served.engine.execs.started[-1]["size"] == (24, 80)
    assert [session.controls.get_nowait() for _ in range(2)] == [(50, 132), "SIGINT"]


def test_configuration_that_is_not_understood(served: Served) -> None:
    with served.client.images.build({"context": 7}) as stream:
        (failed,) = stream
    assert isinstance(failed, Failed)
    with pytest.raises(InvalidInput):
        served.client.networks.create({"name": "n", "type": "star"})


def test_client_of_another_version_is_told(served: Served, other_version: str) -> None:
    client = served.client
    for operation in (client.containers.list, lambda: client.images.build(BUILD)):
        with pytest.raises(InvalidInput, match="klee and kleened do not fit") as raised:
            operation()
        assert other_version in raised.value.message
        assert "update kleened" in (raised.value.hint or "")
    assert client.version().api_version == "0.1.0"
