"""Debian's buildah, in a storage of its own, and what it made: read from its directory, without a process."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.required import require

_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


@dataclass(frozen=True)
class Built:
    """An image: its file tree, and its configuration."""

    root: Path
    config: dict[str, Any]


class Buildah:
    """A buildah whose images, containers and mounts are all below one directory."""

    def __init__(self, home: Path) -> None:
        require("buildah", shutil.which("buildah") is not None, "buildah is not installed")
        self._home = home
        (home / "policy.json").write_text(json.dumps(_POLICY))

    def build(self, context: Path, dockerfile: Path, *options: str, tag: str = "") -> Built:
        """Build an image; ``CalledProcessError`` with its output if it cannot be built."""
        number = self._home / "id"
        # Each layer is a directory with all in it: that can be read as it is.
        storage = ["--root", self._home / "root", "--runroot", self._home / "run"]
        command = [
            *("buildah", *storage, "--storage-driver", "vfs", "bud", "--isolation", "chroot"),
            *("--format", "docker", "--pull-never", "--layers=false", "--iidfile", number),
            *("--signature-policy", self._home / "policy.json", "--ulimit", "nofile=1024:1024"),
            *(("--tag", tag) if tag else ()),
            *(*options, "--file", dockerfile, context),
        ]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        return self._built(number.read_text().removeprefix("sha256:").strip())

    def _built(self, image_id: str) -> Built:
        images = self._home / "root/vfs-images"
        listed = json.loads((images / "images.json").read_text())
        layer = next(image["layer"] for image in listed if image["id"] == image_id)
        # Large values have names that are base64 of what they are called.
        name = base64.b64encode(f"sha256:{image_id}".encode()).decode()
        config = json.loads((images / image_id / f"={name}").read_text())
        return Built(self._home / "root/vfs/dir" / layer, config["config"])
