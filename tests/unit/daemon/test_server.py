"""The API on real sockets: unix, TCP and TLS, streams through them, and how serving ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)

from kleene.build import events
from kleene.build.events import Emit
from kleene.daemon import server as kleened
from kleene.daemon.addresses import Address, parse_address
from kleene.daemon.app import create_app
from kleene.daemon.config import Config, Listener
from kleene.daemon.reload import Reloader
from kleene.daemon.sockets import listening
from kleene.daemon.streams import Streams
from kleene.daemon.tls import LiveTls
from kleene.errors import InvalidInput
from kleene.runtime.driver import Output
from tests.api.fake_engine import FakeEngine, FakeSession
from tests.support.certificates import certify

_LIMIT = 20.0
BUILD = {"context": "/src", "container_config": {}}


class Served:
    """A server at work, until :meth:`end`."""

    def __init__(self, engine: FakeEngine, task: asyncio.Task[None], stop: asyncio.Event) -> None:
        self.engine = engine
        self._task = task
        self._stop = stop

    async def end(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self._task, _LIMIT)


Serve = Callable[..., Coroutine[Any, Any, Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as ends:

        async def start(
            *listeners: Listener, certificates: dict[Address, LiveTls] | None = None
        ) -> Served:
            engine, streams = FakeEngine(), Streams()
            stop, ready = asyncio.Event(), asyncio.Event()
            sockets = ends.enter_context(listening([each.address for each in listeners]))
            pairs = list(zip(listeners, sockets, strict=True))
            app = create_app(engine, streams)
            serving = kleened.serve(
                app, streams, pairs, stop, ready=ready, certificates=certificates
            )
            task = asyncio.create_task(serving)
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait([waiting, task], timeout=_LIMIT, return_when="FIRST_COMPLETED")
            waiting.cancel()
            if task.done():
                task.result()
            served = Served(engine, task, stop)
            ends.push_async_callback(served.end)
            return served

        yield start


class Client:
    """A WebSocket client on a unix socket, which shows every frame and the close frame as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._pings = 0
        self.pinged = asyncio.Event()

    @classmethod
    async def open(cls, path: Path, target: str) -> Client:
        client = cls(*await asyncio.open_unix_connection(str(path)))
        client._send(Request(host="localhost", target=target))
        assert isinstance(await client.next(), AcceptConnection)
        return client

    def send(self, data: object) -> None:
        if isinstance(data, bytes):
            self._send(BytesMessage(data=data))
        else:
            self._send(TextMessage(data=msgspec.json.encode(data).decode()))

    async def next(self) -> Event:
        """The next event but pings, which are answered; ``pinged`` is set by the third."""
        while True:
            while not self._events:
                data = await asyncio.wait_for(self._reader.read(65536), _LIMIT)
                self._websocket.receive_data(data or None)
                self._events += self._websocket.events()
            event = self._events.pop(0)
            if not isinstance(event, Ping):
                return event
            self._pings += 1
            if self._pings == 3:
                self.pinged.set()
            self._send(event.response())

    async def rest(self) -> tuple[bytes, CloseConnection]:
        """What was sent until the end, and the end."""
        whole = b""
        while not isinstance(event := await self.next(), CloseConnection):
            assert isinstance(event, TextMessage | BytesMessage)
            whole += event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        self._send(event.response())
        self.leave()
        return whole, event

    def leave(self) -> None:
        self._writer.close()

    def _send(self, event: Event) -> None:
        self._writer.write(self._websocket.send(event))


def unix(path: Path, **tls: Any) -> Listener:
    return Listener(parse_address(f"http{'s' if tls else ''}://{path}"), **tls)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def version(url: str, **options: Any) -> str:
    uds, verify = options.pop("uds", None), options.pop("verify", True)
    transport = httpx.AsyncHTTPTransport(uds=uds, verify=verify)
    async with httpx.AsyncClient(transport=transport) as client:
        return str((await client.get(f"{url}/version")).json()["version"])


async def test_several_sockets_at_once(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    tcp = Listener(parse_address(f"http://127.0.0.1:{port}"))
    await serve(unix(tmp_path / "a.sock"), unix(tmp_path / "b.sock"), tcp)
    assert await version("http://kleened", uds=str(tmp_path / "a.sock")) == "0.1.0"
    assert await version("http://kleened", uds=str(tmp_path / "b.sock")) == "0.1.0"
    assert await version(f"http://127.0.0.1:{port}") == "0.1.0"


async def test_stream_on_a_socket_with_large_output_and_input(serve: Serve, tmp_path: Path) -> None:
    async def echo(session: FakeSession) -> AsyncIterator[Output]:
        while (data := await session.received.get()) is not None:
            yield Output("stdout", data)

    served = await serve(unix(tmp_path / "k.sock"))
    session = served.engine.execs.add(Output("stdout", b"x" * 3_000_000), talk=echo)
    client = await Client.open(tmp_path / "k.sock", "/exec/start")
    client.send({"exec_id": session.exec_id, "attach": True, "start_container": True})
    for _ in range(100):
        client.send(b"y" * 10_000)
    client.send(b"")
    whole, end = await client.rest()
    start, _, output = whole.partition(b"}")
    assert b'"starting"' in start
    assert (output.count(b"x"), output.count(b"y")) == (3_000_000, 1_000_000)
    assert end.code == 1000
    assert msgspec.json.decode(end.reason or "")["msg_type"] == "closing"


async def test_error_arrives_in_the_close_frame(serve: Serve, tmp_path: Path) -> None:
    served = await serve(unix(tmp_path / "k.sock"))
    served.engine.execs.failure = InvalidInput("é" * 300)
    client = await Client.open(tmp_path / "k.sock", "/exec/start")
    client.send({"exec_id": "a", "attach": True, "start_container": True})
    _, end = await client.rest()
    assert end.code == 1011
    assert msgspec.json.decode(end.reason or "")["message"].endswith("é…")


async def test_idle_stream_is_kept_alive_by_pings(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kleened, "PING_INTERVAL", 0.02)
    served = await serve(unix(tmp_path / "k.sock"))
    enough = asyncio.Event()

    async def idle(emit: Emit) -> str:
        await enough.wait()
        return "4a103f27dad8"

    served.engine.images.making = idle
    client = await Client.open(tmp_path / "k.sock", "/images/build")
    client.send(BUILD)
    rest = asyncio.create_task(client.rest())
    async with asyncio.timeout(_LIMIT):
        await client.pinged.wait()
    enough.set()
    _, end = await rest
    assert end.code == 1000


async def test_client_that_vanishes_cancels_its_build(serve: Serve, tmp_path: Path) -> None:
    served = await serve(unix(tmp_path / "k.sock"))

    async def forever(emit: Emit) -> str:
        await emit(events.Started("4a103f27dad8"))
        await asyncio.Event().wait()
        return ""

    served.engine.images.making = forever
    client = await Client.open(tmp_path / "k.sock", "/images/build")
    client.send(BUILD)
    await client.next()
    client.leave()
    await asyncio.wait_for(served.engine.images.cancelled.wait(), _LIMIT)


async def test_end_of_serving_cancels_builds_and_tells_clients(
    serve: Serve, tmp_path: Path
) -> None:
    served = await serve(unix(tmp_path / "k.sock"))
    undone = asyncio.Event()

    async def forever(emit: Emit) -> str:
        await emit(events.Started("4a103f27dad8"))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            undone.set()
        return ""

    served.engine.images.making = forever
    client = await Client.open(tmp_path / "k.sock", "/images/build")
    client.send(BUILD)
    await client.next()

    ending = asyncio.create_task(served.end())
    _, end = await client.rest()
    await ending

    assert undone.is_set()
    assert "kleened is stopping" in (end.reason or "")
    with pytest.raises(OSError, match=r"refused|No such file"):
        await asyncio.open_unix_connection(str(tmp_path / "k.sock"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An authority, and a certificate of it for the server and one for a client."""
    yield certify(tmp_path_factory.mktemp("certificates"))


def context(certificates: Path, *, client: bool) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=certificates / "ca.pem")
    if client:
        made.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    return made


async def test_tls_with_certificates_of_clients(
    serve: Serve, tmp_path: Path, certificates: Path
) -> None:
    port = free_port()
    tls = {"tlscert": certificates / "server.pem", "tlskey": certificates / "server.key"}
    strict = {"tlsverify": True, "tlscacert": certificates / "ca.pem"}
    await serve(
        Listener(parse_address(f"https://127.0.0.1:{port}"), **tls, **strict),  # type: ignore[arg-type]
        unix(tmp_path / "tls.sock", **tls),
        unix(tmp_path / "strict.sock", **tls, **strict),
        unix(tmp_path / "k.sock"),
    )
    known, unknown = context(certificates, client=True), context(certificates, client=False)

    assert await version(f"https://127.0.0.1:{port}", verify=known) == "0.1.0"
    with pytest.raises(httpx.HTTPError):
        await version(f"https://127.0.0.1:{port}", verify=unknown)
    with pytest.raises(httpx.HTTPError):
        await version(f"http://127.0.0.1:{port}")
    uds = str(tmp_path / "tls.sock")
    assert await version("https://localhost", uds=uds, verify=unknown) == "0.1.0"
    strict_uds = str(tmp_path / "strict.sock")
    assert await version("https://localhost", uds=strict_uds, verify=known) == "0.1.0"
    with pytest.raises(httpx.HTTPError):
        await version("https://localhost", uds=strict_uds, verify=unknown)
    assert await version("http://localhost", uds=str(tmp_path / "k.sock")) == "0.1.0"


async def test_certificate_that_cannot_be_used_is_told(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(InvalidInput, match="cannot use its certificate"):
        await serve(unix(tmp_path / "tls.sock", tlscert=tmp_path / "bad.pem"))


async def test_certificates_are_exchanged_while_serving(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's own, and whose clients may connect."""
    here, there = tmp_path / "here", tmp_path / "there"
    old, new = (certify(tmp_path / name) for name in ("old", "new"))
    here.symlink_to(old)
    listener = unix(
        tmp_path / "k.sock",
        tlscert=here / "server.pem",
        tlskey=here / "server.key",
        tlsverify=True,
        tlscacert=here / "ca.pem",
    )
    config = Config(api_listening_sockets=(listener,))
    certificates = {listener.address: LiveTls(listener)}
    await serve(listener, certificates=certificates)
    monkeypatch.setattr("kleene.daemon.log.set_up", lambda config: None)
    reloader = Reloader(config, lambda: config, certificates)

    async def asked(authority: Path) -> str:
        verify = context(authority, client=True)
        return await version("https://localhost", uds=str(tmp_path / "k.sock"), verify=verify)

    assert await asked(old) == "0.1.0"
    there.symlink_to(new)
    there.rename(here)
    reloader.reload()
    assert await asked(new) == "0.1.0"
    with pytest.raises(httpx.HTTPError):
        await asked(old)

    here.unlink()
    reloader.reload()
    assert await asked(new) == "0.1.0"
