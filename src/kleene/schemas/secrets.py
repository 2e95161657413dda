"""Secrets and configs on the wire: small files that containers are given when they start."""

from __future__ import annotations

from typing import Annotated

import msgspec

FileMode = Annotated[int, msgspec.Meta(ge=0, le=0o777)]
OwnerId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class FileMount(msgspec.Struct):
    """A secret or config as a container sees it.

    Attributes:
        name: of the secret or config.
        path: absolute, in the container; ``""``: ``/run/secrets/NAME``, and ``/NAME`` for a config.
        mode: bits of permission; ``None`` is 0400 for a secret, 0444 for a config.
        uid, gid: owner; ``None`` is the container's user.
    """

    name: str
    path: str = ""
    mode: FileMode | None = None
    uid: OwnerId | None = None
    gid: OwnerId | None = None


class StoredFileConfig(msgspec.Struct):
    """A secret or config that is asked for.

    Attributes:
        data: its content in base64 (RFC 4648, section 4).
    """

    name: str
    data: str
    labels: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"StoredFileConfig({self.name!r})"  # no log may have the content


class Secret(msgspec.Struct):
    """A secret. Nobody is told its content but the containers that it is for.

    Attributes:
        created: ISO 8601 in UTC.
        containers: names of those that are given it.
    """

    name: str
    created: str
    labels: dict[str, str]
    containers: list[str]


class Config(msgspec.Struct):
    """A config. ``size``: bytes of its content; else as :class:`Secret`."""

    name: str
    created: str
    labels: dict[str, str]
    containers: list[str]
    size: int


class ConfigInspect(Config):
    """A config with its content, in base64."""

    data: str
