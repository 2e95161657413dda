"""What a COPY took, file by file, kept beside its snapshot to tell later which file changed. Pure.

A manifest is a zstd frame (RFC 8878) of pairs, each part ended by a NUL: the path in the context, then
type and mode, owner (``-`` where it does not count) and the beginning of a digest of the content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

import zstandard

from kleene.dockerfile.excerpt import visible
from kleene.host.treewalk import Entry

SHOWN = 4
"""Files that are named; the others are counted."""

_DIGEST = 8  # bytes of a digest that are kept: it is compared with one other, and decides nothing
_LIMIT = 1 << 30


def line(entry: Entry, mode: int, content: bytes, *, owner: bool) -> bytes:
    """One entry of a manifest.

    Args:
        content: digest of a file, or target of a link.
    """
    belongs = b"%d:%d" % (entry.stat.st_uid, entry.stat.st_gid) if owner else b"-"
    shown = content if stat.S_ISLNK(entry.stat.st_mode) else content[:_DIGEST].hex().encode()
    kind = stat.S_IFMT(entry.stat.st_mode)
    return b"%b\0%o %o %b %b\0" % (os.fsencode(entry.path), kind, mode, belongs, shown)


def pack(lines: Iterable[bytes]) -> bytes:
    """A manifest of its entries."""
    return zstandard.compress(b"".join(lines), 1)


def whole(key: str) -> bytes:
    """The one entry of a tree that is not listed, by what decides it."""
    return b"\0%o 0 - %b\0" % (stat.S_IFDIR, key[: 2 * _DIGEST].encode())


def joined(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Several manifests as one: each with what comes before its paths."""
    return pack(
        b"%b%b\0%b\0" % (os.fsencode(before), path, said)
        for before, manifest in parts
        for path, said in _read(manifest).items()
    )


def changes(old: bytes, new: bytes) -> str:
    """What differs between two manifests: ``'a' (added), 'b' (mode) and 12 more``; ``""``: nothing."""
    before, after = _read(old), _read(new)
    found = list(_differences(before, after))
    names = [f"'{visible(os.fsdecode(path))}' ({how})" for path, how in found[:SHOWN]]
    if len(found) > SHOWN:
        return f"{', '.join(names)} and {len(found) - SHOWN} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _read(manifest: bytes) -> dict[bytes, bytes]:
    data = zstandard.ZstdDecompressor().decompress(manifest, max_output_size=_LIMIT)
    parts = data.split(b"\0")
    return dict(zip(parts[0::2], parts[1::2], strict=False))


def _differences(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> Iterator[tuple[bytes, str]]:
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield path, "added"
        elif path not in after:
            yield path, "removed"
        elif before[path] != after[path]:
            yield path, _how(before[path].split(b" ", 3), after[path].split(b" ", 3))


def _how(old: list[bytes], new: list[bytes]) -> str:
    names = ("type", "mode", "owner", "content")
    changed = [name for name, one, other in zip(names, old, new, strict=True) if one != other]
    return "type" if "type" in changed else ", ".join(changed)
