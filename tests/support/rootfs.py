"""A tiny root file system to make images from: busybox and nothing else, two megabytes, made in a moment."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.support.required import require

_DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "home",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "var/tmp",
)
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/os-release": 'ID=tiny\nNAME="tiny"\nVERSION_ID=1\n',
}


def busybox() -> Path:
    """The host's static busybox; without it the test is skipped (or fails, if ``oci`` is required)."""
    found = shutil.which("busybox", path="/bin:/usr/bin")
    require("oci", found is not None, "busybox is not installed: apt-get install busybox-static")
    assert found is not None
    return Path(found)


def write_tar(path: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write the root file system to ``path`` as a plain tar archive, with ``files`` besides."""
    program = busybox()
    applets = subprocess.run([program, "--list"], capture_output=True, check=True, text=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in _DIRECTORIES:
            _add_directory(archive, name)
        contents = {name: text.encode() for name, text in _FILES.items()} | (files or {})
        for name, content in contents.items():
            _add_file(archive, name, content, 0o644)
        _add_file(archive, "bin/busybox", program.read_bytes(), 0o755)
        for applet in applets.stdout.split():
            if applet != "busybox":
                _add_link(archive, f"bin/{applet}")
    return path


def _add_directory(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.mode = 0o1777 if name.endswith("tmp") else 0o755
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))


def _add_link(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.SYMTYPE
    entry.linkname = "busybox"
    archive.addfile(entry)


def unpack(archive: Path, directory: Path) -> Path:
    """Unpack an archive that :func:`write_tar` wrote, and return ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)
    return directory
