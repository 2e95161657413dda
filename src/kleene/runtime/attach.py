"""The connection to a keeper's attach socket: what a process writes and reads.

conmon gives each instance a socket of whole messages (SOCK_SEQPACKET, unix(7)). What it sends begins with a
byte that tells the stream; what it gets is the process's standard input. It waits for a reader that is
slow, and so does the process. The connection belongs to the :class:`Attachment`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from kleene.runtime.driver import Output

# conmon, src/utils.h (stdpipe_t) and src/config.h (STDIO_BUF_SIZE, CONN_SOCK_BUF_SIZE).
_STDERR = 3
_LARGEST_OUTPUT = 8192 + 1
_LARGEST_INPUT = 16384  # conmon cuts off what exceeds its buffer of 32767 bytes
_END_OF_FILE = b"\x04"  # VEOF (termios(3))

_draining: set[asyncio.Task[None]] = set()  # a task lives only as long as somebody knows it


class Attachment:
    """An open connection.

    Args:
        terminal: the process has a terminal, whose input has no end but what is typed.
        stdin: whether the process's standard input is open for us.
        keep: to leave :meth:`output` shall not end that input: conmon ends it for everybody when one of
            its clients goes (conn_sock.c). So the connection stays, and what comes is thrown away.
    """

    def __init__(
        self, connection: socket.socket, *, terminal: bool, stdin: bool, keep: bool = False
    ) -> None:
        self._keep = keep
        self._socket = connection
        self._terminal = terminal
        self._stdin = stdin
        self._writing = asyncio.Lock()

    async def output(self) -> AsyncIterator[Output]:
        """Until the keeper closes the connection, which it does when the process has ended. Leaving the
        iteration early closes the connection, and with it the process's standard input, unless it is kept."""
        loop = asyncio.get_running_loop()
        ended = False
        try:
            while packet := await self._receive(loop):
                yield Output("stderr" if packet[0] == _STDERR else "stdout", packet[1:])
            ended = True
        finally:
            if self._keep and not ended:
                task = loop.create_task(self._drain(loop))
                _draining.add(task)
                task.add_done_callback(_draining.discard)
            else:
                self._socket.close()

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take what nobody wants any more: the process would wait for a reader."""
        try:
            while await self._receive(loop):
                pass
        finally:
            self._socket.close()

    async def _receive(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            return await loop.sock_recv(self._socket, _LARGEST_OUTPUT)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Returns when the keeper's buffer has it; ignored when the process or its input is gone."""
        if self._stdin:
            async with self._writing:
                await self._send(data)

    async def close_stdin(self) -> None:
        """End the process's input after all that was written."""
        if not self._stdin:
            return
        self._stdin = False
        async with self._writing:
            if self._terminal:
                await self._send(_END_OF_FILE)
            else:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)

    async def _send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        with contextlib.suppress(OSError):
            for start in range(0, len(view), _LARGEST_INPUT):
                await loop.sock_sendall(self._socket, view[start : start + _LARGEST_INPUT])


def connect(directory: Path) -> socket.socket:
    """Connect to the socket ``attach`` in a directory, however long its path: a socket's address has only
    108 bytes (unix(7)).

    Raises:
        OSError: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{fd}/attach")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(fd)
    return connection
