"""Whom a process runs as: a user's words, looked up in the container's own files.

The files belong to the container and may be hostile: they are opened inside its root, read up to a limit,
and lines that make no sense are passed over. Formats: passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kleene.errors import InvalidInput
from kleene.host import inroot

_FILE_LIMIT = 4 * 1024 * 1024
_HIGHEST_ID = 2**31 - 1  # Docker's limit; -1 is no user (credentials(7))


@dataclass(frozen=True)
class Identity:
    """Whom a process runs as.

    Attributes:
        groups: supplementary group ids.
        home: absolute path in the container.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


def resolve(root: inroot.Root, text: str, more: Sequence[str] = ()) -> Identity:
    """Look up ``NAME|UID[:GROUP|GID]``; empty is root. ``more`` are groups that it has besides.

    A user id needs no entry; it then has group 0 and ``/`` as its home. Supplementary groups are taken from
    the group file unless a group was asked for.

    Raises:
        InvalidInput: there is no such user or group in the container.
    """
    wanted, colon, group = text.partition(":")
    user = _find_user(root, wanted or "0", text)
    groups = {_find_group(root, each) for each in more}
    if colon:
        gid = _find_group(root, group, text)
        return Identity(user.uid, gid, tuple(sorted(groups - {gid})), user.home)
    groups |= {gid for _, gid, members in _groups(root) if user.name and user.name in members}
    return Identity(user.uid, user.gid, tuple(sorted(groups - {user.gid})), user.home)


def names(root: inroot.Root) -> dict[int, str]:
    """The container's names of its users, by their numbers; the first one counts."""
    found: dict[int, str] = {}
    for user in _users(root):
        found.setdefault(user.uid, user.name)
    return found


def _find_user(root: inroot.Root, wanted: str, text: str) -> _User:
    users = list(_users(root))
    for user in users:
        if user.name == wanted:
            return user
    number = _number(wanted)
    if number is not None:
        unnamed = _User("", number, 0, "/root" if number == 0 else "/")
        return next((u for u in users if u.uid == number), unnamed)
    if wanted == "root":
        return _User("root", 0, 0, "/root")
    raise InvalidInput(
        f"user '{text}' does not exist in the container",
        hint="name a user of the container's /etc/passwd, or a number",
    )


def _find_group(root: inroot.Root, wanted: str, user: str = "") -> int:
    for name, gid, _ in _groups(root):
        if name == wanted:
            return gid
    number = _number(wanted)
    if number is None:
        whose = f" of user '{user}'" if user else ""
        raise InvalidInput(
            f"group '{wanted}'{whose} does not exist in the container",
            hint="name a group of the container's /etc/group, or a number",
        )
    return number


def _users(root: inroot.Root) -> Iterator[_User]:
    for fields in _lines(root, "/etc/passwd", 7):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            home = fields[5] if fields[5].startswith("/") else "/"
            yield _User(fields[0], uid, gid, home)


def _groups(root: inroot.Root) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(root, "/etc/group", 4):
        gid = _number(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].split(",")


def _lines(root: inroot.Root, path: str, count: int) -> Iterator[list[str]]:
    """The entries of a file with exactly ``count`` fields; none if it cannot be read."""
    try:
        data = inroot.read_file(root, path, limit=_FILE_LIMIT)
    except OSError:
        return
    for line in data.decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) == count and fields[0]:
            yield fields


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return value if (value := int(text)) <= _HIGHEST_ID else None
