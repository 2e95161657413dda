"""The errors that Kleene shows to people.

A :class:`KleeneError` is somebody's mistake or a fact of the host: it states the fact and, in ``hint``,
the remedy. Everything else that is raised is a bug. The table from errors to HTTP statuses and WebSocket
close codes is ``kleene.daemon.problems``; this module knows nothing but the errors themselves.
"""

from __future__ import annotations

from collections.abc import Sequence


class KleeneError(Exception):
    """A fact that stops an operation, told to the user.

    Args:
        message: the fact: lower-case, the subject quoted, the cause; no full stop.
        hint: the remedy, if there is one: what to type or to change.
        details: further lines, such as the end of a command's output or the source line at fault.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, details: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class InvalidInput(KleeneError):
    """What was asked for cannot be understood or is not allowed."""


class CommandNotStarted(InvalidInput):
    """A command in a container does not exist or cannot be executed.

    Args:
        exit_code: what a shell would say: 127 if there is no such command, 126 if it cannot be executed
            (POSIX, Shell Command Language, 2.8.2).
    """

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class NotFound(KleeneError):
    """The object that was named does not exist."""


class Conflict(KleeneError):
    """The object exists, but its present state or use forbids the operation."""


class HostUnavailable(KleeneError):
    """The host lacks a program, a kernel feature, a privilege or space."""


class CommandFailed(KleeneError):
    """A system tool ended with a non-zero status or by a signal.

    Args:
        argv: the command as it was started.
        status: its exit status; minus the signal's number if a signal ended it.
        stderr: the end of its standard error.
    """

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        self.argv = list(argv)
        self.status = status
        self.stderr = stderr
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        last = stderr.strip().splitlines()[-1:] or ["no message"]
        super().__init__(f"'{argv[0]}' failed ({how}): {last[0]}", details=stderr.strip() or None)
