"""Mounts that a container has for one build step: put into its mount namespace, and taken away untraced.

A mount is made on the host, in no namespace, and moved into the container's by a thread that enters it for
that moment. The target is a path of the container's, resolved inside its root. What was made to mount on is
removed afterwards, and the directory above gets its time back, so that nothing of it is in the snapshot.
Owns the mounts of one step, as long as :func:`mounted` lasts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kleene.errors import HostUnavailable, InvalidInput, KleeneError
from kleene.host import inroot, mountapi, oserrors
from kleene.runtime.driver import StepMount

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True)
class _Container:
    """Descriptors of its root and its mount namespace, and of the host's ``/proc``."""

    root: int
    namespace: int
    proc: int


@contextlib.contextmanager
def mounted(pid: int, mounts: Sequence[StepMount]) -> Iterator[None]:
    """Have the mounts in a container as long as the block lasts. Blocks for some milliseconds at most.

    Args:
        pid: of the container's init.

    Raises:
        InvalidInput: a target cannot be mounted on.
        HostUnavailable: the kernel refuses.
    """
    with contextlib.ExitStack() as undo:
        container = _Container(
            _opened(undo, f"/proc/{pid}/root", inroot.O_PATH | os.O_DIRECTORY),
            _opened(undo, f"/proc/{pid}/ns/mnt", os.O_RDONLY),
            _opened(undo, "/proc", inroot.O_PATH | os.O_DIRECTORY),
        )
        for mount in mounts:
            try:
                _mount(container, mount, undo)
            except OSError as error:
                raise _explained(mount, error) from error
        yield


def _opened(undo: contextlib.ExitStack, path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd


def _mount(container: _Container, mount: StepMount, undo: contextlib.ExitStack) -> None:
    tree = _make(mount)
    undo.callback(os.close, tree)
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    made = _MountPoint(container.root, mount.destination)
    undo.callback(made.remove)
    target = made.make(is_directory)
    try:
        _inside(container, lambda: mountapi.attach(tree, target))
    finally:
        os.close(target)
    undo.callback(_inside, container, lambda: _detach(tree, container.proc))


def _inside(container: _Container, work: Callable[[], None]) -> None:
    def entered() -> None:
        mountapi.enter(container.namespace)
        work()

    mountapi.in_own_thread(entered)


def _detach(tree: int, proc: int) -> None:
    with contextlib.suppress(OSError):  # EINVAL: the command has taken it away itself
        mountapi.detach(tree, proc)


def _make(mount: StepMount) -> int:
    """The mount, in no namespace yet."""
    if mount.content is not None:
        content, look = mount.content, (mount.mode, mount.uid, mount.gid)
        return mountapi.in_own_thread(
            lambda: mountapi.memory_file(content, *look, read_only=mount.read_only)
        )
    if mount.source is None:
        size = {"size": str(mount.size)} if mount.size else {}
        return mountapi.memory({"mode": "1777", **size})
    fd = inroot.open_in_root(mount.source, mount.path, inroot.O_PATH)
    try:
        return mountapi.clone(fd, read_only=mount.read_only)
    finally:
        os.close(fd)


class _MountPoint:
    """What is mounted on, made with its parents where it is missing."""

    def __init__(self, root: int, path: str) -> None:
        self._root = root
        self._path = path
        self._made: list[tuple[int, str, bool]] = []
        self._above: tuple[int, int, int] | None = None  # the directory, its times before
        self._changed = 0  # and its time after

    def make(self, is_directory: bool) -> int:
        """A descriptor of it, ``O_PATH``."""
        self._remember_above()
        parent = inroot.split(self._path)[0]
        for path in inroot.make_dirs(self._root, self._path if is_directory else parent):
            self._add(path, True)
        if not is_directory and not inroot.exists(self._root, self._path):
            if _is_link(
                self._root, self._path
            ):  # what takes its place would not be it again afterwards
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._path)
            inroot.write_file(self._root, self._path, b"", 0o000)
            self._add(self._path, False)
        if self._above is not None:
            self._changed = os.fstat(self._above[0]).st_mtime_ns
        return inroot.open_in_root(self._root, self._path, inroot.O_PATH)

    def _remember_above(self) -> None:
        """The directory that the first thing to be made will be made in."""
        path = self._path
        while path != "/":
            path = path.rpartition("/")[0] or "/"
            with contextlib.suppress(OSError):
                fd = inroot.open_in_root(self._root, path, _DIRECTORY)
                status = os.fstat(fd)
                self._above = fd, status.st_atime_ns, status.st_mtime_ns
                return

    def _add(self, path: str, is_directory: bool) -> None:
        parent, name = inroot.split(path)
        self._made.append((inroot.open_in_root(self._root, parent, _DIRECTORY), name, is_directory))

    def remove(self) -> None:
        """Take away what was made, if nothing was put there, and give what is above its time back."""
        changed = -1 if self._above is None else os.fstat(self._above[0]).st_mtime_ns
        removed = False
        for parent, name, is_directory in reversed(self._made):
            removed |= _removed(parent, name, is_directory)
            os.close(parent)
        if self._above is None:
            return
        fd, accessed, modified = self._above
        if removed:
            os.utime(fd, ns=(accessed, modified if changed == self._changed else changed))
        os.close(fd)


def _is_link(root: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISLNK(inroot.stat(root, path, follow=False).st_mode)
    return False


def _removed(parent: int, name: str, is_directory: bool) -> bool:
    try:
        if is_directory:
            os.rmdir(name, dir_fd=parent)
        elif os.stat(name, dir_fd=parent, follow_symlinks=False).st_size == 0:
            os.unlink(name, dir_fd=parent)
        else:
            return False
    except OSError:
        return False
    return True


def _explained(mount: StepMount, error: OSError) -> KleeneError:
    told = f"'{mount.destination}' cannot be mounted on"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return InvalidInput(
            f"{told}: there is a file where a directory is mounted, or the other way round, or a link that"
            " leads nowhere",
            hint="choose another target",
        )
    if error.errno == errno.EROFS:
        return InvalidInput(
            f"{told}: it is missing, and lies in a read-only mount",
            hint="make it there before, or write rw in the mount above it",
        )
    if error.errno in (errno.EPERM, errno.ENOSYS):
        return HostUnavailable(
            f"{told}: {error.strerror}", hint="run Kleene on Linux 5.12 or later"
        )
    return oserrors.explain(error, told)
