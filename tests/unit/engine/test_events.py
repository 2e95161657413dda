"""What is remembered of events, and who is told which."""

from __future__ import annotations

import asyncio

import pytest

from kleene.engine.events import CAPACITY, Events
from kleene.errors import Conflict, InvalidInput
from kleene.schemas.events import EventsConfig

NOW = EventsConfig(since="1h", until="0s")


async def told(events: Events, **config: object) -> list[str]:
    wanted = EventsConfig(**({"since": "1h", "until": "0s"} | config))  # type: ignore[arg-type]
    return [event.name async for event in events.read(wanted)]


async def test_filters() -> None:
    events = Events()
    events.emit("container", "start", "aa11", "web")
    events.emit("container", "die", "bb22", "db", exit_code=3)
    events.emit("network", "connect", "cc33", "net", container="web")
    events.emit("volume", "create", "vol", "vol")
    assert await told(events) == ["web", "db", "net", "vol"]
    for filters, names in (
        (["type=container"], ["web", "db"]),
        (["type=container", "event=die"], ["db"]),
        (["event=die", "event=start"], ["web", "db"]),
        (["container=web"], ["web", "net"]),
        (["container=bb"], ["db"]),
        (["container=web", "type=network"], ["net"]),
        (["volume=web"], []),
        (["volume=v"], []),
    ):
        assert await told(events, filters=filters) == names
    for wrong in ("container", "colour=red", "type="):
        with pytest.raises(InvalidInput, match=f"filter '{wrong}'"):
            await told(events, filters=[wrong])


async def test_memory_is_bounded() -> None:
    events = Events()
    for number in range(CAPACITY + 10):
        events.emit("volume", "create", f"v{number}", f"v{number}")
    names = await told(events)
    assert (len(names), names[0]) == (CAPACITY, "v10")


async def test_news() -> None:
    events = Events()
    events.emit("volume", "create", "old", "old")
    reader = events.read(EventsConfig())
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    events.emit("volume", "create", "new", "new")
    assert (await first).name == "new"
    for number in range(CAPACITY + 1):
        events.emit("volume", "create", "v", str(number))
    with pytest.raises(Conflict, match="were forgotten before they were read"):
        await anext(reader)


async def test_an_end_in_the_future() -> None:
    events = Events()
    reader = events.read(EventsConfig(until="2000-01-01"))
    assert [event async for event in reader] == []
