"""What a prune takes of what is unused, by its filters; see :mod:`kleene.schemas.filters`."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kleene.engine.filters import Related, Words, select
from kleene.errors import Conflict, NotFound
from kleene.schemas.filters import parse

T = TypeVar("T")


def to_prune(objects: Iterable[T], words: Words) -> list[T]:
    """The records of what is unused that a prune with these filters takes.

    Raises:
        InvalidInput: a filter cannot be understood.
    """
    return select("prune", list(objects), parse("prune", words), Related())


async def prune(
    objects: Iterable[T], words: Words, remove: Callable[[T], Awaitable[str]]
) -> list[str]:
    """Remove what is unused and the filters fit; the ids of what went.

    What is used, or gone, by its turn is no mistake: the rest of it goes.

    Raises:
        InvalidInput: a filter cannot be understood.
    """
    gone = []
    for each in to_prune(objects, words):
        with contextlib.suppress(Conflict, NotFound):
            gone.append(await remove(each))
    return gone
