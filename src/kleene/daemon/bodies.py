"""Bodies of requests that are read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from kleene.errors import InvalidInput


async def pieces(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body, as it arrives.

    Raises:
        InvalidInput: the client went away before its end. The framework takes that for a fault of ours.
    """
    stream = request.stream()
    while True:
        try:
            piece = await anext(stream)
        except StopAsyncIteration:
            return
        except InternalServerException as error:
            raise InvalidInput(
                "the connection ended before the data did", hint="send it again"
            ) from error
        yield piece
