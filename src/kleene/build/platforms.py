"""The platform that is built for: the host's, and no other. As Docker writes it: ``linux/amd64``."""

from __future__ import annotations

import os

_ARCHITECTURES = {
    "x86_64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armv6l": "arm/v6",
    "armv7l": "arm/v7",
}
"""From the names of uname(2) to those of Go, which Docker uses; others are the same in both."""


def host_platform() -> str:
    """``OS/ARCHITECTURE[/VARIANT]``."""
    system = os.uname()
    return f"{system.sysname.lower()}/{_ARCHITECTURES.get(system.machine, system.machine)}"


def automatic_arguments(platform: str, target: str = "") -> dict[str, str]:
    """The build arguments of every Dockerfile (its reference, "Automatic platform ARGs").

    Args:
        target: name of the stage that becomes the image, if it has one.
    """
    system, architecture, variant = (*platform.split("/"), "")[:3]
    parts = {
        "PLATFORM": platform,
        "OS": system,
        "OSVERSION": "",
        "ARCH": architecture,
        "VARIANT": variant,
    }
    sides = ("BUILD", "TARGET")
    found = {f"{side}{name}": value for side in sides for name, value in parts.items()}
    return {**found, "TARGETSTAGE": target or "default"}
