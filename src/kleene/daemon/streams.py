"""Streams: an operation of the engine on one side, a WebSocket on the other, as long as both last.

A client that goes away cancels a build or the making of a base image, which undoes it; it only detaches
from an execution instance, whose process goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

from litestar import WebSocket

from kleene.daemon.facade import ExecResult, ExecSession
from kleene.daemon.inputs import decode
from kleene.daemon.link import Bounded, ClientGone, Link, race
from kleene.daemon.problems import InvalidFirstFrame
from kleene.daemon.stream_protocols import Kind, Reporter, reporter_for
from kleene.errors import HostUnavailable, InvalidInput
from kleene.schemas.stream import ClientMessage, Closing, EndOfInput, Resize, Signal

C = TypeVar("C")

_log = logging.getLogger(__name__)


class Streams:
    """The streams that are open; lasts as long as the daemon."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Count the current task among the open streams."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            yield
        finally:
            self._open.discard(task)

    async def stopped(self) -> NoReturn:
        """Wait until the daemon stops, and raise that."""
        await self._stopping.wait()
        raise HostUnavailable("kleened is stopping; processes in containers keep running")

    async def stop(self, limit: float) -> None:
        """End all streams: cancel builds, detach clients.

        Args:
            limit: seconds to wait for what is undone.
        """
        self._stopping.set()
        if self._open:
            await asyncio.wait(self._open, timeout=limit)


class Inputs:
    """What the client sent for a process, in order; what needs no order with it goes aside."""

    def __init__(self) -> None:
        self.data: Bounded[bytes | EndOfInput] = Bounded()
        self.controls: Bounded[Resize | Signal] = Bounded()
        self._ended = False

    async def put(self, item: bytes | ClientMessage) -> None:
        """Keep one item; after the end of input, data is dropped."""
        if isinstance(item, Resize | Signal):
            await self.controls.put(item)
        elif not self._ended:
            self._ended = isinstance(item, EndOfInput)
            await self.data.put(item)


Operation = Callable[[C, Reporter, Inputs], Coroutine[Any, Any, Closing]]


async def serve(
    socket: WebSocket[Any, Any, Any],
    streams: Streams,
    kind: Kind,
    config: type[C],
    operation: Operation[C],
) -> None:
    """Take a WebSocket through its life: the configuration, the operation, the closing message."""
    link = Link(socket)
    await link.accept()
    reporter = reporter_for(link, kind)
    with streams.entered():
        try:
            await reporter.done(await _operate(link, streams, kind, config, operation, reporter))
        except ClientGone:
            _log.debug("client of '%s' went away", socket.url.path)
        except Exception as error:
            with contextlib.suppress(ClientGone):
                await reporter.failed(error)


async def _operate(
    link: Link,
    streams: Streams,
    kind: Kind,
    config: type[C],
    operation: Operation[C],
    reporter: Reporter,
) -> Closing:
    first = await race(link.receive(), streams.stopped())
    try:
        wanted = decode(first, config)
    except InvalidInput as error:
        raise InvalidFirstFrame(error.message, hint=error.hint) from error
    await reporter.begin()
    inputs = Inputs()
    return await race(
        operation(wanted, reporter, inputs),
        _listen(link, reporter, inputs if kind == "exec" else None),
        streams.stopped(),
    )


async def _listen(link: Link, reporter: Reporter, inputs: Inputs | None) -> NoReturn:
    """Read until the client goes away; without ``inputs``, only to learn of that."""
    while True:
        frame = await link.receive()
        if inputs is not None:
            await inputs.put(reporter.input(frame))


async def relay(session: ExecSession, reporter: Reporter, inputs: Inputs) -> ExecResult:
    """Connect an attached execution instance and its client until the process ends."""
    await race(
        _write_out(session, reporter),
        _write_in(session, inputs),
        _control(session, inputs),
    )
    return await session.result()


async def _write_out(session: ExecSession, reporter: Reporter) -> None:
    async for output in session.output():
        await reporter.output(output)


async def _write_in(session: ExecSession, inputs: Inputs) -> NoReturn:
    while True:
        item = await inputs.data.get()
        if isinstance(item, EndOfInput):
            await session.close_stdin()
        else:
            await session.write(item)


async def _control(session: ExecSession, inputs: Inputs) -> NoReturn:
    while True:
        item = await inputs.controls.get()
        if isinstance(item, Resize):
            await session.resize(item.rows, item.columns)
        else:
            await session.signal(item.name)
