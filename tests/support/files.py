"""Build contexts from a description: files with modes, owners, links and times that a checkout cannot keep.

``files`` maps paths to contents (a text), or to what is said below; a path with ``/`` at its end is a
directory. ``mode``, ``uid``, ``gid``, ``mtime`` (seconds), ``xattr`` (name: value); ``content``, ``size``
(a hole), ``fifo``, ``link``, ``hard`` (the path of a file above), ``tar`` (members, said alike) with
``compression``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zstandard

MTIME = 1_000_000_000
"""Of all that says nothing else, in seconds: September 2001, long before any test run."""

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def make_context(directory: Path, files: Mapping[str, Any]) -> None:
    """Make the files in a directory, which exists."""
    for name, said in files.items():
        _make(directory, directory / name.rstrip("/"), _spec(name, said))
    # Whatever is made in a directory changes its time: the deepest first, all at the end.
    for name in sorted(files, key=lambda name: -name.count("/")):
        path, spec = directory / name.rstrip("/"), _spec(name, files[name])
        _set_times(path, spec)
    for parent, _, _ in os.walk(directory, topdown=False):
        if f"{Path(parent).relative_to(directory)}/" not in files:
            os.utime(parent, (MTIME, MTIME))


def _spec(name: str, said: Any) -> dict[str, Any]:
    spec = dict(said) if isinstance(said, dict) else {"content": said}
    return spec | {"directory": name.endswith("/")}


def _make(root: Path, path: Path, spec: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if spec["directory"]:
        path.mkdir(exist_ok=True)
    elif "link" in spec:
        path.symlink_to(spec["link"])
    elif "hard" in spec:
        os.link(root / spec["hard"], path)
        return
    elif "size" in spec:
        with path.open("wb") as file:
            file.truncate(spec["size"])
    elif "fifo" in spec:
        os.mkfifo(path)
    else:
        path.write_bytes(_content(path.name, spec))
    os.chown(path, spec.get("uid", 0), spec.get("gid", 0), follow_symlinks=False)
    if "link" not in spec:
        path.chmod(spec.get("mode", 0o755 if spec["directory"] else 0o644))
    for name, value in spec.get("xattr", {}).items():
        os.setxattr(path, name, value.encode())


def _set_times(path: Path, spec: dict[str, Any]) -> None:
    when = spec.get("mtime", MTIME)
    os.utime(path, (when, when), follow_symlinks=False)


def _content(name: str, spec: dict[str, Any]) -> bytes:
    content = spec.get("content", "")
    plain = content if isinstance(content, bytes) else str(content).encode()
    data = archive(spec["tar"]) if "tar" in spec else plain
    kind = spec.get("compression", name.rpartition(".")[2] if "tar" in spec else "")
    compress = _COMPRESS.get(kind)
    return compress(data) if compress else data


def archive(members: Mapping[str, Any]) -> bytes:
    """A tar archive with these members."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, said in members.items():
            spec = _spec(name, said)
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mode = spec.get("mode", 0o755 if spec["directory"] else 0o644)
            entry.uid, entry.gid = spec.get("uid", 0), spec.get("gid", 0)
            entry.mtime = spec.get("mtime", MTIME)
            content = b""
            if spec["directory"]:
                entry.type = tarfile.DIRTYPE
            elif "link" in spec:
                entry.type, entry.linkname = tarfile.SYMTYPE, spec["link"]
            elif "hard" in spec:
                entry.type, entry.linkname = tarfile.LNKTYPE, spec["hard"]
            else:
                content = str(spec["content"]).encode()
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()
