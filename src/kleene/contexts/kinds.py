"""What a build context that is no directory is: by its address, or by how its content begins. Pure."""

from __future__ import annotations

import re

ENOUGH = 512
"""Bytes of the beginning that :func:`is_archive` needs."""

_COMPRESSED = (
    b"\x1f\x8b",  # gzip: RFC 1952, 2.3.1
    b"BZh",
    b"\xfd7zXZ\0",  # the .xz file format, 2.1.1.1
    b"\x28\xb5\x2f\xfd",  # zstd: RFC 8878, 3.1.1
)
_CHECKSUM = slice(148, 156)  # pax: "ustar Header Block"
_REMOTE = re.compile(r"(?:https?|git|ssh)://|git@[A-Za-z0-9]", re.IGNORECASE)


def is_remote(text: str) -> bool:
    """Whether a context is fetched by the daemon from somewhere: an archive, or a git repository."""
    return _REMOTE.match(text) is not None


def is_archive(head: bytes) -> bool:
    """Whether what begins like this is a tar archive, compressed or not; else it can only be a Dockerfile."""
    return head.startswith(_COMPRESSED) or _is_tar_header(head)


def _is_tar_header(block: bytes) -> bool:
    if len(block) < ENOUGH:
        return False
    block = block[:ENOUGH]
    if not any(block):  # the end mark: an archive of nothing
        return True
    field = block[_CHECKSUM].strip(b" \0")
    if not re.fullmatch(rb"[0-7]+", field):
        return False
    # The checksum is taken with its own field as spaces.
    total = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    return int(field, 8) == total
