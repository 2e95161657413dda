"""Which objects of a list are wanted: filters that :mod:`kleene.schemas.filters` has read. Pure, but for
the clock.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from kleene.engine import lookup
from kleene.engine.core import iso_time
from kleene.engine.times import parse_since
from kleene.schemas.containers import ContainerSummary
from kleene.schemas.filters import ALL_OF, Kind, Wanted
from kleene.schemas.images import Image

T = TypeVar("T")
Words = Sequence[str]
Test = Callable[[Any], bool]
"""Whether one object fits."""


class Related:
    """What filters have to know of other objects.

    Attributes:
        images: all of them, for ``ancestor``.
        used: names of the networks or volumes that containers have, for ``dangling``.
    """

    def __init__(self, images: Sequence[Image] = (), used: Collection[str] = ()) -> None:
        self.images = images
        self.used = used


def select(kind: Kind, objects: Sequence[T], wanted: Wanted, related: Related) -> list[T]:
    """The objects that all filters fit, in the same order.

    Raises:
        NotFound: ``before`` or ``since`` names no object of the list.
        InvalidInput: ``until`` is no time.
    """
    tests = [_test(kind, objects, key, values, related) for key, values in wanted.items()]
    return [each for each in objects if all(test(each) for test in tests)]


def _test(
    kind: Kind, objects: Sequence[Any], key: str, values: Sequence[str], related: Related
) -> Test:
    """Whether an object fits the filters of one key."""
    if key in ("before", "since"):
        moments = [_moment(kind, objects, value) for value in values]
        if key == "before":
            return lambda found: any(found.created < moment for moment in moments)
        return lambda found: any(found.created > moment for moment in moments)
    if key == "ancestor":
        ids = {each for value in values for each in _descendants(value, related.images)}
        return lambda found: found.image_id in ids
    if key == "dangling":
        answers = {value == "true" for value in values}
        return lambda found: _is_dangling(found, related.used) in answers
    if key == "until":
        limit = min(iso_time(parse_since(value, time.time_ns()) / 1e9) for value in values)
        return lambda found: found.created < limit
    fits = _FITS[key]
    if key in ALL_OF:
        return lambda found: all(fits(found, value) for value in values)
    return lambda found: any(fits(found, value) for value in values)


def _moment(kind: Kind, objects: Sequence[Any], value: str) -> str:
    """When the object that ``value`` names was created."""
    named = [each for each in objects if value in _names(each)]
    ids = [each for each in objects if getattr(each, "id", "").startswith(value)]
    found = named or ids
    if len(found) != 1:
        raise lookup.unknown(
            kind, value, (name for o in objects for name in _names(o)), _LIST[kind]
        )
    return str(found[0].created)


OF_RECORDS = {*"name id image restart driver label before since ancestor".split()}
"""Keys of which the metadata of a container knows enough: what they leave out need not be told of at all."""

_LIST: Mapping[Kind, str] = {
    "container": "klee lsc -a",
    "image": "klee lsi",
    "network": "klee lsn",
    "volume": "klee lsv",
    "snapshot": "klee volume snapshots VOLUME",
    "secret": "klee secret ls",
    "config": "klee config ls",
    "event": "klee events",
    "prune": "",
    "build": "",
}


def _names(found: Any) -> list[str]:
    """What an object is called."""
    if isinstance(found, Image):
        return _image_names(found.name, found.tag)
    return [found.name]


def _image_names(name: str, tag: str) -> list[str]:
    if not name:
        return []
    return [f"{name}:{tag}", *([name] if tag == "latest" else [])]


def _descendants(value: str, images: Sequence[Image]) -> set[str]:
    """Ids of an image and of all that were built from it."""
    named = {
        image.id
        for image in images
        if value in _image_names(image.name, image.tag) or _begins(image.id, value)
    }
    while True:
        more = {i.id for i in images if i.parent.partition("@")[0] in named} - named
        if not more:
            return named
        named |= more


def _begins(object_id: str, value: str) -> bool:
    """Whether a name that may also be an id means this one: a single letter is too little for that."""
    return len(value) > 1 and object_id.startswith(value)


def _is_dangling(found: Any, used: Collection[str]) -> bool:
    """Whether an object is of no use to any other: an image without a name, a volume that nobody mounts."""
    if isinstance(found, Image):
        return not found.name
    if hasattr(found, "containers"):
        return not found.containers
    return found.name not in used


def state(container: ContainerSummary) -> str:
    """What a container does, of which ``stopped`` is ``exited`` or ``created``."""
    if container.running:
        return "running"
    if container.restarting:
        return "restarting"
    return "exited" if container.started else "created"


def _has_status(container: ContainerSummary, value: str) -> bool:
    found = state(container)
    return value == found or (value == "stopped" and found in ("exited", "created"))


def _has_name(found: Any, value: str) -> bool:
    """A part of the name; ``^`` is its beginning and ``$`` its end, as in Docker."""
    part = value.removeprefix("^").removeprefix("/").removesuffix("$")
    name = f"{found.name}:{found.tag}" if isinstance(found, Image) else found.name
    if value.startswith("^") and value.endswith("$"):
        return part in _names(found)
    if value.startswith("^"):
        return bool(name.startswith(part))
    return name.endswith(part) if value.endswith("$") else part in name


def _has_label(found: Any, value: str) -> bool:
    labels = found.settings.labels if hasattr(found, "settings") else found.labels
    name, equals, text = value.partition("=")
    return name in labels and (not equals or labels[name] == text)


def _is_of_image(container: ContainerSummary, value: str) -> bool:
    names = _image_names(container.image_name, container.image_tag)
    return value in names or _begins(container.image_id, value)


def _has_health(container: ContainerSummary, value: str) -> bool:
    return value == (container.health.status if container.health else "none")


def _publishes(container: ContainerSummary, value: str) -> bool:
    """A port of the host, ``PORT[/PROTOCOL]``, alone or in a range."""
    number, _, protocol = value.partition("/")
    return any(
        (not protocol or port.protocol == protocol) and _spans(port.host_port, number)
        for port in container.public_ports
    )


def _spans(ports: str, number: str) -> bool:
    """Whether ``PORT`` or ``FIRST:LAST`` has a port in it."""
    if not (number.isascii() and number.isdecimal()) or len(number) > 5:
        return False
    first, _, last = ports.partition(":")
    return int(first) <= int(number) <= int(last or first)


_FITS: Mapping[str, Callable[[Any, str], bool]] = {
    "status": _has_status,
    "name": _has_name,
    "id": lambda found, value: found.id.startswith(value),
    "label": _has_label,
    "label!": lambda found, value: not _has_label(found, value),
    "image": _is_of_image,
    "network": lambda found, value: value in found.networks,
    "volume": lambda found, value: any(value in m.split(":")[:2] for m in found.mounts),
    "health": _has_health,
    "exited": lambda found, value: state(found) == "exited" and str(found.exit_code) == value,
    "restart": lambda found, value: value == found.restart_policy,
    "driver": lambda found, value: value == (getattr(found, "network_driver", None) or found.type),
    "type": lambda found, value: value == found.type,
    "publish": _publishes,
    "reference": lambda found, value: any(
        fnmatch.fnmatchcase(name, value)
        for name in (*_image_names(found.name, found.tag), found.name)
    ),
}
"""By key, whether an object fits a value of it."""
