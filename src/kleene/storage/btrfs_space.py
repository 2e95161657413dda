"""What datasets and snapshots of a btrfs hold on disk, alone and together: the blocking half.

Counted are the extents of file data, each where it lies, from the trees themselves
(``BTRFS_IOC_TREE_SEARCH_V2``). Quota groups would know as much, but make every snapshot and every removal of
one slower for ever after; this costs nothing until somebody asks. The file system's own metadata, in which it
keeps files of up to 2 KiB too, is not counted.

Remembers the extents of every subvolume until it changes, and a frozen one never does.
"""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from kleene.errors import NotFound
from kleene.storage import btrfs_ioctl as btrfs
from kleene.storage.btrfs_pool import Pool
from kleene.storage.driver import Part, Snapshot, Usage

_NO_PARENT = bytes(16)


class SpaceMeter:
    """Measures a pool. Used by one thread at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sizes: dict[int, int] = {}
        self._known: dict[int, tuple[int, array[int]]] = {}

    def measure(self, groups: Sequence[Sequence[Part]], check: Callable[[], None]) -> list[Usage]:
        """:meth:`StorageDriver.space`. ``check`` raises when nobody wants to know any more."""
        btrfs.write_back(self._pool.fd)
        found = dict(self._subvolumes(check))
        read = {number for members in found.values() for number in members}
        self._forget(read)
        users: Counter[int] = Counter()
        for number in read:
            users.update(self._known[number][1])
        return [self._usage(group, found, users) for group in groups]

    def _usage(
        self, group: Sequence[Part], found: dict[Part, list[int]], users: Counter[int]
    ) -> Usage:
        own: Counter[int] = Counter()
        for part in set(group):
            for number in found.get(part, []):
                own.update(self._known[number][1])
        sizes = self._sizes
        return Usage(
            exclusive=sum(sizes[extent] for extent, times in own.items() if times == users[extent]),
            referenced=sum(map(sizes.__getitem__, own)),
        )

    def _subvolumes(self, check: Callable[[], None]) -> Iterator[tuple[Part, list[int]]]:
        """Every dataset and snapshot, with the ids of its subvolumes; and what they were cloned from."""
        ours: set[int] = set()
        parents: set[bytes] = set()
        for part in self._parts():
            check()
            with contextlib.suppress(NotFound), self._opened(part) as fd:
                info = btrfs.subvolume_info(fd)
                parents.add(info.parent)
                members = [self._read(fd, info)]
                if isinstance(part, str):
                    members += self._read_nested(fd, info.id)
                ours.update(members)
                yield part, members
        yield from self._foreign(parents - {_NO_PARENT}, ours)

    def _parts(self) -> Iterable[Part]:
        for dataset in self._pool.datasets():
            yield dataset
            with contextlib.suppress(NotFound):  # it went since it was listed
                yield from [Snapshot(dataset, name) for name in self._pool.snapshots(dataset)]

    def _opened(self, part: Part) -> contextlib.AbstractContextManager[int]:
        return self._pool.dataset(part) if isinstance(part, str) else self._pool.snapshot(part)

    def _foreign(self, parents: set[bytes], ours: set[int]) -> Iterator[tuple[Part, list[int]]]:
        """The subvolumes that are not Kleene's, but share with one that was cloned from them."""
        for parent in parents:
            number = btrfs.subvolume_of(self._pool.fd, parent)
            if number is not None and number not in ours:
                self._note(number, -1)
                yield f"#{number}", [number]

    def _read_nested(self, fd: int, number: int) -> list[int]:
        """What a container made in its dataset goes with it."""
        found = btrfs.nested_subvolumes(fd, number)
        for inner in found:
            found += btrfs.nested_subvolumes(fd, inner)
            self._note(inner, -1)
        return found

    def _read(self, fd: int, info: btrfs.SubvolumeInfo) -> int:
        self._note(info.id, info.generation)
        return info.id

    def _note(self, number: int, generation: int) -> None:
        """Know the extents of a subvolume. ``generation``: of its last change; -1 if that is not known."""
        if generation >= 0 and self._known.get(number, (-1,))[0] == generation:
            return
        extents = dict(btrfs.data_extents(self._pool.fd, number))
        self._sizes.update(extents)
        self._known[number] = generation, array("Q", extents)

    def _forget(self, read: set[int]) -> None:
        """Drop what is gone; and the sizes of extents, when many are."""
        for number in self._known.keys() - read:
            del self._known[number]
        if len(self._sizes) > 2 * sum(len(extents) for _, extents in self._known.values()) + 1024:
            used = {extent for _, extents in self._known.values() for extent in extents}
            self._sizes = {extent: self._sizes[extent] for extent in used}
