"""Bodies of requests that are read piece by piece, and of answers that are sent so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from litestar import Request
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import InternalServerException
from litestar.response import Stream

from kleene.errors import InvalidInput

TAR = "application/x-tar"


def tar_stream(chunks: AsyncGenerator[bytes, None]) -> Stream:
    """An answer that is made while it is sent. The generator is closed also when the client goes away: nobody
    else would close it before the garbage collector does."""
    return Stream(chunks, media_type=TAR, background=BackgroundTask(chunks.aclose))


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
