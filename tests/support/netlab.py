"""A host to try networks on: a network namespace of its own, with an event loop in it.

Nothing of the machine's own network is touched: bridges, rules and routes are made in the namespace and end
with it. Sockets belong to the namespace that they are made in and can be used from anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kleene.network import namespaces

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds within which what shall arrive must have arrived."""
BLOCKED = 0.4
"""Seconds after which what has not arrived is taken for blocked."""


def nftables_available() -> bool:
    """Whether namespaces can be made and rules be set."""
    return os.geteuid() == 0 and shutil.which("nft") is not None


class Lab:
    """The host, and an ``outside`` that it reaches by its interface ``up0``."""

    OUTSIDE4, UPLINK4 = "198.18.0.2", "198.18.0.1"
    OUTSIDE6, UPLINK6 = "fd99::2", "fd99::1"

    def __init__(self, directory: Path) -> None:
        self._sockets = contextlib.ExitStack()
        self._outside = directory / "outside"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="lab")
        self._thread.start()

    def _live(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def close(self) -> None:
        """End the host and all that is in it."""
        self._sockets.close()
        namespaces.remove(self._outside)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the host."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(self, work: Callable[[], T], namespace: Path | None = None) -> T:
        """Run a function on the host, or in a namespace."""

        def inside() -> T:
            if namespace is not None:
                namespaces.enter(namespace)
            return work()

        return self.run(namespaces.in_own_thread(inside))

    def tool(self, *argv: str, namespace: Path | None = None) -> str:
        """Run a system tool on the host, or in a namespace; its output."""
        done = self.call(
            lambda: subprocess.run(argv, capture_output=True, text=True, timeout=30), namespace
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def connect_outside(self) -> Path:
        """Give the host an interface, ``up0``, and somebody behind it who knows no way to any container."""
        self.call(lambda: namespaces.make(self._outside))
        self.tool(*"ip link add up0 type veth peer name eth0 netns".split(), str(self._outside))
        self.tool(*f"ip addr add {self.UPLINK4}/24 dev up0".split())
        self.tool(*f"ip addr add {self.UPLINK6}/64 dev up0 nodad".split())
        self.tool(*"ip link set lo up".split())
        self.tool(*"ip link set up0 up".split())
        for line in (
            f"ip addr add {self.OUTSIDE4}/24 dev eth0",
            f"ip addr add {self.OUTSIDE6}/64 dev eth0 nodad",
            "ip link set eth0 up",
        ):
            self.tool(*line.split(), namespace=self._outside)
        self.tool(*f"ip route add default via {self.OUTSIDE4}".split())
        return self._outside

    def new_socket(self, family: int, kind: int, namespace: Path | None = None) -> socket.socket:
        """A socket of the host or of a namespace, closed with the lab."""
        made = self.call(lambda: socket.socket(family, kind), namespace)
        made.settimeout(PATIENCE)
        return self._sockets.enter_context(made)

    def listen(
        self, address: str, port: int, namespace: Path | None = None, kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        """Somebody who waits for callers."""
        server = self.new_socket(_family(address), kind, namespace)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        return server

    def tcp(
        self,
        server: socket.socket,
        address: str,
        port: int,
        namespace: Path | None = None,
        patience: float = PATIENCE,
    ) -> str | None:
        """Call ``address`` from a namespace; who ``server`` takes the caller for, ``None`` if none came."""
        client = self.new_socket(_family(address), socket.SOCK_STREAM, namespace)
        client.settimeout(patience)
        try:
            client.connect((address, port))
            client.sendall(b"hello")
        except OSError:
            return None
        connection, peer = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            assert connection.recv(16) == b"hello"
            connection.sendall(b"back")
            assert client.recv(16) == b"back"
        client.close()
        return str(peer[0])

    def udp(
        self,
        server: socket.socket,
        address: str,
        port: int,
        namespace: Path | None = None,
        patience: float = PATIENCE,
    ) -> str | None:
        """The same by datagrams, with an answer that must come from the address that was called."""
        client = self.new_socket(_family(address), socket.SOCK_DGRAM, namespace)
        client.settimeout(patience)
        client.sendto(b"hello", (address, port))
        server.settimeout(patience)
        try:
            message, peer = server.recvfrom(16)
        except TimeoutError:
            return None
        assert message == b"hello"
        server.sendto(b"back", peer)
        answer, sender = client.recvfrom(16)
        assert (answer, sender[:2]) == (b"back", (address, port))
        client.close()
        return str(peer[0])


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def a_lab(directory: Path) -> Iterator[Lab]:
    """A lab that leaves nothing behind."""
    lab = Lab(directory)
    try:
        yield lab
    finally:
        lab.close()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert f" {directory}/" not in mounts, "a namespace is left mounted"
