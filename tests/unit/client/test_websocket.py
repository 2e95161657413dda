"""WebSocket of the client, against wsproto on the other side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Ping, Request, TextMessage

from kleene.client import http1, websocket


def _server() -> tuple[WSConnection, str]:
    """A wsproto server that has read our handshake, and the key in it."""
    server = WSConnection(ConnectionType.SERVER)
    key = websocket.new_key()
    headers = [("Host", "h"), *websocket.upgrade_headers(key, "proto")]
    server.receive_data(http1.head("GET", "/x", headers))
    (request,) = server.events()
    assert isinstance(request, Request)
    assert request.subprotocols == ["proto"]
    return server, key


def test_the_handshake_is_that_of_the_specification() -> None:
    server, key = _server()
    data = server.send(AcceptConnection(subprotocol="proto"))
    answer = http1.Answer(lambda: data)
    assert answer.read_final_head() == 101
    assert answer.headers["sec-websocket-accept"] == websocket.expected_accept(key)
    # The example of RFC 6455, section 1.3.
    example = websocket.expected_accept("dGhlIHNhbXBsZSBub25jZQ==")
    assert example == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(max_size=70000))
def test_what_is_sent_arrives(data: bytes) -> None:
    server, _ = _server()
    server.send(AcceptConnection(subprotocol="proto"))
    server.receive_data(websocket.frame(websocket.BINARY, data))
    assert b"".join(e.data for e in server.events() if isinstance(e, BytesMessage)) == data


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300000])
def test_every_form_of_the_length_works_both_ways(size: int) -> None:
    server, _ = _server()
    server.send(AcceptConnection(subprotocol="proto"))
    server.receive_data(websocket.frame(websocket.BINARY, b"x" * size))
    assert sum(len(e.data) for e in server.events() if isinstance(e, BytesMessage)) == size
    frame = server.send(BytesMessage(data=b"y" * size))
    assert list(websocket.Frames().messages(frame)) == [(websocket.BINARY, b"y" * size)]


@given(st.lists(st.text(max_size=200), max_size=5), st.integers(1, 40))
def test_fragments_in_any_cut_are_whole_messages(texts: list[str], step: int) -> None:
    server, _ = _server()
    server.send(AcceptConnection(subprotocol="proto"))
    data = b""
    for text in texts:
        data += server.send(TextMessage(data=text[:3], message_finished=False))
        data += server.send(Ping(payload=b"?"))
        data += server.send(TextMessage(data=text[3:], message_finished=True))
    frames = websocket.Frames()
    got = [m for start in range(0, len(data), step) for m in frames.messages(data[start:][:step])]
    assert [m.data.decode() for m in got if m.opcode == websocket.TEXT] == texts
    assert [m for m in got if m.opcode == websocket.PING] == [(websocket.PING, b"?")] * len(texts)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1\x00",  # a reserved bit
        b"\x81\x80mask",  # a masked frame
        b"\x80\x00",  # a continuation of nothing
        b"\x01\x00\x81\x00",  # a message within a message
        b"\x09\x00",  # a ping in fragments
        b"\x88\x7e\x00\x80" + b"x" * 128,  # a long control frame
        b"\x83\x00",  # an unknown opcode
        b"\x8b\x00",  # an unknown control frame
        b"\x82\x7f" + b"\xff" * 8,  # a message without end
    ],
)
def test_what_breaks_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(websocket.NotWebSocket):
        list(websocket.Frames().messages(data))
