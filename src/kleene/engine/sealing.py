"""Encryption of secrets at rest: AES-256 in Galois/Counter Mode (NIST SP 800-38D), with a key in a file.

The key is made at first use and lasts as long as the data directory. Only root may read it: a file that
others can read, or that is another's, is refused. What is sealed under one name cannot be opened under
another one.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from kleene.errors import HostUnavailable

_KEY_BYTES = 32
_NONCE_BYTES = 12
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Sealer:
    """Seals and opens; the key is read when it is first needed."""

    def __init__(self, key_file: Path) -> None:
        self._file = key_file

    def seal(self, name: str, content: bytes, *, first: bool) -> str:
        """``content`` encrypted, as text.

        Args:
            first: nothing was sealed before: a key is made if there is none.

        Raises:
            HostUnavailable: the key cannot be used.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if first and not self._file.exists():
            self._make_key()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key()).encrypt(nonce, content, name.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, name: str, sealed: str) -> bytes:
        """What was sealed.

        Raises:
            HostUnavailable: the key cannot be used, or is not the one that it was sealed with.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = base64.b64decode(sealed)
        try:
            return AESGCM(self._key()).decrypt(
                raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode()
            )
        except InvalidTag:
            raise HostUnavailable(
                f"secret '{name}' cannot be decrypted with the key in '{self._file}'",
                hint=f"restore the right key from a backup, or make the secret anew: {_anew(name)}",
            ) from None

    def _make_key(self) -> None:
        """Write the key, whole or not at all; durable before anything is sealed with it."""
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, os.urandom(_KEY_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(self._file)
        directory = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _key(self) -> bytes:
        try:
            fd = os.open(self._file, _READ)
        except OSError as error:
            reason = (error.strerror or "unknown").lower()
            raise HostUnavailable(
                f"the key of the secrets, '{self._file}', cannot be read: {reason}",
                hint="restore the file from a backup, or remove the secrets and make them anew",
            ) from error
        try:
            self._check(os.fstat(fd))
            return os.read(fd, _KEY_BYTES)
        finally:
            os.close(fd)

    def _check(self, status: os.stat_result) -> None:
        """Refuse a key that others may know, and what is none."""
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.geteuid() or mode & 0o077:
            raise HostUnavailable(
                f"the key of the secrets, '{self._file}', is not root's alone (mode {mode:04o})",
                hint=f"chown root {self._file} && chmod 600 {self._file}; who read it knows the secrets",
            )
        if not stat.S_ISREG(status.st_mode) or status.st_size != _KEY_BYTES:
            raise HostUnavailable(
                f"the key of the secrets, '{self._file}', is damaged",
                hint="restore the file from a backup",
            )


def _anew(name: str) -> str:
    return f"klee secret rm {name}; klee secret create {name} FILE"
