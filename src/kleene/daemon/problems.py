"""The one table from errors to HTTP statuses and WebSocket close codes.

A ``KleeneError`` is told to the client as it is. Anything else is a bug of Kleene: its traceback goes to the
log under an id, and the client is told no more than that id.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound
from kleene.names import new_id, path_text
from kleene.schemas.common import ErrorResponse
from kleene.schemas.stream import CLOSE_FAILED, CLOSE_INVALID

_log = logging.getLogger(__name__)


class InvalidFirstFrame(InvalidInput):
    """The configuration that a stream begins with cannot be understood."""


@dataclass(frozen=True)
class Problem:
    """An error as the API tells it.

    Attributes:
        status: HTTP status (RFC 9110 section 15).
        close_code: WebSocket close code (RFC 6455 section 7.4.1).
        answer: what the client is told.
    """

    status: int
    close_code: int
    answer: ErrorResponse


_TABLE: tuple[tuple[type[KleeneError], int, int], ...] = (
    (InvalidFirstFrame, 400, CLOSE_INVALID),
    (InvalidInput, 400, CLOSE_FAILED),
    (NotFound, 404, CLOSE_FAILED),
    (Conflict, 409, CLOSE_FAILED),
    (KleeneError, 500, CLOSE_FAILED),
)
"""The first class that an error is an instance of decides."""


def problem_of(error: BaseException) -> Problem:
    """What to answer for ``error``; writes to the log what the client is not told."""
    if isinstance(error, KleeneError):
        return _stated(error)
    return _bug(error)


def _stated(error: KleeneError) -> Problem:
    status, close_code = next(
        (status, code) for kind, status, code in _TABLE if isinstance(error, kind)
    )
    if status >= 500:
        _log.warning("%s%s", error.message, f"\n{error.details}" if error.details else "")
    answer = ErrorResponse(path_text(error.message), _text(error.hint), _text(error.details))
    return Problem(status, close_code, answer)


def _text(said: str | None) -> str | None:
    """What can be sent: names of files in archives and contexts, which need not be text, are in it."""
    return None if said is None else path_text(said)


def _bug(error: BaseException) -> Problem:
    error_id = new_id()
    _log.error("internal error %s", error_id, exc_info=error)
    answer = ErrorResponse(
        f"internal error {error_id}",
        hint=f"the log of kleened tells more: look there for {error_id}",
        error_id=error_id,
    )
    return Problem(500, CLOSE_FAILED, answer)
