"""What a daemon sends on a stream: bytes in, events out. No I/O. Lives as long as its stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kleene.client import http1, websocket
from kleene.client.address import Address
from kleene.client.failures import DaemonFault, connection_lost, not_understood
from kleene.errors import KleeneError
from kleene.schemas.constants import SUBPROTOCOL

_LAST = ("closing", "failed")


class Output(NamedTuple):
    """Bytes that a process wrote, on ``STDOUT`` or ``STDERR``."""

    stream: int
    data: bytes


class Incoming:
    """The events of a stream.

    Args:
        decode: makes a message of its JSON text.
        reply: sends a frame back, by its opcode and data.

    Attributes:
        ended: whether the last message has come.
    """

    def __init__(
        self,
        address: Address,
        decode: Callable[[str], Any],
        reply: Callable[[int, bytes], None],
    ) -> None:
        self._address = address
        self._decode = decode
        self._reply = reply
        self._frames = websocket.Frames()
        self.ended = False

    def events(self, data: bytes) -> Iterator[Any]:
        """The events that ``data`` completes; none means that the daemon has closed.

        Raises:
            DaemonUnreachable: the stream ended too early.
            KleeneError: the daemon ended it, and why; or it is no daemon.
        """
        if not data:
            raise connection_lost(self._address)
        try:
            for message in self._frames.messages(data):
                yield from self._on_message(message)
                if self.ended:
                    return
        except websocket.NotWebSocket as error:
            raise not_understood(self._address) from error

    def _on_message(self, message: websocket.Message) -> Iterator[Any]:
        if message.opcode == websocket.BINARY:
            if len(message.data) > 1:
                yield Output(message.data[0], message.data[1:])
        elif message.opcode == websocket.TEXT:
            yield self._on_text(message.data)
        elif message.opcode == websocket.PING:
            self._reply(websocket.PONG, message.data)
        elif message.opcode == websocket.CLOSE:
            raise self._closed_early(message.data)

    def _on_text(self, data: bytes) -> Any:
        try:
            text = data.decode()
            plain = json.loads(text)
            kind = plain["type"]
            message = plain if self._decode is json.loads else self._decode(text)
        except (ValueError, KeyError, TypeError) as error:
            raise not_understood(self._address) from error
        self.ended = kind in _LAST
        return message

    def _closed_early(self, data: bytes) -> KleeneError:
        reason = data[2:].decode(errors="replace")  # after the code
        if not reason:
            return connection_lost(self._address)
        return DaemonFault(f"the daemon ended the stream: {reason}")


def check_accepted(address: Address, answer: http1.Answer, key: str) -> None:
    """See that the daemon has switched to the typed protocol.

    Raises:
        DaemonFault: it has not.
    """
    # It is our turn to speak: nothing but the head may have come.
    if answer.headers.get("sec-websocket-accept") != websocket.expected_accept(key) or answer.rest:
        raise not_understood(address)
    if answer.headers.get("sec-websocket-protocol") != SUBPROTOCOL:
        raise DaemonFault(
            f"the daemon at '{address.where}' does not speak '{SUBPROTOCOL}'",
            hint="its version does not fit this klee: klee version",
        )
