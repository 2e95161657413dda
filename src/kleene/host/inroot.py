"""Paths inside a root directory that may be hostile, such as a container's file system, from the host's side.

Every path is resolved by the kernel, with the root directory as ``/`` (openat2(2), ``RESOLVE_IN_ROOT``):
absolute symbolic links and ``..`` stay inside, whatever changes in the tree at the same time. What is
opened here belongs to the caller. Nothing is kept between two calls.

FreeBSD has no such resolution; there every function raises ``HostUnavailable``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat as stat_module
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kleene.errors import HostUnavailable
from kleene.host import removal

Root = Path | str | int
"""A root directory: its path on the host, or an open file descriptor of it."""

DEFAULT_LIMIT = 16 * 1024 * 1024
"""Bytes of the largest file that :func:`read_file` reads unless told."""

if sys.platform == "linux":
    O_PATH = os.O_PATH
else:
    O_PATH = 0

# linux/openat2.h
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE_IN_ROOT = 0x10
_SYS_OPENAT2 = 437  # the same number on every architecture but alpha

_MAX_LINKS = 40  # path_resolution(7)
_RETRIES = 100  # openat2(2) gives EAGAIN when a rename elsewhere disturbs the check of a ".."


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)
_HOW_SIZE = ctypes.sizeof(_OpenHow)


def open_in_root(root: Root, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process with ``root`` as its root directory would; close-on-exec.

    A directory is opened with ``flags`` like any other file; ``mode`` goes with ``O_CREAT`` only.

    Raises:
        OSError: as open(2).
    """
    with root_fd(root) as fd:
        return _openat2(fd, path, flags, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_beneath(root: Root, path: str, flags: int) -> int:
    """Open the relative ``path`` below ``root``, following links only while they stay below it.

    Raises:
        OSError: as open(2); ``EXDEV`` if the path, or a link in it, leads out of ``root`` or is absolute.
    """
    with root_fd(root) as fd:
        return _openat2(fd, path, flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)


def open_without_links(root: Root, path: str, flags: int) -> int:
    """Open the relative ``path`` below ``root`` where no link is expected; ``""`` is ``root`` itself.

    Raises:
        OSError: as open(2); ``ELOOP`` if a component is a link, ``EXDEV`` if the path leads out.
    """
    with root_fd(root) as fd:
        return _openat2(fd, path, flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)


@contextlib.contextmanager
def root_fd(root: Root) -> Iterator[int]:
    """``root`` as a file descriptor that lasts as long as the block.

    Raises:
        OSError: there is no such directory.
    """
    if isinstance(root, int):
        yield root
        return
    fd = os.open(root, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def stat(root: Root, path: str, *, follow: bool = True) -> os.stat_result:
    """What is at ``path``; of a last component that is a link, the link itself unless ``follow``.

    Raises:
        OSError: as open(2).
    """
    fd = open_in_root(root, path, O_PATH | (0 if follow else os.O_NOFOLLOW))
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def exists(root: Root, path: str) -> bool:
    """Whether ``path``, links followed, is there."""
    try:
        stat(root, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def read_file(root: Root, path: str, limit: int = DEFAULT_LIMIT) -> bytes:
    """The whole content of a regular file.

    Raises:
        OSError: as open(2); ``EINVAL``: no regular file; ``EFBIG``: more than ``limit`` bytes.
    """
    fd = open_in_root(root, path, O_PATH)
    try:
        return read_opened(fd, path, limit)
    finally:
        os.close(fd)


def read_opened(fd: int, path: str, limit: int = DEFAULT_LIMIT) -> bytes:
    """The whole content of the regular file that ``fd`` was opened on with ``O_PATH``.

    Raises:
        OSError: see :func:`read_file`.
    """
    # Opening a named pipe would block and opening a device may act: look first, then open what was looked at.
    if not stat_module.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    with open(f"/proc/self/fd/{fd}", "rb") as file:  # noqa: PTH123 - a magic link, not a path
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    return data


def write_file(
    root: Root, path: str, data: bytes, mode: int = 0o644, *, uid: int = 0, gid: int = 0
) -> None:
    """Put a regular file at ``path``, whole or not at all. What was there, also a link, is replaced.

    Raises:
        OSError: as open(2) and rename(2); the parent directory must exist.
    """
    parent, name = split(path)
    directory = open_in_root(root, parent, O_PATH | os.O_DIRECTORY)
    temporary = f".kleene-{secrets.token_hex(6)}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
                file.flush()
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
    finally:
        os.close(directory)


def remove_file(root: Root, path: str) -> None:
    """Take away what is at ``path``, also a link, but no directory; it need not be there.

    Raises:
        OSError: as open(2) and unlink(2).
    """
    parent, name = split(path)
    try:
        directory = open_in_root(root, parent, O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def remove_tree(root: Root, path: str) -> None:
    """Take away what is at ``path``, also a link or a directory with all in it; it need not be there.

    Raises:
        OSError: as open(2), unlink(2) and rmdir(2).
    """
    parent, name = split(path)
    with contextlib.suppress(FileNotFoundError):
        directory = open_in_root(root, parent, O_PATH | os.O_DIRECTORY)
        try:
            removal.remove_at(directory, name)
        finally:
            os.close(directory)


def touch(root: Root, path: str, mtime: int) -> None:
    """Set the time, in nanoseconds, of what is at ``path``; of a link, its own.

    Raises:
        OSError: as open(2) and utimensat(2).
    """
    parent, name = split(path)
    directory = open_in_root(root, parent, O_PATH | os.O_DIRECTORY)
    try:
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(directory)


def remove_empty(root: Path, path: str) -> None:
    """Remove what is at ``path`` if it is a directory or a regular file without anything in it.

    Raises:
        OSError: there is nothing, or a directory is not empty.
    """
    fd = open_in_root(root, path, O_PATH)
    try:
        status = os.fstat(fd)
        where = Path(f"/proc/self/fd/{fd}").readlink()
    finally:
        os.close(fd)
    if not where.is_relative_to(root.resolve()):
        return
    if stat_module.S_ISDIR(status.st_mode):
        where.rmdir()
    elif stat_module.S_ISREG(status.st_mode) and status.st_size == 0:
        where.unlink()


def chmod_fifo(directory: int, name: str, mode: int) -> None:
    """Set the permission bits of a named pipe, or do nothing if something else has the name by now.

    Raises:
        OSError: as open(2), chmod(2).
    """
    # Whoever else writes to the directory may have put a link there: chmod(2) would follow it.
    fd = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if stat_module.S_ISFIFO(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - a magic link
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Replaced:
    """What a directory took the place of; ``target``: where it led if it was a symbolic link."""

    path: str
    target: str | None


def make_dir_over(directory: int, name: str, path: str) -> Replaced | None:
    """Make a directory in an open one. What else has the name is taken away, but no directory.

    Args:
        path: for what is returned: where it is.

    Returns:
        What was taken away.

    Raises:
        OSError: as mkdir(2), unlink(2).
    """
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
        return None
    except FileExistsError:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat_module.S_ISDIR(there.st_mode):
        return None
    target = _link_target(directory, name)
    os.unlink(name, dir_fd=directory)
    os.mkdir(name, 0o700, dir_fd=directory)
    return Replaced(path, target or None)


def list_dir(root: Root, path: str) -> list[str]:
    """Names in the directory ``path``, sorted; none if there is no such directory.

    Raises:
        OSError: as open(2).
    """
    try:
        directory = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - by descriptor
    finally:
        os.close(directory)


def make_dirs(root: Root, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> list[str]:
    """Make the directory ``path`` with its parents; directories that are there are left as they are.

    A link on the way is followed; where it points to nothing, its target is made.

    Returns:
        What was made, parents first, as absolute paths inside the root.

    Raises:
        OSError: as mkdir(2); ``ENOTDIR`` if something on the way is not a directory.
    """
    with root_fd(root) as fd:
        return [] if _is_dir(fd, path) else _make_missing(fd, path, mode, uid, gid)


def split(path: str) -> tuple[str, str]:
    """Parent and name of the last component of ``path``; the name is never ``.`` or ``..``.

    Raises:
        OSError: ``EINVAL``: the path names a directory by ``/``, ``.`` or ``..``.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not the name of a file", path)
    return parent or ("/" if path.startswith("/") else "."), name


def _make_missing(root: int, path: str, mode: int, uid: int, gid: int) -> list[str]:
    created: list[str] = []
    done, names = _deepest(root, path)
    links = 0
    while names:
        name = names.pop(0)
        if _is_dir(root, f"{done}/{name}"):
            done = f"{done}/{name}"
            continue
        parent = _openat2(root, f"{done}/", O_PATH | os.O_DIRECTORY, 0, _RESOLVE_IN_ROOT)
        try:
            if _make_dir(parent, name, mode, uid, gid):
                done = f"{done}/{name}"
                created.append(done)
                continue
            target = _link_target(parent, name)
        finally:
            os.close(parent)
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        names = _components(target or name) + names
        done = "" if target.startswith("/") else done
    return created


def _deepest(root: int, path: str) -> tuple[str, list[str]]:
    """The longest beginning of a path that is there, and the names after it."""
    names = _components(path)
    for end in range(len(names) - 1, 0, -1):
        above = "".join(f"/{name}" for name in names[:end])
        if _is_dir(root, above):
            return above, names[end:]
    return "", names


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _is_dir(root: int, path: str) -> bool:
    """Whether the directory is there. Raises ``ENOTDIR`` where something else is."""
    try:
        os.close(_openat2(root, path, O_PATH | os.O_DIRECTORY, 0, _RESOLVE_IN_ROOT))
    except FileNotFoundError:
        return False
    return True


def _make_dir(parent: int, name: str, mode: int, uid: int, gid: int) -> bool:
    """Make one directory; false if the name is taken, by a link to nothing or by someone just now."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return True


def _link_target(parent: int, name: str) -> str:
    """Where the link ``name`` points to; empty if it is no link."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return ""
        raise


if sys.platform == "linux":

    def _openat2(fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
        name = os.fsencode(path)
        if b"\0" in name:
            raise OSError(errno.EINVAL, "null byte in path", path)
        how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
        for _ in range(_RETRIES):
            opened: int = _syscall(_SYS_OPENAT2, fd, name or b".", how, _HOW_SIZE)
            if opened >= 0:
                return opened
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                break
        if number == errno.ENOSYS:
            raise HostUnavailable(
                "the kernel has no openat2(2)", hint="run Kleene on Linux 5.6 or later"
            )
        raise OSError(number, os.strerror(number), path)

else:

    def _openat2(fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
        raise HostUnavailable(f"paths inside a root cannot be opened safely on {sys.platform}")
