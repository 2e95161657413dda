"""WebSocket as a client speaks it (RFC 6455): the handshake's headers, frames out and frames in. No I/O.

Own code for the reason that :mod:`kleene.client.http1` gives. A :class:`Frames` lives as long as its
connection.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_CONTINUATION = 0
_CONTROL = 8  # opcodes from here on are whole in one frame (section 5.5)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_MAX_MESSAGE = 1 << 28  # bytes; the daemon sends its messages in pieces of less than 1 MiB


class NotWebSocket(Exception):
    """What was received breaks the protocol."""


class Message(NamedTuple):
    """A whole message, or a control frame."""

    opcode: int
    data: bytes


def new_key() -> str:
    """A value for ``Sec-WebSocket-Key``."""
    return base64.b64encode(os.urandom(16)).decode()


def upgrade_headers(key: str, subprotocol: str) -> list[tuple[str, str]]:
    """What makes a GET request a handshake (section 4.1)."""
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Protocol", subprotocol),
    ]


def expected_accept(key: str) -> str:
    """What ``Sec-WebSocket-Accept`` must say (section 4.2.2)."""
    # Imported while the daemon works on its answer: it takes longer than the rest of the handshake.
    import hashlib

    # SHA-1 is the protocol's choice; nothing is kept secret by it.
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def frame(opcode: int, data: bytes) -> bytes:
    """A message in one frame, masked as a client's must be (section 5.3)."""
    size = len(data)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return bytes((0x80 | opcode,)) + length + mask + _masked(data, mask)


def close_frame(code: int) -> bytes:
    """The goodbye (section 5.5.1)."""
    return frame(CLOSE, code.to_bytes(2, "big"))


def _masked(data: bytes, mask: bytes) -> bytes:
    # One exclusive or of two large numbers: a loop over bytes takes a hundred times as long.
    size = len(data)
    stream = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


class _Head(NamedTuple):
    final: bool
    opcode: int
    start: int
    size: int


class Frames:
    """Bytes of a server as messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opcode = 0
        self._parts: list[bytes] = []
        self._size = 0

    def messages(self, data: bytes) -> Iterator[Message]:
        """The messages that ``data`` completes.

        Raises:
            NotWebSocket: the bytes break the protocol.
        """
        self._buffer += data
        while (head := self._head()) is not None:
            end = head.start + head.size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[head.start : end])
            del self._buffer[:end]
            message = self._message(head, payload)
            if message is not None:
                yield message

    def _head(self) -> _Head | None:
        """The head of the frame in the buffer (section 5.2); ``None`` if it is not all there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, size, start = buffer[0] & 0x0F, buffer[1], 2
        if buffer[0] & 0x70 or size & 0x80:  # no extension was agreed on; a server does not mask
            raise NotWebSocket
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if self._size + size > _MAX_MESSAGE:
            raise NotWebSocket
        return _Head(bool(buffer[0] & 0x80), opcode, start, size)

    def _message(self, head: _Head, payload: bytes) -> Message | None:
        if head.opcode >= _CONTROL:
            if head.opcode > PONG or not head.final or head.size > 125:
                raise NotWebSocket
            return Message(head.opcode, payload)
        if head.opcode > BINARY or (head.opcode == _CONTINUATION) != bool(self._opcode):
            raise NotWebSocket
        self._opcode = self._opcode or head.opcode
        self._parts.append(payload)
        self._size += head.size
        if not head.final:
            return None
        message = Message(self._opcode, b"".join(self._parts))
        self._opcode, self._parts, self._size = 0, [], 0
        return message
