"""What the daemon says of itself: ``GET /version`` and ``GET /info``."""

from __future__ import annotations

import msgspec


class Version(msgspec.Struct):
    """Versions of the daemon and of its API.

    Attributes:
        python: version of the Python that runs it.
        platform: its host: operating system, release, machine.
    """

    version: str
    api_version: str
    python: str = ""
    platform: str = ""


class Info(msgspec.Struct):
    """The daemon and what it found on the host.

    Attributes:
        storage: the storage driver in use.
        runtime: the OCI runtime in use, with its version.
        root: the data directory.
        probed: for each driver that was tried, ``ok`` or why it cannot be used.
    """

    version: str
    storage: str
    runtime: str
    root: str
    containers: int
    containers_running: int
    images: int
    probed: dict[str, str]
