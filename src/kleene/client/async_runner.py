"""How the asynchronous client carries out an operation of the synchronous one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TypeVar

from kleene.client.address import parse_address
from kleene.client.api import decode_message
from kleene.client.async_transport import AsyncStream, download, exchange
from kleene.client.failures import request_failed
from kleene.client.recorder import Asked, AskedStream, Recorder
from kleene.client.streams import Stream
from kleene.client.transport import Response, Tls

T = TypeVar("T")


class Runner:
    """Carries out operations on one daemon."""

    def __init__(self, host: str, tls: Tls, limit: float | None) -> None:
        self._host = host
        self._address = parse_address(host)
        self._tls = tls
        self._limit = limit

    async def run(self, operation: Callable[[Recorder], T]) -> T:
        """An operation that is one request, or one after the other."""
        recorder = Recorder(self._host)
        answers: list[Response] = []
        while True:
            recorder.give(answers)
            try:
                return operation(recorder)
            except Asked as asked:
                limit = self._limit if asked.chunks is None else None
                answer = await exchange(self._address, self._tls, asked, limit)
            if not 200 <= answer.status < 300:
                raise request_failed(self._address, answer.status, answer.body)
            answers.append(answer)

    def download(
        self, operation: Callable[[Recorder], Generator[bytes, None, None]]
    ) -> AsyncGenerator[bytes, None]:
        """An operation whose answer is read piece by piece."""
        try:
            operation(Recorder(self._host))
        except Asked as asked:
            return download(self._address, self._tls, asked)
        raise AssertionError("the operation asked for nothing")

    def stream(self, operation: Callable[[Recorder], Stream]) -> AsyncStream:
        """An operation that is a stream; it is opened by ``async with``."""
        try:
            operation(Recorder(self._host))
        except AskedStream as asked:
            return AsyncStream(self._address, self._tls, asked.target, asked.config, decode_message)
        raise AssertionError("the operation opened no stream")
