"""What an ``OSError`` of a file operation means to the user. Pure."""

from __future__ import annotations

import errno

from kleene.errors import HostUnavailable, InvalidInput, KleeneError

_BAD_INPUT = {
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "look for a symbolic link that leads to itself",
    errno.ENOTDIR: "a part of the path is a file: use another path",
    errno.EISDIR: "name a file",
    errno.EINVAL: "name a regular file",
    errno.EFBIG: "make it smaller",
    errno.ENOTEMPTY: "a directory of this name has something in it: remove it, or use another name",
}
_OF_THE_HOST = {
    errno.EROFS: "make it writable, or use another place",
    errno.EIO: "the kernel's log says why: dmesg",
    errno.EACCES: "let root read and write it",
    errno.EPERM: "let root read and write it",
}
"""What to do, by what is wrong."""


def no_space(failed: str) -> HostUnavailable:
    """The error for a full file system; ``failed`` says what could not be done."""
    return HostUnavailable(
        f"{failed}: no space left",
        hint="remove what is not needed: klee image prune -a, klee container prune",
    )


def explain(error: OSError, failed: str) -> KleeneError:
    """The error to show for ``error``; ``failed`` says what could not be done, its subject quoted."""
    if error.errno == errno.ENOSPC:
        return no_space(failed)
    if error.errno == errno.EDQUOT:
        return HostUnavailable(
            f"{failed}: the quota is used up",
            hint="allow more: klee volume update --quota SIZE NAME",
        )
    reason = (error.strerror or str(error)).lower()
    if (hint := _BAD_INPUT.get(error.errno or 0)) is not None:
        return InvalidInput(f"{failed}: {reason}", hint=hint)
    return HostUnavailable(f"{failed}: {reason}", hint=_OF_THE_HOST.get(error.errno or 0))
