"""``klee cp``: files and directories into containers and out of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import click

from kleene.cli.command import command
from kleene.cli.session import Session, pass_session
from kleene.client.operations import Containers

_CHUNK = 65536
_STREAM = "-"


class _Place(NamedTuple):
    """A path; ``container`` is ``None`` for one of this host."""

    container: str | None
    path: str


class _How(NamedTuple):
    """``owners``: keep them; ``follow``: copy what a link points to."""

    owners: bool
    follow: bool


@command(
    examples=(
        "klee cp web:/etc/nginx/nginx.conf .",
        "klee cp site/. web:/usr/share/nginx/html",
        "klee cp -L web:/etc/resolv.conf copy",
        "klee cp web:/var/log - | tar -t",
        "tar -c data | klee cp - web:/srv",
    )
)
@click.option(
    "--archive", "-a", is_flag=True, help="Keep owners, by number, and all bits of the modes."
)
@click.option("--follow-link", "-L", "follow", is_flag=True, help="Copy what SOURCE points to.")
@click.argument("source")
@click.argument("destination")
@pass_session
def cp(session: Session, source: str, destination: str, archive: bool, follow: bool) -> None:
    """Copy SOURCE to DESTINATION, one of which is CONTAINER:PATH; the container may run or not.

    If DESTINATION is a directory, the copy is put into it; if not, it is the copy's name. SOURCE/. means
    what is in the directory SOURCE. '-' is a tar stream on standard input or output. A link is copied as
    a link; devices and sockets are left out.
    """
    here, there = _parse(source), _parse(destination)
    how = _How(archive, follow)
    containers = session.client.containers
    if here.container is not None and there.container is None:
        _copy_out(containers, here.container, here.path, there.path, how)
    elif there.container is not None and here.container is None:
        _copy_in(containers, here.path, there.container, there.path, how)
    else:
        raise click.UsageError("one of SOURCE and DESTINATION must be CONTAINER:PATH")


def _parse(text: str) -> _Place:
    container, colon, path = text.partition(":")
    if not colon or container.startswith((".", "/")) or "/" in container:
        return _Place(None, text)
    return _Place(container, path if path.startswith("/") else f"/{path}")


def _copy_out(
    containers: Containers, container: str, path: str, destination: str, how: _How
) -> None:
    from kleene.client.attach import write_all
    from kleene.client.tarball import is_content, unpack

    if destination == _STREAM and sys.stdout.isatty():
        raise click.UsageError("a tar stream is not for a terminal: redirect the output")
    with closing(containers.read_archive(container, path, follow=how.follow)) as chunks:
        if destination != _STREAM:
            content = is_content(path) or not path.strip("/")
            unpack(chunks, destination, content=content, owners=how.owners)
            return
        for chunk in chunks:
            write_all(1, chunk)


def _copy_in(containers: Containers, source: str, container: str, path: str, how: _How) -> None:
    from kleene.client.tarball import is_content, pack

    if source == _STREAM:
        containers.write_archive(container, path, _standard_input())
        return
    name = "." if is_content(source) else os.path.basename(os.path.abspath(source))  # noqa: PTH100, PTH119
    if how.follow:
        source = os.path.realpath(source)
    directory = os.path.isdir(source) and (  # noqa: PTH112
        source.endswith("/") or not os.path.islink(source)  # noqa: PTH114
    )
    chunks = pack(source, name, owners=how.owners)
    containers.write_archive(container, path, chunks, name=name, directory=directory)


def _standard_input() -> Iterator[bytes]:
    while data := os.read(0, _CHUNK):
        yield data
