"""Images as they can be compared, whoever made them: a file tree, and a configuration."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OLD = 1_500_000_000
"""Before this, in seconds, nothing was made by a test run: such a time was kept from a source."""

_MADE_BY_ENGINES = ("dev", "proc", "sys", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname")
_LABELS = ("io.buildah.version",)

Picture = dict[str, Any]
"""What is in an image, by what it is: ``/path``, ``config.name``."""


def tree(root: Path) -> Picture:
    """What is in a file tree: types, modes, owners, contents, links, attributes, times that were kept."""
    found: Picture = {}
    names: dict[tuple[int, int], list[str]] = defaultdict(list)
    for directory, directories, files in os.walk(root):
        base = Path(directory)
        directories[:] = [d for d in directories if not _is_made(root, base / d)]
        for path in [base / name for name in (*directories, *files)]:
            if _is_made(root, path):
                continue
            status = path.lstat()
            name = f"/{path.relative_to(root)}"
            found[name] = _entry(path, status)
            if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
                names[status.st_dev, status.st_ino].append(name)
    for group in names.values():
        for name in group:
            found[name]["hard links"] = sorted(group)
    return found


def _is_made(root: Path, path: Path) -> bool:
    return str(path.relative_to(root)) in _MADE_BY_ENGINES


def _entry(path: Path, status: os.stat_result) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mode": stat.filemode(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
    }
    if stat.S_ISREG(status.st_mode):
        data = path.read_bytes()
        shown = (
            data.decode(errors="replace") if len(data) < 200 else hashlib.sha256(data).hexdigest()
        )
        entry["content"] = shown
    elif stat.S_ISLNK(status.st_mode):
        entry["link"] = str(path.readlink())
    if not stat.S_ISDIR(status.st_mode) and status.st_mtime < OLD:
        entry["mtime"] = int(status.st_mtime)
    attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in _attributes(path)}
    return entry | ({"xattr": attributes} if attributes else {})


def _attributes(path: Path) -> list[str]:
    return [n for n in os.listxattr(path, follow_symlinks=False) if not n.startswith("security.se")]


def docker_config(config: Mapping[str, Any]) -> Picture:
    """The configuration in an image of Docker's format."""
    health = config.get("Healthcheck") or {}
    found = {
        "env": dict(entry.partition("=")[::2] for entry in config.get("Env") or []),
        "cmd": config.get("Cmd") or [],
        "entrypoint": config.get("Entrypoint") or [],
        "user": config.get("User") or "",
        "workdir": config.get("WorkingDir") or "/",
        "labels": {k: v for k, v in (config.get("Labels") or {}).items() if k not in _LABELS},
        "exposed_ports": sorted(
            p for port in config.get("ExposedPorts") or {} for p in _each(port)
        ),
        "volumes": sorted(config.get("Volumes") or {}),
        "stop_signal": config.get("StopSignal") or "",
        "shell": config.get("Shell") or [],
        "onbuild": config.get("OnBuild") or [],
        "health.test": health.get("Test") or [],
        "health.retries": health.get("Retries", 0),
    }
    for name in ("Interval", "Timeout", "StartPeriod"):
        found[f"health.{name.lower()}"] = health.get(name, 0) / 1e9
    return {f"config.{key}": value for key, value in found.items()}


def kleene_config(image: Mapping[str, Any]) -> Picture:
    """The configuration that ``klee image inspect`` tells, in the words of Docker's."""
    health = image.get("healthcheck")
    found = {
        "env": dict(entry.partition("=")[::2] for entry in image["env"]),
        "cmd": image["cmd"],
        "entrypoint": image["entrypoint"],
        "user": image["user"],
        "workdir": image["workdir"],
        "labels": image["labels"],
        "exposed_ports": sorted(p for port in image["exposed_ports"] for p in _each(port)),
        "volumes": sorted(image["volumes"]),
        "stop_signal": image["stop_signal"],
        "shell": image["shell"],
        "onbuild": image["onbuild"],
        "health.test": _test(health),
        "health.retries": health["retries"] if health else 0,
    }
    for name in ("interval", "timeout", "start_period"):
        found[f"health.{name.replace('_', '')}"] = health[name] if health else 0
    return {f"config.{key}": value for key, value in found.items()}


def _each(port: str) -> list[str]:
    """Docker records each port of a range."""
    numbers, _, protocol = port.partition("/")
    first, _, last = numbers.partition("-")
    return [f"{number}/{protocol}" for number in range(int(first), int(last or first) + 1)]


def _test(health: Mapping[str, Any] | None) -> list[str]:
    if health is None:
        return []
    test = health["test"]
    if not test:
        return ["NONE"]
    # Docker records a shell form by its text.
    return ["CMD-SHELL", test[2]] if test[:2] == ["/bin/sh", "-c"] else ["CMD", *test]


def differences(ours: Picture, theirs: Picture) -> dict[str, tuple[Any, Any]]:
    """What is not the same, by its name: ``/path``, ``/path mode``, ``config.name``."""
    found = {}
    for name in ours.keys() | theirs.keys():
        one, other = ours.get(name), theirs.get(name)
        if isinstance(one, dict) and isinstance(other, dict) and name.startswith("/"):
            for part in one.keys() | other.keys():
                if one.get(part) != other.get(part):
                    found[f"{name} {part}"] = (one.get(part), other.get(part))
        elif one != other:
            found[name] = (one, other)
    return dict(sorted(found.items()))
