"""What datasets and snapshots of a btrfs hold on disk, alone and together: the blocking half.

Counted are the extents of file data, each where it lies, from the trees themselves
(``BTRFS_IOC_TREE_SEARCH_V2``). Quota groups would know as much, but make every snapshot and every removal of
one slower for ever after; this costs nothing until somebody asks. The file system's own metadata, in which it
keeps files of up to 2 KiB too, is not counted.

Remembers the extents of every subvolume until it changes, and a frozen one never does; and of directories
outside the datasets, to which nobody writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from kleene.errors import NotFound
from kleene.storage import btrfs_ioctl as btrfs
from kleene.storage import files_space
from kleene.storage.btrfs_pool import Pool
from kleene.storage.driver import Files, Part, Snapshot, Usage

_NO_PARENT = bytes(16)

Member = tuple[int, int]
"""A subvolume by its id, and 0; or a file or directory in it, by its inode."""


class SpaceMeter:
    """Measures a pool. Used by one thread at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sizes: dict[int, int] = {}
        self._known: dict[Member, tuple[int, array[int]]] = {}

    def measure(self, groups: Sequence[Sequence[Part]], check: Callable[[], None]) -> list[Usage]:
        """:meth:`StorageDriver.space`. ``check`` raises when nobody wants to know any more."""
        btrfs.write_back(self._pool.fd)
        found = dict(self._subvolumes(check))
        found.update(self._files(groups, check))
        read = {member for members in found.values() for member in members}
        self._forget(read)
        users: Counter[int] = Counter()
        for member in read:
            users.update(self._known[member][1])
        inside = [self._usage(group, found, users) for group in groups]
        elsewhere = [[part for part in group if part not in found] for group in groups]
        outside = files_space.measure(elsewhere, check)
        return [one + other for one, other in zip(inside, outside, strict=True)]

    def _usage(
        self, group: Sequence[Part], found: dict[Part, list[Member]], users: Counter[int]
    ) -> Usage:
        own: Counter[int] = Counter()
        for part in set(group):
            for member in found.get(part, []):
                own.update(self._known[member][1])
        sizes = self._sizes
        return Usage(
            exclusive=sum(sizes[extent] for extent, times in own.items() if times == users[extent]),
            referenced=sum(map(sizes.__getitem__, own)),
        )

    def _subvolumes(self, check: Callable[[], None]) -> Iterator[tuple[Part, list[Member]]]:
        """Every dataset and snapshot, with the ids of its subvolumes; and what they were cloned from."""
        ours: set[int] = set()
        parents: set[bytes] = set()
        for part in self._parts():
            check()
            # It may go before it is opened, and after.
            with contextlib.suppress(NotFound, FileNotFoundError), self._opened(part) as fd:
                info = btrfs.subvolume_info(fd)
                parents.add(info.parent)
                members = [self._note(info.id, info.generation)]
                if isinstance(part, str):
                    members += self._read_nested(fd, info.id)
                ours.update(number for number, _ in members)
                yield part, members
        yield from self._foreign(parents - {_NO_PARENT}, ours)

    def _files(
        self, groups: Sequence[Sequence[Part]], check: Callable[[], None]
    ) -> Iterator[tuple[Part, list[Member]]]:
        """The files outside the datasets that lie in the pool's file system all the same."""
        trees: dict[int, int | None] = {}
        for part in {part for group in groups for part in group if isinstance(part, Files)}:
            check()
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(part.path)
                if found.st_dev not in trees:  # a subvolume has one of its own
                    trees[found.st_dev] = self._subvolume_of(part.path)
                tree = trees[found.st_dev]
                if tree is not None:
                    yield part, [self._read_files(tree, part, found)]

    def _subvolume_of(self, path: str) -> int | None:
        """The id of the subvolume that ``path`` lies in; ``None``: it is in another file system."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return btrfs.subvolume_info(fd).id if self._pool.shares(fd) else None
        except OSError as error:
            if error.errno == errno.ENOTTY:
                return None
            raise
        finally:
            os.close(fd)

    def _read_files(self, tree: int, part: Files, found: os.stat_result) -> Member:
        member = tree, found.st_ino  # which no other file ever has
        # A directory is made as a whole; a file may still grow.
        generation = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        if self._known.get(member, (-1,))[0] != generation:
            inodes = [s.st_ino for _, s in files_space.files_of(part) if stat.S_ISREG(s.st_mode)]
            extents = (
                e for inode in inodes for e in btrfs.data_extents(self._pool.fd, tree, inode)
            )
            self._keep(member, generation, dict(extents))
        return member

    def _parts(self) -> Iterable[str | Snapshot]:
        for dataset in self._pool.datasets():
            yield dataset
            with contextlib.suppress(NotFound):  # it went since it was listed
                yield from [Snapshot(dataset, name) for name in self._pool.snapshots(dataset)]

    def _opened(self, part: str | Snapshot) -> contextlib.AbstractContextManager[int]:
        return self._pool.dataset(part) if isinstance(part, str) else self._pool.snapshot(part)

    def _foreign(self, parents: set[bytes], ours: set[int]) -> Iterator[tuple[Part, list[Member]]]:
        """The subvolumes that are not Kleene's, but share with one that was cloned from them."""
        for parent in parents:
            number = btrfs.subvolume_of(self._pool.fd, parent)
            if number is not None and number not in ours:
                yield f"#{number}", [self._note(number, -1)]

    def _read_nested(self, fd: int, number: int) -> list[Member]:
        """What a container made in its dataset goes with it."""
        found = btrfs.nested_subvolumes(fd, number)
        for inner in found:
            found += btrfs.nested_subvolumes(fd, inner)
        return [self._note(inner, -1) for inner in found]

    def _note(self, number: int, generation: int) -> Member:
        """Know the extents of a subvolume. ``generation``: of its last change; -1 if that is not known."""
        member = number, 0
        if generation < 0 or self._known.get(member, (-1,))[0] != generation:
            self._keep(member, generation, dict(btrfs.data_extents(self._pool.fd, number)))
        return member

    def _keep(self, member: Member, generation: int, extents: dict[int, int]) -> None:
        self._sizes.update(extents)
        self._known[member] = generation, array("Q", extents)

    def _forget(self, read: set[Member]) -> None:
        """Drop what is gone; and the sizes of extents, when many are."""
        for member in self._known.keys() - read:
            del self._known[member]
        if len(self._sizes) > 2 * sum(len(extents) for _, extents in self._known.values()) + 1024:
            used = {extent for _, extents in self._known.values() for extent in extents}
            self._sizes = {extent: self._sizes[extent] for extent in used}
