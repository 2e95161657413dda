"""The asynchronous client against the daemon's own API: what the synchronous one gives, awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scripts.async_client import GROUPS

from kleene.build.events import Emit, Started
from kleene.client import async_operations
from kleene.client.aio import AsyncClient
from kleene.client.failures import DaemonFault, DaemonUnreachable
from kleene.client.streams import Output
from kleene.errors import Conflict, NotFound
from kleene.runtime.driver import Output as Written
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.execs import ExecStartConfig
from kleene.schemas.stream import Closing, Failed, Starting
from tests.api.fake_engine import FakeSession
from tests.unit.client.test_with_daemon import BUILD, Served, served

__all__ = ["served"]


@pytest.fixture
def client(served: Served) -> AsyncClient:
    return AsyncClient(served.client._address.text)


def test_all_operations_are_there() -> None:
    for name, group in GROUPS.items():
        ours = getattr(async_operations, f"Async{name.capitalize()}")
        for method, _ in inspect.getmembers(group, inspect.isfunction):
            if not method.startswith("_"):
                assert inspect.getdoc(getattr(ours, method)), f"{name}.{method}"


async def test_requests(client: AsyncClient) -> None:
    config = ContainerConfig(image="web", name="api", cmd=["true"])
    container = await client.containers.create(config)
    listed, inspected, version = await asyncio.gather(
        client.containers.list(all=True), client.containers.inspect("api"), client.version()
    )
    assert [each.name for each in listed] == ["api"]
    assert inspected.container.id == container
    assert version.api_version == "0.1.0"
    with pytest.raises(Conflict, match="'api' is taken"):
        await client.containers.create(config)
    assert await client.containers.remove("api", force=True) == container
    with pytest.raises(NotFound, match="does not exist"):
        await client.containers.remove("api")
    assert (await client.info()).storage == "btrfs"


async def test_an_operation_of_several_requests(client: AsyncClient, served: Served) -> None:
    """Ids that are too many for one request go in several."""
    ids = [f"{number:012x}" for number in range(1200)]
    await client.images.prune(all=True, only=ids)
    asked = [each[-1] or () for each in served.engine.space.asked]
    assert [len(only) for only in asked] == [500, 500, 200]
    assert [each for only in asked for each in only] == ids


async def test_stream_with_input(client: AsyncClient, served: Served) -> None:
    async def echo(session: FakeSession) -> AsyncIterator[Written]:
        while (data := await session.received.get()) is not None:
            yield Written("stdout", data)

    session = served.engine.execs.add(Written("stdout", b"first"), talk=echo)
    async with client.execs.start(ExecStartConfig(session.exec_id, True, True)) as stream:
        await stream.write(b"x" * 200_000)
        await stream.end_input()
        events = [event async for event in stream]
    assert isinstance(events[0], Starting)
    written = b"".join(event.data for event in events if isinstance(event, Output))
    assert written == b"first" + b"x" * 200_000
    assert isinstance(events[-1], Closing)


async def test_build_that_is_left_is_cancelled(client: AsyncClient, served: Served) -> None:
    async def forever(emit: Emit) -> str:
        await emit(Started("i" * 12))
        await asyncio.Event().wait()
        return ""

    served.engine.images.making = forever
    async with client.images.build(BUILD) as stream:
        async for event in stream:
            assert event == Starting("i" * 12)
            break
    cancelled = asyncio.run_coroutine_threadsafe(
        asyncio.wait_for(served.engine.images.cancelled.wait(), 20), served.loop
    )
    assert await asyncio.wrap_future(cancelled)


async def test_stream_that_fails(client: AsyncClient) -> None:
    async with client.execs.start(ExecStartConfig("nosuch", True, True)) as stream:
        *_, last = [event async for event in stream]
    assert isinstance(last, Failed)
    assert "nosuch" in last.message


async def test_archives(client: AsyncClient, served: Served) -> None:
    data = b"y" * 300_000
    await client.containers.write_archive("box", "/in", [data[:1000], b"", data[1000:]])
    assert served.engine.copies.received == [("box", "/in", "", False, data)]
    served.engine.copies.content = [data[:5], data[5:]]
    read = [chunk async for chunk in client.containers.read_archive("box", "/")]
    assert b"".join(read) == data
    with pytest.raises(NotFound):
        async for _ in client.containers.read_archive("nothing", "/"):
            pass
    with pytest.raises(NotFound):
        await client.containers.write_archive("nothing", "/", [data])


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no daemon listens"):
        await AsyncClient(f"http://{tmp_path}/none").version()


async def test_what_is_no_daemon(tmp_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"SSH-2.0\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(babble, str(tmp_path / "s")):
        with pytest.raises(DaemonFault, match="is not a Kleene daemon"):
            await AsyncClient(f"http://{tmp_path}/s").version()
