"""What can go wrong between client and daemon, in the user's words."""

from __future__ import annotations

import json
import sys
from typing import Any

from kleene.client.address import Address
from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound

_BY_STATUS: dict[int, type[KleeneError]] = {
    304: Conflict,
    400: InvalidInput,
    404: NotFound,
    409: Conflict,
}


class DaemonUnreachable(KleeneError):
    """No daemon could be reached, or it went away before it answered."""


class DaemonFault(KleeneError):
    """The daemon answered, but not with what was asked for."""


class OperationFailed(KleeneError):
    """A streamed operation ended with a ``failed`` message.

    Attributes:
        failed: the message's fields (``schemas.stream.Failed``).
    """

    def __init__(self, failed: dict[str, Any]) -> None:
        super().__init__(
            failed.get("message") or "the operation failed",
            hint=failed.get("hint"),
            details=failed.get("details"),
        )
        self.failed = failed


class ProcessNotStarted(OperationFailed):
    """A process in a container could not be started.

    Attributes:
        exit_status: of the program that wanted it: 127 if there is no such command, 126 if it cannot be
            executed, 1 for everything else.
    """

    def __init__(self, failed: dict[str, Any]) -> None:
        super().__init__(failed)
        self.exit_status = int(failed.get("exit_code") or 1)


def cannot_connect(address: Address, error: OSError) -> KleeneError:
    """Why ``connect(2)``, name resolution or the TLS handshake failed."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return DaemonUnreachable(
            f"no daemon listens at '{address.where}'",
            hint="start it as root: kleened; or name its socket: klee --host ADDRESS",
        )
    if isinstance(error, PermissionError) and address.path is not None:
        return DaemonUnreachable(
            f"no permission to use the socket '{address.path}'", hint=_access_hint(address.path)
        )
    if isinstance(error, TimeoutError):
        return DaemonUnreachable(
            f"'{address.where}' does not answer", hint="is the host up and the port right?"
        )
    if type(error).__module__ == "ssl":
        return _tls_failed(address, error)
    reason = error.strerror or str(error)
    return DaemonUnreachable(
        f"cannot connect to '{address.where}': {reason.lower()}", hint="check klee --host ADDRESS"
    )


def _access_hint(path: str) -> str:
    group = _group_of(path)
    if group in (None, "root", "wheel"):
        return "only root may use it: sudo klee ..."
    add = "usermod -aG" if sys.platform.startswith("linux") else "pw groupmod -n"
    join = f"{add} {group} USER" if add.startswith("usermod") else f"pw groupmod {group} -m USER"
    return f"become a member of the group '{group}' ({join}, then log in again) or use sudo"


def _group_of(path: str) -> str | None:
    import grp
    import os

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116 - pathlib is dear
    except (OSError, KeyError):
        return "kleene"


def _tls_failed(address: Address, error: OSError) -> KleeneError:
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    if getattr(error, "verify_code", None) is not None:
        return DaemonUnreachable(
            f"the certificate of '{address.where}' is not trusted: {reason}",
            hint="name the authority that signed it: klee --tlscacert FILE",
        )
    return DaemonUnreachable(
        f"TLS with '{address.where}' failed: {reason}",
        hint="does the daemon want a client certificate (--tlscert, --tlskey), or speak plain http?",
    )


def connection_lost(address: Address, error: OSError | None = None) -> KleeneError:
    """The connection ended before the answer was complete."""
    if isinstance(error, TimeoutError):
        return DaemonUnreachable(
            f"the daemon at '{address.where}' did not answer in time",
            hint="its log tells what it is busy with",
        )
    if type(error).__module__ == "ssl" and isinstance(error, OSError):
        return _tls_failed(address, error)
    # With TLS 1.3 a client is refused after its side of the handshake has ended, and may not be told why.
    asks = "does it want another client certificate (--tlscert, --tlskey)? " if address.tls else ""
    return DaemonUnreachable(
        f"the daemon at '{address.where}' closed the connection before it answered",
        hint=f"{asks}did it stop? its log tells; containers keep running without it",
    )


def not_understood(address: Address) -> KleeneError:
    """What answers is no Kleene daemon."""
    return DaemonFault(
        f"what answers at '{address.where}' is not a Kleene daemon",
        hint="check klee --host ADDRESS",
    )


def request_failed(address: Address, status: int, body: bytes) -> KleeneError:
    """The error that an answer with a status other than success tells of."""
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return not_understood(address)
    kind = _BY_STATUS.get(status, DaemonFault if status >= 500 else KleeneError)
    message, hint = answer.get("message"), answer.get("hint")
    if not message:
        message = f"the daemon answered with HTTP status {status}"
        hint = hint or "do klee and kleened fit? klee version"
    if hint is None and answer.get("error_id"):
        hint = f"the daemon's log has the cause: look for {answer['error_id']}"
    return kind(message, hint=hint, details=answer.get("details"))
