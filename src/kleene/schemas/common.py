"""Answers that several paths of the API share."""

from __future__ import annotations

import msgspec


class IdResponse(msgspec.Struct, omit_defaults=True):
    """The id of the object that was created, changed or removed.

    Attributes:
        notes: what there is to know besides, in sentences for people.
    """

    id: str
    notes: list[str] = []


class BuildSecret(msgspec.Struct):
    """What no one but the steps that mount it may see.

    Attributes:
        data: base64 on the wire.
    """

    data: bytes

    def __repr__(self) -> str:
        return "BuildSecret(…)"


class ErrorResponse(msgspec.Struct, omit_defaults=True):
    """Why a request failed.

    Attributes:
        message: the fact.
        hint: the remedy, where there is one.
        details: further lines, such as the end of a command's output.
        error_id: for an error inside the daemon: the id under which its log has the traceback.
    """

    message: str
    hint: str | None = None
    details: str | None = None
    error_id: str | None = None
