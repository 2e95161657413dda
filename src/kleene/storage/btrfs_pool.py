"""Datasets in a directory of a btrfs, by system calls alone: the blocking half of the btrfs driver.

Owns a directory tree that outlives the daemon::

    ROOT/datasets/A/B             a dataset: a writable subvolume
    ROOT/snapshots/A/B/SNAPSHOT   a read-only subvolume
    ROOT/trash/RANDOM/            what is on its way in or out; emptied when the pool is opened

What is made or destroyed is durable after fsync(2) of its directory, which then commits the file system's
transaction; so does making a snapshot. Syncing the file system would write back all that containers have
written, and ``BTRFS_IOC_START_SYNC`` waits now and then for the next periodic commit.

Every path is walked from ROOT's descriptor, a part at a time, and never through a symbolic link.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from kleene.errors import Conflict, HostUnavailable, InvalidInput, KleeneError, NotFound
from kleene.storage import btrfs_ioctl as btrfs
from kleene.storage.driver import Snapshot
from kleene.storage.layout import dataset_parts, missing, pool_full, snapshot_parts, taken

DATASETS, SNAPSHOTS, TRASH = "datasets", "snapshots", "trash"

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o700  # no user of the host reaches a setuid program of an image
_log = logging.getLogger(__name__)


class Pool:
    """The datasets below one directory. Made by :meth:`open`; holds that directory's descriptor."""

    def __init__(self, root: Path, fd: int) -> None:
        self.root = root
        self.fd = fd

    @classmethod
    def open(cls, root: Path) -> Pool:
        """Make the three directories where they are missing, and empty the trash.

        Raises:
            HostUnavailable: ``root`` does not lie on a btrfs.
        """
        root.mkdir(parents=True, exist_ok=True)
        pool = cls(root, os.open(root, _OPEN))
        try:
            pool._prepare()
        except OSError as error:
            pool.close()
            raise HostUnavailable(
                f"'{root}' cannot hold datasets: {error.strerror}",
                hint="choose a directory on a btrfs",
            ) from error
        return pool

    def close(self) -> None:
        os.close(self.fd)

    def _prepare(self) -> None:
        btrfs.filesystem_id(self.fd)
        for name in (DATASETS, SNAPSHOTS, TRASH):
            _mkdir(self.fd, name)
        with self.directory(TRASH) as trash:
            for name in _listing(trash):
                self._empty(trash, name)
            os.fsync(trash)

    @contextlib.contextmanager
    def directory(self, *parts: str, make: bool = False) -> Iterator[int]:
        """A descriptor of a directory below the root, optionally made on the way."""
        fd = os.dup(self.fd)
        try:
            for part in parts:
                if make:
                    _mkdir(fd, part)
                deeper = os.open(part, _OPEN, dir_fd=fd)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def subvolume(self, subject: str, *parts: str) -> Iterator[int]:
        """A descriptor of a dataset or snapshot; ``subject`` is for the message.

        Raises:
            NotFound: it is not there, or what is there is no subvolume.
        """
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(self.directory(*parts))
            except (FileNotFoundError, NotADirectoryError) as error:
                raise missing(subject) from error
            except OSError as error:
                raise missing(subject) if error.errno == errno.ELOOP else error from error
            if os.fstat(fd).st_ino != btrfs.FIRST_INODE:
                raise missing(subject)
            yield fd

    def dataset(self, dataset: str) -> contextlib.AbstractContextManager[int]:
        return self.subvolume(f"dataset '{dataset}'", DATASETS, *dataset_parts(dataset))

    def snapshot(self, snapshot: Snapshot) -> contextlib.AbstractContextManager[int]:
        return self.subvolume(f"snapshot '{snapshot}'", SNAPSHOTS, *snapshot_parts(snapshot))

    def create(self, dataset: str) -> None:
        group, name = dataset_parts(dataset)
        with (
            self._making(f"dataset '{dataset}'"),
            self.directory(DATASETS, group, make=True) as parent,
        ):
            btrfs.create_subvolume(parent, name)
            with self.dataset(dataset) as fd:
                os.fchmod(fd, 0o755)  # the kernel applied the daemon's umask
            os.fsync(parent)

    def clone(self, source: int, dataset: str) -> None:
        """Make a dataset from the subvolume that ``source`` is the root of."""
        group, name = dataset_parts(dataset)
        with (
            self._making(f"dataset '{dataset}'"),
            self.directory(DATASETS, group, make=True) as parent,
        ):
            btrfs.create_snapshot(source, parent, name, readonly=False)

    def freeze(self, snapshot: Snapshot) -> None:
        group, dataset, name = snapshot_parts(snapshot)
        with (
            self.dataset(snapshot.dataset) as source,
            self._making(f"snapshot '{snapshot}'"),
            self.directory(SNAPSHOTS, group, dataset, make=True) as parent,
        ):
            btrfs.create_snapshot(source, parent, name, readonly=True)

    def destroy(self, dataset: str) -> None:
        """Move the dataset and its snapshots to the trash, then empty that.

        What the kernel will not give up yet (a subvolume that is being sent, an active swap file) stays in
        the trash; the name is free all the same.
        """
        group, name = dataset_parts(dataset)
        with self._working():
            try:
                self._destroy_in_trash(group, name)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                # The kernel has space set aside for removing, and none for moving.
                self._destroy_in_place(group, name)

    def _destroy_in_trash(self, group: str, name: str) -> None:
        entry = secrets.token_hex(8)
        with self.directory(TRASH) as trash:
            os.mkdir(entry, _MODE, dir_fd=trash)
            try:
                self._discard(SNAPSHOTS, group, name, entry)
                self._discard(DATASETS, group, name, entry)
            finally:
                self._empty(trash, entry)
                os.fsync(trash)

    def _destroy_in_place(self, group: str, name: str) -> None:
        for kind in (SNAPSHOTS, DATASETS):
            with contextlib.suppress(FileNotFoundError), self.directory(kind, group) as parent:
                _remove(parent, name)
                os.fsync(parent)

    def destroy_snapshot(self, snapshot: Snapshot) -> None:
        """Take a snapshot away in place: a read-only subvolume cannot move to another directory."""
        group, dataset, name = snapshot_parts(snapshot)
        with (
            contextlib.suppress(FileNotFoundError),
            self._working(),
            self.directory(SNAPSHOTS, group, dataset) as parent,
        ):
            with self.directory(SNAPSHOTS, group, dataset, name) as fd:
                identity = _subvolume_id(fd)
            try:
                btrfs.destroy_subvolume(parent, identity)
            except PermissionError as error:
                raise Conflict(
                    f"snapshot '{snapshot}' is being sent", hint="wait until that is done"
                ) from error
            os.fsync(parent)

    def _discard(self, kind: str, group: str, name: str, entry: str) -> None:
        with (
            contextlib.suppress(FileNotFoundError),
            self.directory(kind, group) as source,
            self.directory(TRASH, entry) as target,
        ):
            os.rename(name, kind, src_dir_fd=source, dst_dir_fd=target)

    def _empty(self, parent: int, name: str) -> None:
        """Remove a directory of the trash with the subvolumes in it, or leave what cannot go yet."""
        try:
            _remove(parent, name)
        except OSError as error:
            _log.warning("left in the trash of %s: %s: %s", self.root, name, error.strerror)

    def make_incoming(self) -> Path:
        """A new directory for what is not yet a dataset; the trash takes it if nobody drops it."""
        entry = secrets.token_hex(8)
        with self._working(), self.directory(TRASH) as trash:
            os.mkdir(entry, _MODE, dir_fd=trash)
        return self.root / TRASH / entry

    def drop_incoming(self, incoming: Path) -> None:
        with self._working(), self.directory(TRASH) as trash:
            self._empty(trash, incoming.name)

    def adopt(self, incoming: Path, dataset: str) -> None:
        """Make a dataset of the one subvolume in ``incoming``.

        Raises:
            InvalidInput: there is none, or more than one.
        """
        parts = (TRASH, incoming.name)
        found = self._subvolumes(*parts)
        if len(found) != 1:
            raise InvalidInput(
                f"the stream for dataset '{dataset}' has {len(found)} subvolumes, not one"
            )
        with self.subvolume(f"subvolume '{found[0]}'", *parts, found[0]) as source:
            self.clone(source, dataset)

    def drop_temporary(self, source: int, name: str) -> None:
        """Destroy the read-only subvolume ``name`` that lies directly in ``source``."""
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(name, _OPEN, dir_fd=source)
            try:
                btrfs.destroy_subvolume(source, _subvolume_id(fd))
            finally:
                os.close(fd)

    def exists(self, dataset: str) -> bool:
        try:
            self.check(dataset)
        except NotFound:
            return False
        return True

    def check(self, dataset: str) -> None:
        """Raise ``NotFound`` unless the dataset is there."""
        with self.dataset(dataset):
            pass

    def check_free(self, dataset: str) -> None:
        """Raise ``Conflict`` unless the name is free."""
        if self.exists(dataset):
            raise taken(f"dataset '{dataset}'")

    def created(self, snapshot: Snapshot) -> float:
        """When the snapshot was taken, in seconds since the epoch."""
        with self.snapshot(snapshot) as fd:
            return btrfs.subvolume_info(fd).created

    def free(self) -> int:
        """Bytes that the file system has left."""
        found = os.fstatvfs(self.fd)
        return found.f_bavail * found.f_frsize

    def shares(self, fd: int) -> bool:
        """Whether ``fd`` lies in the pool's file system."""
        return btrfs.filesystem_id(fd) == btrfs.filesystem_id(self.fd)

    def datasets(self) -> list[str]:
        with self.directory(DATASETS) as top:
            groups = _listing(top)
        return sorted(
            f"{group}/{name}" for group in groups for name in self._subvolumes(DATASETS, group)
        )

    def snapshots(self, dataset: str) -> list[str]:
        with self.dataset(dataset):
            return sorted(self._subvolumes(SNAPSHOTS, *dataset_parts(dataset)))

    def _subvolumes(self, *parts: str) -> list[str]:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self.directory(*parts) as fd,
        ):
            return [name for name in _listing(fd) if _is_subvolume(fd, name)]
        return []

    @contextlib.contextmanager
    def _making(self, subject: str) -> Iterator[None]:
        try:
            with self._working():
                yield
        except FileExistsError as error:
            raise taken(subject) from error

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Turn what the kernel says about the pool as a whole into the words for it."""
        try:
            yield
        except OSError as error:
            raise self.told(error) or error from error

    def told(self, error: OSError) -> KleeneError | None:
        """The error in the user's words, if it is about the pool: full, read-only or broken."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return pool_full(self.root)
        if error.errno in (errno.EROFS, errno.EIO):
            return HostUnavailable(
                f"storage pool '{self.root}' is not writable: {error.strerror}",
                hint="the kernel's log says why: dmesg | grep -i btrfs",
            )
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return InvalidInput(
                f"storage pool '{self.root}' has something in it that is not Kleene's"
            )
        return None


def lies_on_btrfs(path: Path) -> bool:
    """Whether ``path``, or where it would be made, lies on a btrfs."""
    while not path.exists():
        path = path.parent
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        btrfs.filesystem_id(fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def open_foreign(source: str) -> int:
    """A descriptor of a subvolume that is not Kleene's.

    Raises:
        InvalidInput: not an absolute path, or not the root of a subvolume.
        NotFound: nothing is there.
    """
    if not source.startswith("/") or "\0" in source:
        raise InvalidInput(
            f"source '{source}' is not an absolute path", hint="write /PATH/OF/SUBVOLUME"
        )
    try:
        fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise missing(f"subvolume '{source}'") from error
    except OSError as error:
        raise InvalidInput(f"source '{source}' cannot be read: {error.strerror}") from error
    try:
        btrfs.subvolume_info(fd)
        if os.fstat(fd).st_ino == btrfs.FIRST_INODE:
            return fd
    except OSError:
        pass
    os.close(fd)
    raise InvalidInput(
        f"source '{source}' is not a btrfs subvolume", hint="list them: btrfs subvolume list -a /"
    )


def _mkdir(parent: int, name: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=parent)


def _listing(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries]


def _is_subvolume(parent: int, name: str) -> bool:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode) and found.st_ino == btrfs.FIRST_INODE


def _subvolume_id(fd: int) -> int:
    return btrfs.subvolume_info(fd).id


def _remove(parent: int, name: str) -> None:
    """Remove a directory that holds directories and subvolumes only, or a subvolume, with all in it."""
    subvolume = _is_subvolume(parent, name)
    fd = os.open(name, _OPEN, dir_fd=parent)
    try:
        if subvolume:
            _remove_nested(fd, _subvolume_id(fd))
            return
        for child in _listing(fd):
            _remove(fd, child)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _remove_nested(fd: int, identity: int) -> None:
    """Destroy a subvolume after all those that a container made in it, the innermost first."""
    order = [identity]
    for found in order:
        order += btrfs.nested_subvolumes(fd, found)
    for found in reversed(order):
        btrfs.destroy_subvolume(fd, found)
