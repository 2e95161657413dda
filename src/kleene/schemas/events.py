"""What happens to the objects of a daemon, on the wire."""

from __future__ import annotations

from typing import Literal

import msgspec

EventKind = Literal["container", "image", "network", "volume", "secret", "config", "daemon"]


class Event(msgspec.Struct):
    """Something that happened.

    Attributes:
        time: ISO 8601 in UTC, to the microsecond.
        kind: of the object that it happened to.
        action: ``create``, ``start``, ``die``, ``remove`` and so on.
        id: the object's id; of what has none, its name.
        name: the object's name at that time; ``""`` if it had none.
        attributes: what else there is to tell, such as the ``exit_code`` of ``die``.
    """

    time: str
    kind: EventKind
    action: str
    id: str
    name: str
    attributes: dict[str, str] = {}


class EventsConfig(msgspec.Struct):
    """First frame of ``/events``.

    Attributes:
        since: begin with what is remembered and not older: ISO 8601 (in UTC if it has no zone), or how
            long ago, such as ``1h30m``; ``""`` for nothing but news.
        until: end with what happened before this time, in the same forms; ``""`` for no end.
        filters: ``KEY=VALUE`` each: ``type``, ``event``, or a kind of object, then its name or the beginning
            of its id. Those of one key are alternatives; all keys must fit.
    """

    since: str = ""
    until: str = ""
    filters: list[str] = []
