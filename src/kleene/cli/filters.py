"""``--filter`` of a list of containers. Pure.

Of several filters of one key, one must fit (of ``label``, all); of several keys, each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kleene.errors import InvalidInput, NotFound

Container = Mapping[str, Any]

STATES = ("running", "stopped", "exited", "created", "restarting")
_HEALTH = ("starting", "healthy", "unhealthy", "none")
KEYS = (
    "status name id label image ancestor network volume health exited before since restart".split()
)


def state(container: Container) -> str:
    """What a container does: one of :data:`STATES`, of which ``stopped`` says ``exited`` too."""
    if container["running"]:
        return "running"
    if container.get("restarting"):
        return "restarting"
    return "exited" if container.get("started") else "created"


def parse(words: Sequence[str]) -> dict[str, list[str]]:
    """``KEY=VALUE`` words by their keys.

    Raises:
        InvalidInput: a key is not known, or a value does not fit it.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise InvalidInput(
                f"filter '{word}' cannot be understood",
                hint=f"write KEY=VALUE with one of the keys {', '.join(KEYS)}",
            )
        allowed = {"status": STATES, "health": _HEALTH}.get(key)
        if allowed is not None and value not in allowed:
            raise InvalidInput(
                f"filter '{word}' has an unknown value", hint=f"one of: {', '.join(allowed)}"
            )
        found.setdefault(key, []).append(value)
    return found


def every_state(wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether the filters speak of containers that do not run, so that all must be asked for."""
    return bool(wanted.keys() & {"status", "exited", "before", "since"})


def select(
    containers: Sequence[Container],
    wanted: Mapping[str, Sequence[str]],
    images: Sequence[Mapping[str, Any]] = (),
) -> list[Container]:
    """The containers that all filters fit.

    Args:
        images: all images, for ``ancestor``.

    Raises:
        NotFound: ``before`` or ``since`` names no container.
    """
    tests: list[Callable[[Container], bool]] = []
    for key, values in wanted.items():
        if key in ("before", "since"):
            tests += [_in_time(containers, key, value) for value in values]
        elif key == "ancestor":
            ids = {i for value in values for i in _descendants(value, images)}
            tests.append(lambda c, ids=ids: c["image_id"] in ids)  # type: ignore[misc]
        else:
            fits = all if key == "label" else any
            tests.append(lambda c, k=key, v=values, f=fits: f(_fits(c, k, each) for each in v))  # type: ignore[misc]
    return [c for c in containers if all(test(c) for test in tests)]


def _fits(container: Container, key: str, value: str) -> bool:
    match key:
        case "status":
            found = state(container)
            return value == found or (value == "stopped" and found in ("exited", "created"))
        case "name":
            return value in container["name"]
        case "id":
            return str(container["id"]).startswith(value)
        case "label":
            name, equals, text = value.partition("=")
            labels = container.get("labels") or {}
            return name in labels and (not equals or labels[name] == text)
        case "image":
            return _is_image(value, container)
        case "network":
            return value in container.get("networks", ())
        case "volume":
            return any(value in mount.split(":")[:2] for mount in container.get("mounts", ()))
        case "health":
            return value == ((container.get("health") or {}).get("status") or "none")
        case "exited":
            return state(container) == "exited" and str(container.get("exit_code")) == value
        case _:
            return value == container.get("restart_policy")


def _is_image(value: str, container: Container) -> bool:
    name, tag = container.get("image_name"), container.get("image_tag")
    if value in (f"{name}:{tag}", f"{name}:{tag}".removesuffix(":latest")) and name:
        return True
    return len(value) > 1 and str(container["image_id"]).startswith(value)


def _in_time(containers: Sequence[Container], key: str, value: str) -> Callable[[Container], bool]:
    """Whether a container was created before or since another one."""
    found = [c for c in containers if c["name"] == value or c["id"] == value]
    found = found or [c for c in containers if value and c["id"].startswith(value)]
    if len(found) != 1:
        raise NotFound(f"no such container: '{value}'", hint="list what there is: klee lsc -a")
    moment = found[0]["created"]
    if key == "before":
        return lambda container: bool(container["created"] < moment)
    return lambda container: bool(container["created"] > moment)


def _descendants(value: str, images: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of an image and of all that were built from it."""
    named = {
        i["id"]
        for i in images
        if value in (f"{i['name']}:{i['tag']}", f"{i['name']}:{i['tag']}".removesuffix(":latest"))
        or (len(value) > 1 and i["id"].startswith(value))
    }
    while True:
        more = {i["id"] for i in images if i.get("parent", "").partition("@")[0] in named} - named
        if not more:
            return named
        named |= more
