"""The sockets that the API listens on: taken when the daemon is ready, given back when it stops."""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path

from kleene.daemon.addresses import Address
from kleene.errors import Conflict, HostUnavailable, InvalidInput

GROUP = "kleene"
"""Members of this group of the host may use unix sockets of the API, which makes them root."""

_log = logging.getLogger(__name__)

_BACKLOG = 128
_DEAD_PEER = 60_000
"""Milliseconds until a client is given up that does not acknowledge what was sent to it (tcp(7))."""


def check_free(addresses: Sequence[Address]) -> None:
    """See early whether the sockets can be had.

    Raises:
        Conflict: a live daemon has one of them.
        InvalidInput: something that is no socket is at its path.
        HostUnavailable: there can be nothing at its path.
    """
    for address in addresses:
        if address.path is not None:
            _refuse_taken(address.path, address)


@contextlib.contextmanager
def listening(addresses: Sequence[Address]) -> Iterator[list[socket.socket]]:
    """The sockets, in the order of ``addresses``; their files are removed at the end.

    Raises:
        Conflict: an address is in use.
        HostUnavailable: an address cannot be bound.
    """
    with contextlib.ExitStack() as undo:
        yield [_bind(address, undo) for address in addresses]


def _bind(address: Address, undo: contextlib.ExitStack) -> socket.socket:
    try:
        if address.path is not None:
            return _bind_unix(address.path, address, undo)
        return _bind_tcp(address, undo)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(address) from error
        raise _unusable(address, error) from error


def _bind_unix(path: Path, address: Address, undo: contextlib.ExitStack) -> socket.socket:
    _refuse_taken(path, address)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    # Nobody may connect before the file belongs to whom it shall.
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    undo.callback(_remove, path, path.stat().st_ino)
    _give_to_group(path)
    made.listen(_BACKLOG)
    return made


def _give_to_group(path: Path) -> None:
    """Let the group use the socket; if there is none, root alone may."""
    try:
        group = grp.getgrnam(GROUP)
    except KeyError:
        _log.warning(
            "group '%s' does not exist: only root may use '%s' (make it: groupadd --system %s, and restart)",
            GROUP,
            path,
            GROUP,
        )
        return
    os.chown(path, -1, group.gr_gid)
    path.chmod(0o660)


def _bind_tcp(address: Address, undo: contextlib.ExitStack) -> socket.socket:
    ipv6 = isinstance(address.ip, IPv6Address)
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ipv6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if sys.platform == "linux":
        # Accepted sockets inherit it.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER)
    made.bind((str(address.ip), address.port))
    made.listen(_BACKLOG)
    return made


def _refuse_taken(path: Path, address: Address) -> None:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(address, error) from error
    if not stat.S_ISSOCK(kind):
        raise InvalidInput(
            f"'{path}' is there and is no socket", hint="remove it, or choose another path"
        )
    if _answers(path):
        raise _taken(address)


def _answers(path: Path) -> bool:
    """Whether a process listens on the socket; the file alone stays behind after a crash."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _remove(path: Path, inode: int) -> None:
    """Remove the socket's file, unless another daemon has put its own there."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()


def _unusable(address: Address, error: OSError) -> HostUnavailable:
    """Python has words of its own, and no errno, for a path that is too long (107 bytes, unix(7))."""
    return HostUnavailable(
        f"socket '{address}' cannot be opened: {error.strerror or error}",
        hint="choose a shorter path, in a directory that can be written: kleened --host http:///PATH"
        if address.path is not None
        else "choose an address of this host: ip address lists them",
    )


def _taken(address: Address) -> Conflict:
    find = f"ss -xlp src {address.path}" if address.path else f"ss -tlp sport = :{address.port}"
    return Conflict(
        f"socket '{address}' is in use by another process",
        hint=f"stop it (who it is: {find}), or choose another socket: kleened --host ADDRESS",
    )
