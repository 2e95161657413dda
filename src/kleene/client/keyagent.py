"""An SSH agent of the client's own: signs with keys from files as long as a build lasts.

The protocol is that of draft-miller-ssh-agent: of its requests, the listing of keys and signing. The keys
never leave this process; the socket is in a directory that only the user, and root, can enter.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socketserver
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kleene.errors import InvalidInput

_FAILURE = b"\x05"
_LIST, _LISTED = 11, b"\x0c"
_SIGN, _SIGNED = 13, b"\x0e"
_LARGEST = 256 * 1024
"""Bytes of a request, as in OpenSSH."""

_LARGEST_KEY = 64 * 1024
# SSH_AGENT_RSA_SHA2_256 and _512; without a flag the old SHA-1 is asked for, which is refused.
_RSA: dict[int, tuple[bytes, hashes.HashAlgorithm]] = {
    4: (b"rsa-sha2-512", hashes.SHA512()),
    2: (b"rsa-sha2-256", hashes.SHA256()),
}
# RFC 5656, 6.2.1: the hash follows from the size of the curve.
_CURVES: dict[int, tuple[bytes, hashes.HashAlgorithm]] = {
    256: (b"ecdsa-sha2-nistp256", hashes.SHA256()),
    384: (b"ecdsa-sha2-nistp384", hashes.SHA384()),
    521: (b"ecdsa-sha2-nistp521", hashes.SHA512()),
}


class _Key(NamedTuple):
    """A key. ``blob``: its public part as SSH writes it; ``sign``: data and flags to a signature."""

    blob: bytes
    comment: bytes
    sign: Callable[[bytes, int], bytes]


@contextlib.contextmanager
def serving(paths: Sequence[str]) -> Iterator[str]:
    """The socket of an agent with the keys in these files, as long as the block lasts.

    Raises:
        InvalidInput: a file has no key that can be used, or one that is encrypted.
    """
    keys = [_read(path) for path in paths]
    with tempfile.TemporaryDirectory(prefix="klee-agent-") as directory:
        path = os.path.join(directory, "agent")  # noqa: PTH118 - the client does without pathlib
        with _Server(path, keys) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            try:
                yield path
            finally:
                server.shutdown()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False  # what a step left connected does not hold the client

    def __init__(self, path: str, keys: list[_Key]) -> None:
        self.keys = keys
        super().__init__(path, _Connection)


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError, struct.error):
            while (size := self._number()) and size <= _LARGEST:
                answer = _answer(self.rfile.read(size), self._keys)
                self.wfile.write(_string(answer))

    @property
    def _keys(self) -> list[_Key]:
        assert isinstance(self.server, _Server)
        return self.server.keys

    def _number(self) -> int:
        head = self.rfile.read(4)
        return int.from_bytes(head) if len(head) == 4 else 0


def _answer(request: bytes, keys: list[_Key]) -> bytes:
    if request[:1] == bytes([_LIST]):
        listed = b"".join(_string(key.blob) + _string(key.comment) for key in keys)
        return _LISTED + struct.pack(">I", len(keys)) + listed
    if request[:1] == bytes([_SIGN]):
        blob, rest = _take(request[1:])
        data, rest = _take(rest)
        (flags,) = struct.unpack(">I", rest[:4])
        signed = (key.sign(data, flags) for key in keys if key.blob == blob)
        if signature := next(signed, b""):
            return _SIGNED + _string(signature)
    return _FAILURE


def _read(path: str) -> _Key:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(_LARGEST_KEY)
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise InvalidInput(f"SSH key '{path}' cannot be read: {reason}") from error
    private = _load(path, data)
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return _Key(base64.b64decode(public.split()[1]), os.fsencode(path), _signer(path, private))


def _load(path: str, data: bytes) -> Any:
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        return load(data, password=None)
    except TypeError as error:  # there should have been a password
        raise InvalidInput(
            f"SSH key '{path}' is encrypted",
            hint=f"give it to an agent, and lend that: ssh-add {path}, then klee build --ssh default",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            f"'{path}' is neither the socket of an SSH agent nor a private key",
            hint="name one of them: --ssh NAME=SOCKET or --ssh NAME=KEY",
        ) from error


def _signer(path: str, key: Any) -> Callable[[bytes, int], bytes]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return lambda data, _: _string(b"ssh-ed25519") + _string(key.sign(data))
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data, flags: _by_rsa(key, data, flags)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in _CURVES:
        return lambda data, _: _by_curve(key, data)
    raise InvalidInput(
        f"SSH key '{path}' is of a kind that cannot be used",
        hint="use an Ed25519, RSA or ECDSA key: ssh-keygen -t ed25519",
    )


def _by_rsa(key: rsa.RSAPrivateKey, data: bytes, flags: int) -> bytes:
    for flag, (name, digest) in _RSA.items():
        if flags & flag:
            return _string(name) + _string(key.sign(data, padding.PKCS1v15(), digest))
    return b""


def _by_curve(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    name, digest = _CURVES[key.curve.key_size]
    numbers = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return _string(name) + _string(b"".join(_string(_mpint(number)) for number in numbers))


def _mpint(number: int) -> bytes:
    """RFC 4251, 5: the highest bit is the sign, so a positive number may need a zero byte before it."""
    return number.to_bytes(number.bit_length() // 8 + 1)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning, and what follows it."""
    (size,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + size], data[4 + size :]
