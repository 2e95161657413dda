"""Connections to a daemon for asyncio: one for each request, one for each stream.

A request's connection ends with it, so any number of them may be under way at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kleene.client import http1, websocket
from kleene.client.address import Address
from kleene.client.failures import (
    cannot_connect,
    connection_lost,
    not_understood,
    request_failed,
)
from kleene.client.incoming import Incoming, check_accepted
from kleene.client.recorder import Asked
from kleene.client.transport import CONNECT_TIMEOUT, Response, Tls, request_headers, tls_context
from kleene.schemas.constants import CLOSE_DONE, STDIN, SUBPROTOCOL

if TYPE_CHECKING:
    from typing import Self

_CHUNK = 65536
_CONTINUE, _SWITCHING = 100, 101
_BODILESS = (204, 304)


class Connection:
    """A connection for one request.

    Raises (when made or used):
        DaemonUnreachable: nobody listens, access is denied, or the other side closed too early.
        DaemonFault: what answers is no daemon.
    """

    def __init__(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._address = address
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: Address, tls: Tls) -> AsyncIterator[Connection]:
        """Connect; closed at the end."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await _connect(address, tls)
        except OSError as error:
            raise cannot_connect(address, error) from error
        try:
            yield cls(address, reader, writer)
        except (OSError, EOFError) as error:
            lost = error if isinstance(error, OSError) else None
            raise connection_lost(address, lost) from error
        except (http1.NotHttp, asyncio.LimitOverrunError) as error:
            raise not_understood(address) from error
        finally:
            writer.close()

    async def send(self, asked: Asked) -> http1.Answer:
        """Send a request, and read the head of its answer."""
        self.writer.write(asked.data)
        await self.writer.drain()
        answer = await self._read_head()
        if asked.chunks is not None and answer.status == _CONTINUE:
            await self._send_body(asked.chunks)
            answer = await self._read_head()
        while 100 <= answer.status < 200 and answer.status != _SWITCHING:
            answer = await self._read_head()
        return answer

    async def _read_head(self) -> http1.Answer:
        data = await self.reader.readuntil(b"\r\n\r\n")
        answer = http1.Answer(lambda: data)
        answer.read_head()
        return answer

    async def _send_body(self, chunks: Iterable[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
            for data in chunks:
                if data:  # an empty chunk would be the end
                    self.writer.write(http1.chunk(data))
                    await self.writer.drain()
            self.writer.write(http1.chunk(b""))
            await self.writer.drain()

    async def body(self, answer: http1.Answer) -> AsyncIterator[bytes]:
        """The answer's body, piece by piece."""
        if answer.headers.get("transfer-encoding", "").lower() == "chunked":
            async for data in self._chunks():
                yield data
        elif answer.status not in _BODILESS:
            left = int(answer.headers.get("content-length", "-1"))
            while left and (data := await self.reader.read(_CHUNK if left < 0 else left)):
                left -= len(data) if left > 0 else 0
                yield data
            if left > 0:
                raise ConnectionResetError

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := await self._chunk_size():
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)

    async def _chunk_size(self) -> int:
        try:
            return int((await self.reader.readline()).partition(b";")[0], 16)
        except ValueError as error:
            raise http1.NotHttp from error

    async def whole(self, answer: http1.Answer) -> Response:
        """The answer with its body."""
        return Response(answer.status, b"".join([data async for data in self.body(answer)]))


async def exchange(address: Address, tls: Tls, asked: Asked, limit: float | None) -> Response:
    """Send a request and read its answer; ``limit``: seconds for all of it."""
    async with Connection.open(address, tls) as connection, asyncio.timeout(limit):
        return await connection.whole(await connection.send(asked))


async def download(address: Address, tls: Tls, asked: Asked) -> AsyncGenerator[bytes, None]:
    """Send a request and pass on its body. Raises what the daemon answers if it refuses."""
    async with Connection.open(address, tls) as connection:
        answer = await connection.send(asked)
        if answer.status != 200:
            raise request_failed(address, *await connection.whole(answer))
        async for data in connection.body(answer):
            yield data


async def _connect(address: Address, tls: Tls) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = tls_context(tls) if address.tls else None
    name = address.host if context is not None else None
    if address.path is not None:
        return await asyncio.open_unix_connection(address.path, ssl=context, server_hostname=name)
    return await asyncio.open_connection(
        address.host, address.port, ssl=context, server_hostname=name
    )


class AsyncStream:
    """What the daemon tells of a running operation, and what is told to it.

    It is opened by ``async with``, and leaving that closes it: before the last message, this cancels a build.
    ``async for`` gives ``Output`` and messages in the order they came, to the last one: ``closing`` or
    ``failed``.

    Raises (when opened or iterated):
        DaemonUnreachable: the connection could not be made, or ended too early.
        KleeneError: the daemon refused the stream, and why.
    """

    def __init__(
        self,
        address: Address,
        tls: Tls,
        target: str,
        config: bytes,
        decode: Callable[[str], Any] = json.loads,
    ) -> None:
        self._address = address
        self._tls = tls
        self._target = target
        self._config = config
        self._incoming = Incoming(address, decode, self._send)
        self._exits = contextlib.AsyncExitStack()
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            opening = Connection.open(self._address, self._tls)
            self._connection = await exits.enter_async_context(opening)
            await self._shake_hands(self._connection)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A daemon that went away or closed first needs no goodbye.
        if self._connection is not None and not self._connection.writer.is_closing():
            self._connection.writer.write(websocket.close_frame(CLOSE_DONE))
        self._connection = None
        await self._exits.__aexit__(kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while not self._incoming.ended:
            data = await self._open().reader.read(_CHUNK)
            for event in self._incoming.events(data):
                yield event

    async def write(self, data: bytes) -> None:
        """Give ``data`` to the process's standard input; waits while the daemon does not take it."""
        # The daemon takes frames of up to 1 MiB.
        for start in range(0, len(data), _CHUNK):
            self._send(websocket.BINARY, bytes((STDIN,)) + data[start : start + _CHUNK])
            await self._open().writer.drain()

    async def end_input(self) -> None:
        """Close the process's standard input."""
        await self._tell({"type": "end_of_input"})

    async def resize(self, rows: int, columns: int) -> None:
        """Tell the size of the terminal, in characters."""
        await self._tell({"type": "resize", "rows": rows, "columns": columns})

    async def signal(self, name: str) -> None:
        """Send the process a signal, such as ``SIGINT``."""
        await self._tell({"type": "signal", "name": name})

    async def _shake_hands(self, connection: Connection) -> None:
        key = websocket.new_key()
        headers = request_headers(self._address) + websocket.upgrade_headers(key, SUBPROTOCOL)
        asked = Asked(http1.head("GET", self._target, headers))
        async with asyncio.timeout(CONNECT_TIMEOUT):
            answer = await connection.send(asked)
            if answer.status != _SWITCHING:
                raise request_failed(self._address, *await connection.whole(answer))
        check_accepted(self._address, answer, key)
        self._send(websocket.TEXT, self._config)
        await connection.writer.drain()

    async def _tell(self, message: dict[str, Any]) -> None:
        self._send(websocket.TEXT, json.dumps(message).encode())
        await self._open().writer.drain()

    def _send(self, opcode: int, data: bytes) -> None:
        if not self._incoming.ended:
            self._open().writer.write(websocket.frame(opcode, data))

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the stream is not open: use 'async with'")
        return self._connection
