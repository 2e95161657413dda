"""Device nodes of the host that a container is given. Facts: mknod(2), and the runtime specification's
config-linux.md, "Devices".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kleene.errors import InvalidInput
from kleene.runtime.options import Device, Options

Json = dict[str, Any]

_DEV = Path("/dev")
_OF_A_CONTAINER = {"pts", "shm", "mqueue", "console", "fd"}
"""What of /dev is the container's own."""


def check(device: Device) -> None:
    """Refuse what cannot be a device of a container.

    Raises:
        InvalidInput: a path is not absolute, or the permissions are none.
    """
    for path in (device.source, device.destination):
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise InvalidInput(
                f"device '{path}' is not an absolute path", hint="write --device /dev/NAME"
            )
    if not device.access or not set(device.access) <= set("rwm"):
        raise InvalidInput(
            f"device '{device.source}' has the unknown permissions '{device.access}'",
            hint="use r (read), w (write) and m (make nodes): --device /dev/fuse:/dev/fuse:rw",
        )


class Given(NamedTuple):
    """What a container is given, as the runtime takes it.

    Attributes:
        nodes: those that are made in it.
        rules: which it may use, for its control group.
    """

    nodes: list[Json]
    rules: list[Json]


NOTHING = Given([], [])


def given(options: Options) -> Given:
    """The devices that options name; all of the host if they make the container privileged.

    Raises:
        InvalidInput: there is no such device on the host.
    """
    if options.privileged:
        nodes = [_node(path, str(path)) for path in _below(_DEV)]
        rules: list[Json] = [{"allow": True, "access": "rwm"}]
    else:
        nodes, rules = [], []
    for device in options.devices:
        found = _found(device)
        nodes += found
        rules += [
            {"allow": True, "access": device.access}
            | {key: node[key] for key in ("type", "major", "minor")}
            for node in found
        ]
    return Given(nodes, rules)


def _found(device: Device) -> list[Json]:
    """The device, or those in a directory of /dev: another one may hold all of the host's files."""
    source = Path(device.source)
    if source.is_relative_to(_DEV) and source.is_dir():
        nodes = [
            _node(path, str(Path(device.destination) / path.relative_to(source)))
            for path in _below(source)
        ]
        if nodes:
            return nodes
    if not _is_device(source):
        raise InvalidInput(
            f"'{device.source}' is not a device of the host", hint="see what there is: ls -l /dev"
        )
    return [_node(source, device.destination)]


def _below(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if directory == _DEV and entry.name in _OF_A_CONTAINER:
            continue
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _below(entry)
        elif _is_device(entry):
            yield entry


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _node(path: Path, destination: str) -> Json:
    status = path.stat()
    return {
        "path": destination,
        "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
