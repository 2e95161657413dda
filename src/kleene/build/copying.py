"""What COPY and WORKDIR do to an image's file tree, through in-root opens. Owns nothing."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from kleene.build import modes
from kleene.build.events import Warned
from kleene.build.selection import Earlier, Selection
from kleene.build.steps import CopyStep, WorkdirStep
from kleene.dockerfile.excerpt import quoted, visible
from kleene.dockerfile.source import DockerfileWarning, Range, Source, picture
from kleene.errors import InvalidInput
from kleene.host import inroot, oserrors
from kleene.host.copytree import SPECIAL
from kleene.host.treewalk import Entry
from kleene.runtime import users

Owner = tuple[int, int]
Remark = inroot.Replaced | Entry | str
"""What is told of a copy: what a directory replaced, what cannot be copied and was left out, or a fact."""
_SHOWN = 10


def make_workdir(root: Path, step: WorkdirStep) -> None:
    """Make a directory that WORKDIR names, owned by the user of the step, if it is missing.

    It is root's if the image has no such user: only what is run needs one (as in BuildKit).

    Raises:
        InvalidInput: a file is in the way.
    """
    try:
        uid, gid = _owner(root, step.user)
    except InvalidInput:
        uid, gid = 0, 0
    make_directory(root, step.path, uid, gid)


async def copy(
    root: Path, step: CopyStep, selection: Selection, earlier: Earlier | None = None
) -> list[Remark]:
    """Carry out a COPY.

    Args:
        earlier: the root is a clone of what it has made before.

    Returns:
        What was replaced by directories, and what was left out.

    Raises:
        InvalidInput: the owner does not exist in the image, or a file is in the way.
        Conflict: the context changed since the selection.
        HostUnavailable: no space is left.
    """
    kept = step.origin is not None and step.chown is None
    before = earlier.before if earlier else root
    owner = await asyncio.to_thread(owner_of, before, step.chown or "")
    remarks: list[Remark] = []
    if step.sources:
        remarks += await selection.copy_into(
            root,
            step.destination,
            directory=step.into_directory,
            owner=None if kept else owner,
            mode=step.chmod,
            earlier=earlier,
        )
    if step.pivots and not selection.sources:  # with --parents, patterns without a match make it
        await asyncio.to_thread(make_directory, root, step.destination, *owner)
    if step.files:
        await asyncio.to_thread(_write_files, root, step, owner)
    return [*remarks, *(entry for taken in selection.sources for entry in taken.left_out)]


def warnings(source: Source, where: Range, remarks: Sequence[Remark]) -> Iterator[Warned]:
    """What is said of what COPY or ADD has replaced by directories, or left out."""
    for remark in remarks[:_SHOWN]:
        yield _warned(source, where, *_said(remark))
    if (more := len(remarks) - _SHOWN) > 0:
        yield _warned(source, where, f"{more} more files were replaced by directories or left out")


def _said(remark: Remark) -> tuple[str, str | None]:
    if isinstance(remark, str):
        return remark, None
    return _left_out(remark) if isinstance(remark, Entry) else _replaced(remark)


def _left_out(entry: Entry) -> tuple[str, str]:
    what = SPECIAL[stat.S_IFMT(entry.stat.st_mode)]
    return f"{quoted(entry.path)} is {what} and was left out", "name it in .dockerignore"


def _replaced(old: inroot.Replaced) -> tuple[str, str]:
    was, hint = "a file", "to keep it, choose another destination"
    if old.target is not None:
        was = f"a link to {quoted(old.target)}"
        hint = f"to copy to where it leads, name it as the destination: {visible(old.path)}/"
    return f"{quoted(old.path)} was {was}; a directory replaced it", hint


def _warned(source: Source, where: Range, text: str, hint: str | None = None) -> Warned:
    warning = DockerfileWarning(source, where, text, hint)
    # For programs: a line of the Dockerfile.
    start = (source.brought[1] if source.brought else where).start
    return Warned(
        str(warning),
        hint=hint,
        details=picture(source, where),
        line=start.line,
        column=start.column,
    )


def _owner(root: Path, user: str) -> Owner:
    identity = users.resolve(root, user)
    return identity.uid, identity.gid


def owner_of(root: Path, user: str) -> Owner:
    """Who ``--chown`` means. An id alone stands for the group too (Dockerfile reference, "COPY --chown")."""
    return _owner(root, f"{user}:{user}" if user.isdecimal() else user)


def make_directory(root: Path, path: str, uid: int = 0, gid: int = 0) -> None:
    """Make a directory with its parents, if it is missing."""
    try:
        inroot.make_dirs(root, path, 0o755, uid, gid)
    except NotADirectoryError as error:
        raise InvalidInput(
            f"'{path}' cannot be made in the image: a file is in the way",
            hint="remove it in a RUN before, or use another path",
        ) from error
    except OSError as error:
        raise oserrors.explain(error, f"'{path}' cannot be made in the image") from error


def _write_files(root: Path, step: CopyStep, owner: Owner) -> None:
    """The files that stand in the Dockerfile itself."""
    path = step.destination
    directory = step.into_directory or is_directory(root, path)
    # As for all that COPY makes, --chown counts for directories on the way too.
    make_directory(root, path if directory else path.rpartition("/")[0] or "/", *owner)
    mode = 0o644 if step.chmod is None else modes.applied(step.chmod, 0o100644)
    for file in step.files:
        target = f"{path.rstrip('/')}/{file.name}" if directory else path
        try:
            inroot.write_file(root, target, file.content.encode(), mode, uid=owner[0], gid=owner[1])
        except OSError as error:
            raise oserrors.explain(error, f"'{target}' cannot be written in the image") from error


def is_directory(root: Path, path: str) -> bool:
    """Whether there is a directory, or a link to one."""
    try:
        return inroot.stat(root, path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False
