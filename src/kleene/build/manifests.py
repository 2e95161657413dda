"""What a COPY took, file by file, kept beside its snapshot to tell later which file changed. Pure.

A manifest is a zstd frame (RFC 8878) of pairs, each part ended by a NUL: the path in the context, then
type and mode, owner (``-`` where it does not count), mtime in nanoseconds (``h`` behind it: the file has more
names) and the beginning of a digest of the content. Another time alone is no change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import zstandard

from kleene.dockerfile.excerpt import visible
from kleene.host.treewalk import Entry

SHOWN = 4
"""Files that are named; the others are counted."""

_DIGEST = (
    16  # bytes of a digest that are kept: too many for two contents to be found that share them
)
_LIMIT = 1 << 30
_DIRECTORY = b"40000"  # S_IFDIR (inode(7))


@dataclass(frozen=True)
class Delta:
    """How to come from what one manifest lists to what another does. Paths are those of the manifests.

    Attributes:
        copied: what is new or differs, and the directories that hold it.
        touched: files and links of which the times alone differ.
        removed: what is not there any more; a directory comes before what was in it.
    """

    copied: frozenset[str]
    touched: frozenset[str]
    removed: tuple[str, ...]


def line(entry: Entry, mode: int, content: bytes, *, owner: bool) -> bytes:
    """One entry of a manifest.

    Args:
        content: digest of a file, or target of a link.
    """
    status = entry.stat
    belongs = b"%d:%d" % (status.st_uid, status.st_gid) if owner else b"-"
    shown = content if stat.S_ISLNK(status.st_mode) else content[:_DIGEST].hex().encode()
    kind = stat.S_IFMT(status.st_mode)
    names = b"h" if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 else b""
    looks = b"%o %o %b %d%b" % (kind, mode, belongs, status.st_mtime_ns, names)
    return b"%b\0%b %b\0" % (os.fsencode(entry.path), looks, shown)


def pack(lines: Iterable[bytes]) -> bytes:
    """A manifest of its entries."""
    return zstandard.compress(b"".join(lines), 1)


def whole(key: str) -> bytes:
    """The one entry of a tree that is not listed, by what decides it."""
    return b"\0%o 0 - 0 %b\0" % (stat.S_IFDIR, key[: 2 * _DIGEST].encode())


def joined(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Several manifests as one: each with what comes before its paths."""
    return pack(
        b"%b%b\0%b\0" % (os.fsencode(before), path, said)
        for before, manifest in parts
        for path, said in _read(manifest)
    )


def changes(old: bytes, new: bytes) -> str:
    """What differs between two manifests: ``'a' (added), 'b' (mode) and 12 more``; ``""``: nothing."""
    found = list(_differences(dict(_read(old)), dict(_read(new))))
    names = [f"'{visible(os.fsdecode(path))}' ({how})" for path, how in found[:SHOWN]]
    if len(found) > SHOWN:
        return f"{', '.join(names)} and {len(found) - SHOWN} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def delta(old: bytes, new: bytes) -> Delta | None:
    """What to do to the files of one manifest to have those of another.

    Returns:
        ``None`` if not all of it follows from the two: a path is listed twice, other files were named by the
        COPY itself, or something became what it was not.
    """
    listed = _read(old), _read(new)
    before, after = map(dict, listed)
    if (len(before), len(after)) != tuple(map(len, listed)) or _tops(before) != _tops(after):
        return None
    copied, touched = set[bytes](), set[bytes]()
    for path, looks in after.items():
        if (was := before.get(path)) is None:
            copied.add(path)
            continue
        one, other = _parts(was), _parts(looks)
        if one[0] != other[0]:
            return None
        if one[:3] + one[4:] != other[:3] + other[4:] or b"h" in one[3] + other[3]:
            copied.add(path)
        elif one[3] != other[3]:
            (copied if one[0] == _DIRECTORY else touched).add(path)
    removed = [path for path in before if path not in after]
    holders = {_parent(path) for path in (*copied, *removed)}
    copied.update(path for path in holders if path in after)
    return Delta(_decoded(copied), _decoded(touched), tuple(map(os.fsdecode, removed)))


def _decoded(paths: Iterable[bytes]) -> frozenset[str]:
    return frozenset(map(os.fsdecode, paths))


def _tops(listed: Mapping[bytes, bytes]) -> list[bytes]:
    """The paths that are in no listed directory."""
    return [path for path in listed if not path or _parent(path) not in listed]


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _parts(looks: bytes) -> list[bytes]:
    """Type, mode, owner, mtime, content."""
    return looks.split(b" ", 4)


def _read(manifest: bytes) -> list[tuple[bytes, bytes]]:
    data = zstandard.ZstdDecompressor().decompress(manifest, max_output_size=_LIMIT)
    parts = data.split(b"\0")
    return list(zip(parts[0::2], parts[1::2], strict=False))


def _differences(
    before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]
) -> Iterator[tuple[bytes, str]]:
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield path, "added"
        elif path not in after:
            yield path, "removed"
        elif before[path] != after[path] and (how := _how(before[path], after[path])):
            yield path, how


def _how(old: bytes, new: bytes) -> str:
    names = ("type", "mode", "owner", "", "content")
    pairs = zip(names, _parts(old), _parts(new), strict=True)
    changed = [name for name, one, other in pairs if name and one != other]
    return "type" if "type" in changed else ", ".join(changed)
