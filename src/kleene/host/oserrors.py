"""What an ``OSError`` of a file operation means to the user. Pure."""

from __future__ import annotations

import errno

from kleene.errors import HostUnavailable, InvalidInput, KleeneError

_BAD_INPUT = (
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EINVAL,
    errno.EFBIG,
)


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
    if error.errno in _BAD_INPUT:
        return InvalidInput(f"{failed}: {reason}")
    return HostUnavailable(f"{failed}: {reason}")
