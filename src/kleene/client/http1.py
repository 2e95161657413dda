"""HTTP/1.1 as a client speaks it (RFC 9112): heads are written, answers are read. No I/O of its own.

The libraries for it take longer to import than most commands run; a client that speaks to one known daemon
needs this much of the protocol. A :class:`Answer` lives as long as one answer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

_MAX_HEAD = 65536  # bytes; a daemon's heads have a few hundred
_BODILESS = (204, 304)


class NotHttp(Exception):
    """What was read is no HTTP/1.1 answer."""


def head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request up to its body.

    Raises:
        NotHttp: a line would hold what ends it, or another request.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise NotHttp
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112, section 7.1). Without data, the body's end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answer:
    """One answer, read from ``receive``, which gives the next bytes; none when the other side has closed.

    Attributes:
        status: the answer's status, once :meth:`read_head` returned.
        headers: by lower-case name.
        complete: the body was read to its end, and the connection can take another request.

    Raises (when read):
        NotHttp: it is not HTTP.
        ConnectionResetError: the other side closed too early.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False

    def read_head(self) -> int:
        """Read the status line and the headers, of an interim answer too; the status."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise NotHttp
            self._more()
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        version, _, rest = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdecimal():
            raise NotHttp
        self.status = int(rest[:3])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        return self.status

    def read_final_head(self) -> int:
        """Read heads until one that is not interim (1xx; but 101 ends the talk); the status."""
        while 100 <= self.read_head() < 200 and self.status != 101:
            pass
        return self.status

    def body(self) -> Iterator[bytes]:
        """The body of a final answer, piece by piece."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self.headers or self.status in _BODILESS:
            yield from self._exactly(self._length())
        else:
            yield from self._until_closed()
            return
        self.complete = self.headers.get("connection", "").lower() != "close"

    @property
    def rest(self) -> bytes:
        """What was received and not read yet."""
        return self._buffer

    def _length(self) -> int:
        text = "0" if self.status in _BODILESS else self.headers["content-length"]
        if not (text.isascii() and text.isdecimal()):
            raise NotHttp
        return int(text)

    def _more(self) -> None:
        data = self._receive()
        if not data:
            raise ConnectionResetError
        self._buffer += data

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length:
            if not self._buffer:
                self._more()
            data, self._buffer = self._buffer[:length], self._buffer[length:]
            length -= len(data)
            yield data

    def _until_closed(self) -> Iterator[bytes]:
        if self._buffer:
            yield self._buffer
        while data := self._receive():
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while length := self._chunk_length():
            yield from self._exactly(length)
            if self._line():
                raise NotHttp
        while self._line():  # trailers
            pass

    def _chunk_length(self) -> int:
        try:
            return int(self._line().partition(b";")[0], 16)
        except ValueError as error:
            raise NotHttp from error

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise NotHttp
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line
