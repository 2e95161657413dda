"""What happened to the objects of this daemon: told to whoever listens, and remembered for a while.

The memory is the process's own and holds the latest :data:`CAPACITY` events; a daemon that starts anew
remembers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime

from kleene.engine.times import parse_since
from kleene.errors import Conflict
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.events import Event, EventKind, EventsConfig
from kleene.schemas.filters import parse

CAPACITY = 2000

_NANOSECOND = 1e-9


class Events:
    """The events of one daemon, numbered from 1."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Event]] = deque(maxlen=CAPACITY)
        self._count = 0
        self._news = asyncio.Event()

    def emit(
        self, kind: EventKind, action: str, id_: str, name: str = "", **attributes: object
    ) -> None:
        """Tell everybody who listens; nobody is waited for."""
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        told = {key: str(value) for key, value in attributes.items()}
        self._count += 1
        self._kept.append((self._count, Event(moment, kind, action, id_, name, told)))
        news, self._news = self._news, asyncio.Event()
        news.set()

    def of_container(self, action: str, record: ContainerRecord, **attributes: object) -> None:
        """Tell of a container; those that only serve a build are nobody's business."""
        if not record.is_build:
            image = (
                f"{record.image_name}:{record.image_tag}" if record.image_name else record.image_id
            )
            self.emit("container", action, record.id, record.name, image=image, **attributes)

    async def read(self, config: EventsConfig) -> AsyncGenerator[Event, None]:
        """The events that are asked for, as they happen.

        Raises:
            InvalidInput: a time or a filter cannot be understood.
            Conflict: the reader was so slow that events it has not read are forgotten.
        """
        now = time.time_ns()
        since = parse_since(config.since, now)
        until = parse_since(config.until, now) if config.until else None
        wanted = parse_filters(config.filters)
        position = 0 if config.since else self._count
        while True:
            news = self._news
            for number, event in self._after(position):
                position = number
                moment = _nanoseconds(event)
                if until is not None and moment >= until:
                    return
                if moment >= since and wanted(event):
                    yield event
            if not await _arrived(news, until):
                return

    def _after(self, position: int) -> list[tuple[int, Event]]:
        found = [entry for entry in self._kept if entry[0] > position]
        if position and found and found[0][0] != position + 1:
            raise Conflict(
                "events were forgotten before they were read",
                hint="read faster, or begin again: klee events --since TIME",
            )
        return found


def _nanoseconds(event: Event) -> int:
    return int(datetime.fromisoformat(event.time).timestamp() * 1_000_000) * 1000


async def _arrived(news: asyncio.Event, until: int | None) -> bool:
    """Wait for the next event, but not past ``until`` (nanoseconds since the epoch); whether one came."""
    if until is None:
        return await news.wait()
    left = (until - time.time_ns()) * _NANOSECOND
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0, left)):
            return await news.wait()
    return False


def parse_filters(filters: Sequence[str]) -> Callable[[Event], bool]:
    """Whether an event fits filters as :class:`EventsConfig` describes them.

    Raises:
        InvalidInput: one is no ``KEY=VALUE``, or has an unknown key.
    """
    groups = parse("event", filters)
    return lambda event: all(
        any(_fits(event, key, value) for value in values) for key, values in groups.items()
    )


def _fits(event: Event, key: str, value: str) -> bool:
    if key == "type":
        return event.kind == value
    if key == "event":
        return event.action == value
    related = event.attributes.get(key, "")
    if event.kind != key:
        return bool(related) and value == related
    if event.id == event.name:  # what has no id is meant by its whole name
        return event.name == value
    return event.name == value or event.id.startswith(value)
