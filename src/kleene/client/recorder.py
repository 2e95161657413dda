"""What an operation asks the daemon, and what it makes of the answer, without a connection between. Pure.

The asynchronous client runs an operation over a :class:`Recorder` again and again: the first time it learns
which bytes to send, the second time the operation is given the answer, and asks for more or returns what it
returns to everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kleene.client.api import Client
from kleene.client.operations import encode
from kleene.client.transport import UPLOAD, HttpConnection, Response

if TYPE_CHECKING:
    from kleene.client.operations import Body
    from kleene.client.streams import Stream


class Asked(BaseException):
    """Raised out of an operation by what it asks for.

    Attributes:
        data: the request, up to its body if there are ``chunks``.
        chunks: the body, to be sent when the daemon wants it.
    """

    def __init__(self, data: bytes, chunks: Iterable[bytes] | None = None) -> None:
        self.data = data
        self.chunks = chunks


class AskedStream(BaseException):
    """Raised out of an operation that opens a stream."""

    def __init__(self, target: str, config: bytes) -> None:
        self.target = target
        self.config = config


class _Http(HttpConnection):
    """Never connects."""

    answers: Iterator[Response] = iter(())

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Response:
        for answer in self.answers:
            return answer
        raise Asked(self.encode(method, target, body))

    def upload(self, target: str, chunks: Iterable[bytes]) -> None:
        if next(self.answers, None) is None:
            raise Asked(self.head("PUT", target, UPLOAD), chunks)

    def download(self, target: str) -> Generator[bytes, None, None]:
        raise Asked(self.encode("GET", target, None))


class Recorder(Client):
    """A client whose operations raise what they ask, until there is an answer to give them."""

    _http: _Http

    def _connection(self, timeout: float | None) -> HttpConnection:
        return _Http(self._address, self._tls, timeout)

    def give(self, answers: Sequence[Response]) -> None:
        """Answer what is asked from now on, as far as the answers go."""
        self._http.answers = iter(answers)

    def _open_stream(self, target: str, config: Body) -> Stream:
        raise AskedStream(target, encode(config))
