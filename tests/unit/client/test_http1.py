"""HTTP/1.1 of the client, against h11 on the other side."""

from __future__ import annotations

from collections.abc import Callable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.client import http1


def _receive(data: bytes, step: int) -> Callable[[], bytes]:
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    return lambda: pieces.pop(0) if pieces else b""


def _by_h11(body: list[bytes], headers: list[tuple[str, str]]) -> bytes:
    http = h11.Connection(h11.SERVER)
    http.receive_data(http1.head("GET", "/x", [("Host", "h")]))
    http.next_event()
    http.next_event()
    data = http.send(h11.InformationalResponse(status_code=103, headers=[]))
    data += http.send(h11.Response(status_code=201, headers=headers))
    for piece in body:
        data += http.send(h11.Data(data=piece))
    return data + http.send(h11.EndOfMessage())


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50), st.booleans())
def test_answers_of_any_cut_are_read(body: list[bytes], step: int, chunked: bool) -> None:
    length = [] if chunked else [("Content-Length", str(sum(map(len, body))))]
    answer = http1.Answer(_receive(_by_h11(body, [*length, ("X-Y", "z")]), step))
    assert answer.read_final_head() == 201
    assert answer.headers["x-y"] == "z"
    assert b"".join(answer.body()) == b"".join(body)
    assert answer.complete
    assert answer.rest == b""


def test_a_request_with_a_body_in_chunks_is_understood() -> None:
    http = h11.Connection(h11.SERVER)
    headers = [("Host", "h"), ("Transfer-Encoding", "chunked")]
    http.receive_data(http1.head("PUT", "/a?b=c", headers))
    http.receive_data(http1.chunk(b"one") + http1.chunk(b"x" * 70000) + http1.chunk(b""))
    request = http.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"PUT", b"/a?b=c")
    body = b""
    while isinstance(event := http.next_event(), h11.Data):
        body += event.data
    assert body == b"one" + b"x" * 70000
    assert isinstance(event, h11.EndOfMessage)


def test_a_connection_that_the_daemon_closes_is_not_complete() -> None:
    text = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    answer = http1.Answer(_receive(text, 7))
    answer.read_final_head()
    assert b"".join(answer.body()) == b"ok"
    assert not answer.complete


def test_a_body_may_end_with_the_connection() -> None:
    answer = http1.Answer(_receive(b"HTTP/1.1 200 OK\r\n\r\nall of it", 4))
    answer.read_final_head()
    assert b"".join(answer.body()) == b"all of it"
    assert not answer.complete


def test_no_body_after_304() -> None:
    answer = http1.Answer(_receive(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 9))
    assert answer.read_final_head() == 304
    assert b"".join(answer.body()) == b""


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"x" * 100000,
    ],
)
def test_what_is_not_http_is_refused(text: bytes) -> None:
    answer = http1.Answer(_receive(text, 65536))
    with pytest.raises(http1.NotHttp):
        answer.read_final_head()
        list(answer.body())


@pytest.mark.parametrize(
    "text", [b"", b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_an_answer_that_breaks_off(text: bytes) -> None:
    answer = http1.Answer(_receive(text, 65536))
    with pytest.raises(ConnectionResetError):
        answer.read_final_head()
        list(answer.body())


def test_nothing_is_smuggled_into_a_head() -> None:
    with pytest.raises(http1.NotHttp):
        http1.head("GET", "/x", [("Host", "a\r\nX: y")])
