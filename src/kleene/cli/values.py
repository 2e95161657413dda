"""Values as people write them, read into what the API takes: sizes, durations, limits, policies. Pure."""

from __future__ import annotations

import re
from typing import Any

from kleene.cli.command import Misused

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgtBKMGT]?)(?:i?[bB])?")
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PLAIN = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_LIMIT = re.compile(r"-1|[0-9]{1,18}|unlimited")
_MODE = re.compile(r"0?[0-7]{3}")
_POLICIES = ("no", "on-startup", "on-failure", "always", "unless-stopped")


def size(text: str) -> int:
    """Bytes of ``512m``, ``1.5g``, ``1000``; -1 is itself.

    Raises:
        Misused: it is no size.
    """
    found = _SIZE.fullmatch(text)
    if text == "-1":
        return -1
    if found is None:
        raise Misused(f"'{text}' is not a size", hint="write it as 512m or 2g")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def duration(text: str) -> float:
    """Seconds of ``1m30s``, ``500ms``, ``2h``; a bare number is seconds.

    Raises:
        Misused: it is no duration.
    """
    if _PLAIN.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text) is None:
        raise Misused(f"'{text}' is not a duration", hint="write it as 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def number(text: str) -> float:
    """A number that is not negative.

    Raises:
        Misused: it is none.
    """
    if _PLAIN.fullmatch(text) is None:
        raise Misused(f"'{text}' is not a number", hint="write it as 1.5")
    return float(text)


def restart_policy(text: str) -> tuple[str, int]:
    """The policy and how often it restarts: ``on-failure:5``; 0 is without end.

    Raises:
        Misused: there is no such policy.
    """
    policy, colon, count = text.partition(":")
    number_valid = count.isascii() and count.isdecimal() and len(count) < 10 and int(count) > 0
    if policy not in _POLICIES or (colon and (policy != "on-failure" or not number_valid)):
        raise Misused(
            f"'{text}' is not a restart policy",
            hint="write no, on-startup, on-failure[:N], always or unless-stopped",
        )
    return policy, int(count) if colon else 0


def ulimit(text: str) -> dict[str, Any]:
    """The ``Ulimit`` of ``NAME=SOFT[:HARD]``; without HARD both are the same, ``-1`` is no limit.

    Raises:
        Misused: a part is missing or no number.
    """
    name, _, both = text.partition("=")
    soft, colon, hard = both.partition(":")
    hard = hard if colon else soft
    if not name or not all(_LIMIT.fullmatch(value) for value in (soft, hard)):
        raise Misused(
            f"resource limit '{text}' cannot be understood",
            hint="write NAME=SOFT[:HARD], as nofile=1024:2048",
        )
    low, high = (-1 if value == "unlimited" else int(value) for value in (soft, hard))
    return {"name": name, "soft": low, "hard": high}


def tmpfs(text: str) -> dict[str, Any]:
    """The ``TmpfsConfig`` of ``PATH[:OPTION,...]``."""
    path, _, options = text.partition(":")
    return {"destination": path, "options": [o for o in options.split(",") if o]}


def file_mount(text: str) -> dict[str, Any]:
    """The ``FileMount`` of ``NAME[:PATH[:MODE]]`` or ``source=NAME,target=PATH,mode=MODE,uid=N,gid=N``.

    Raises:
        Misused: a part is missing, unknown, or no number.
    """
    if "=" not in text:
        name, _, rest = text.partition(":")
        path, colon, mode = rest.partition(":")
        parts = {"source": name, "target": path} | ({"mode": mode} if colon else {})
    else:
        parts = {key: value for key, _, value in (p.partition("=") for p in text.split(","))}
    unknown = parts.keys() - {"source", "target", "mode", "uid", "gid"}
    if unknown or not parts.get("source"):
        raise Misused(
            f"'{text}' cannot be understood",
            hint="write NAME[:PATH[:MODE]] or source=NAME,target=PATH,mode=0440,uid=N,gid=N",
        )
    found: dict[str, Any] = {"name": parts["source"], "path": parts.get("target", "")}
    if "mode" in parts:
        found["mode"] = _mode(parts["mode"])
    return found | {key: _id(parts[key]) for key in ("uid", "gid") if key in parts}


def _mode(text: str) -> int:
    if _MODE.fullmatch(text) is None:
        raise Misused(f"mode '{text}' is not three octal digits", hint="write it as 0400")
    return int(text, 8)


def _id(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) >= 2**31:
        raise Misused(f"'{text}' is not the number of a user or group", hint="write it as 1000")
    return int(text)


def label(text: str) -> tuple[str, str]:
    """The name and value of ``NAME[=VALUE]``.

    Raises:
        Misused: it has no name.
    """
    name, _, value = text.partition("=")
    if not name:
        raise Misused(f"label '{text}' has no name", hint="write NAME=VALUE")
    return name, value


def pair(kind: str, text: str) -> tuple[str, str]:
    """The name and value of ``NAME=VALUE``.

    Raises:
        Misused: a part is missing; ``kind`` is what the message calls it.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Misused(f"{kind} '{text}' cannot be understood", hint="write NAME=VALUE")
    return name, value


def device(text: str) -> dict[str, Any]:
    """The ``DeviceConfig`` of ``PATH[:PATH_IN_THE_CONTAINER][:PERMISSIONS]``.

    Raises:
        Misused: it has too many parts.
    """
    source, *rest = text.split(":")
    if len(rest) > 2:
        raise Misused(
            f"device '{text}' cannot be understood", hint="write /dev/NAME[:/dev/NAME[:rwm]]"
        )
    # As in Docker, what does not begin with '/' after the first part is the permissions.
    access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    return {"source": source, "destination": rest[0] if rest else "", "permissions": access}


def security_option(text: str) -> dict[str, Any]:
    """The settings that ``--security-opt`` asks for.

    Raises:
        Misused: there is no such option, or it has no meaning in Kleene.
    """
    name, _, value = text.replace(":", "=", 1).partition("=")
    if name == "no-new-privileges" and value in ("", "true", "false"):
        return {"no_new_privileges": value != "false"}
    if name == "seccomp" and value in ("unconfined", "default", "builtin"):
        return {"seccomp": "unconfined" if value == "unconfined" else "default"}
    if name == "seccomp":
        hint = "a profile of your own cannot be given: write seccomp=unconfined or seccomp=default"
    elif name in ("apparmor", "label", "systempaths", "credentialspec"):
        hint = f"Kleene sets nothing up for '{name}': leave it out"
    else:
        hint = "write no-new-privileges, or seccomp=unconfined"
    raise Misused(f"security option '{text}' is not known", hint=hint)
