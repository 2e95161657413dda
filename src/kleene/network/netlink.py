"""rtnetlink: the kernel's messages about interfaces, addresses and routes (netlink(7), rtnetlink(7)).

A socket belongs for its life to the network namespace of the thread that opened it, wherever that thread goes
afterwards. Opening one takes microseconds, so one is opened for each piece of work. Numbers are those of the
kernel's headers <linux/netlink.h>, <linux/rtnetlink.h> and <linux/if_link.h>, which never change.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26

CREATE = 0x400 | 0x200
"""NLM_F_CREATE | NLM_F_EXCL: make a new object, fail if it exists."""

_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_SOL_NETLINK, _NETLINK_EXT_ACK = 270, 11
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_CAPPED, _ACK_TLVS = 0x100, 0x200
_ERROR_TEXT = 1
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 256 * 1024

Attributes = dict[int, bytes]


class Netlink:
    """A conversation with the kernel, in the namespace that it was opened in. For one thread."""

    def __init__(self, protocol: int = _NETLINK_ROUTE) -> None:
        self._socket = socket.socket(_AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def request(self, message: int, body: bytes, flags: int = 0) -> list[bytes]:
        """Send one message and wait for its outcome; bodies of what the kernel answered.

        Raises:
            OSError: with the kernel's error number and, where it gives one, its reason.
        """
        self._send(message, flags | _REQUEST | _ACK, body)
        return list(self._answers())

    def dump(self, message: int, body: bytes) -> list[bytes]:
        """All objects of a kind: the bodies of their messages.

        Raises:
            OSError: with the kernel's error number.
        """
        self._send(message, _REQUEST | _DUMP, body)
        return list(self._answers())

    def _send(self, message: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, message, flags, self._sequence, 0) + body)

    def _answers(self) -> Iterator[bytes]:
        """Answers up to the one that says how it ended."""
        while True:
            data = memoryview(self._socket.recv(_BUFFER))
            while data:
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
                body = bytes(data[_HEADER.size : length])
                data = data[_aligned(length) :]
                if sequence != self._sequence:
                    continue
                if kind in (_ERROR, _DONE):
                    _check(body, flags)
                    return
                yield body


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to the next one's place."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a string with its final zero byte."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def attributes(body: bytes, offset: int = 0) -> Attributes:
    """The attributes that follow a message's fixed part, by their kind.

    Of a kind that comes twice the last is kept; the kernel does not send such here.
    """
    found: Attributes = {}
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def as_number(value: bytes) -> int:
    """The number in an attribute of 32 bits."""
    (result,) = struct.unpack("=I", value[:4])
    return int(result)


def as_text(value: bytes) -> str:
    """The string in an attribute."""
    return value.partition(b"\0")[0].decode(errors="replace")


def _aligned(length: int) -> int:
    """Messages and attributes begin at multiples of four bytes."""
    return (length + 3) & ~3


def _check(body: bytes, flags: int) -> None:
    """Raise what an error message says; 0 is an acknowledgement."""
    (code,) = struct.unpack_from("=i", body) if len(body) >= 4 else (0,)
    if code == 0:
        return
    reason = os.strerror(-code)
    if flags & _ACK_TLVS:
        # The request follows the code: its header alone, or all of it.
        (length,) = struct.unpack_from("=I", body, 4)
        offset = 4 + (_HEADER.size if flags & _CAPPED else _aligned(length))
        if said := attributes(body, offset).get(_ERROR_TEXT):
            reason = f"{reason} ({as_text(said)})"
    raise OSError(-code, reason)
