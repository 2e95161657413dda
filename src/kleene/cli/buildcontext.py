"""What ``klee build`` builds from: a directory, standard input, or what the daemon fetches.

A daemon on this host reads a directory in place. One that is reached over a network gets what it lacks of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from kleene.cli.command import UsageError
from kleene.contexts.kinds import ENOUGH, is_archive, is_remote
from kleene.errors import InvalidInput, KleeneError, NotFound

if TYPE_CHECKING:
    from kleene.client.contextscan import Tell
    from kleene.client.operations import JsonClient

STDIN = "-"
_DOCKERFILE_LIMIT = 700_000
"""Bytes of a Dockerfile that is sent with the request: a message holds 1 MiB, in which it is base64."""


class BuildContext(NamedTuple):
    """What to build from.

    Attributes:
        config: the fields of ``ImageBuildConfig`` that say so.
        send: brings to the daemon what it needs, and gives the id of what it made of that.
    """

    config: dict[str, Any]
    send: Callable[[JsonClient, Tell], str] | None = None


def choose_context(path: str, dockerfile: str, *, upload: bool) -> BuildContext:
    """What the arguments of ``build`` mean.

    Args:
        path: a directory, ``-`` or a URL.
        dockerfile: as ``-f`` names it: in the context, beside it, or ``-``.
        upload: whether a directory is sent.

    Raises:
        UsageError: both are standard input, or no directory is named.
        InvalidInput, NotFound: there is no Dockerfile where it should be.
    """
    if not path:
        raise UsageError(
            "the PATH of the build context is empty",
            click.get_current_context(silent=True),
            "is a shell variable not set? the working directory is '.'",
        )
    if path == STDIN:
        return _from_stdin(dockerfile)
    if is_remote(path):
        return BuildContext({"context": path, **_dockerfile(dockerfile)})
    directory = os.path.abspath(path)  # noqa: PTH100 - pathlib is dear
    fields = _beside(directory, dockerfile)
    if not upload:
        return BuildContext({"context": directory, **fields})

    def send(client: JsonClient, tell: Tell) -> str:
        return _send_directory(client, directory, fields["dockerfile"], tell)

    return BuildContext({"context": "", **fields}, send)


def choose_named_contexts(texts: Sequence[str], *, upload: bool) -> dict[str, BuildContext]:
    """What the ``NAME=VALUE`` of ``--build-context`` mean; of ``config``, the fields of ``NamedContext``.

    Raises:
        UsageError: one cannot be understood.
    """
    found: dict[str, BuildContext] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value or value == STDIN:
            raise UsageError(
                f"'--build-context {text}' cannot be understood",
                click.get_current_context(silent=True),
                "write NAME=PATH, NAME=URL or NAME=docker-image://IMAGE",
            )
        found[name] = _named(value, upload=upload)
    return found


def _named(value: str, *, upload: bool) -> BuildContext:
    if "://" in value or is_remote(value):
        return BuildContext({"context": value})
    directory = os.path.abspath(value)  # noqa: PTH100
    if not upload:
        return BuildContext({"context": directory})

    def send(client: JsonClient, tell: Tell) -> str:
        return _send_directory(client, directory, "", tell)

    return BuildContext({}, send)


def _from_stdin(dockerfile: str) -> BuildContext:
    if dockerfile == STDIN:
        raise UsageError(
            "the Dockerfile and the context cannot both be standard input",
            click.get_current_context(silent=True),
            "klee build - < Dockerfile, or klee build -f - PATH < Dockerfile",
        )
    source = _stdin("klee build - < context.tar.gz")
    head = _read(source, ENOUGH)
    if not head:
        raise InvalidInput(
            "standard input is empty",
            hint="klee build - < context.tar.gz, or klee build - < Dockerfile",
        )
    if not is_archive(head):
        return BuildContext({"context": "", **_given(head + _limited(source), "Dockerfile")})

    def send(client: JsonClient, tell: Tell) -> str:
        from kleene.client.upload import upload_archive

        return upload_archive(client.contexts, source, head, tell)

    return BuildContext({"context": "", "dockerfile": dockerfile}, send)


def _send_directory(client: JsonClient, directory: str, dockerfile: str, tell: Tell) -> str:
    from kleene.client.contextscan import scan
    from kleene.client.upload import upload

    scanned = scan(directory, dockerfile, tell)
    return upload(client.contexts, scanned, tell)


def _beside(directory: str, dockerfile: str) -> dict[str, Any]:
    """Where the Dockerfile of a directory is: in it, or given with the request if it is elsewhere.

    A path counts from the context; if there is nothing, from the present directory, as in Docker.
    """
    if dockerfile == STDIN:
        return _dockerfile(dockerfile)
    absolute = os.path.normpath(os.path.join(directory, dockerfile))  # noqa: PTH118
    if not os.path.lexists(absolute):
        here = os.path.abspath(dockerfile)  # noqa: PTH100
        if not os.path.isfile(here):  # noqa: PTH113
            return {"dockerfile": dockerfile}  # the daemon says what is like it
        absolute = here
    inside = absolute.removeprefix(f"{directory.rstrip('/')}/")
    if inside != absolute:
        return {"dockerfile": inside}
    try:
        with open(absolute, "rb") as file:  # noqa: PTH123
            return _given(file.read(_DOCKERFILE_LIMIT + 1), os.path.basename(absolute))  # noqa: PTH119
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NotFound(f"Dockerfile '{dockerfile}' cannot be read: {reason}") from error


def _dockerfile(name: str) -> dict[str, Any]:
    if name != STDIN:
        return {"dockerfile": name}
    return _given(_limited(_stdin("klee build -f - PATH < Dockerfile")), "Dockerfile")


def _given(data: bytes, name: str) -> dict[str, Any]:
    """A Dockerfile that goes with the request."""
    if len(data) > _DOCKERFILE_LIMIT:
        raise InvalidInput(
            f"the Dockerfile is larger than {_DOCKERFILE_LIMIT} bytes",
            hint="put what it writes into files of the context, and COPY them",
        )
    from base64 import b64encode

    return {"dockerfile": name, "dockerfile_content": b64encode(data).decode()}


def _stdin(example: str) -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise KleeneError("standard input is a terminal", hint=example)
    return sys.stdin.buffer


def _limited(source: IO[bytes]) -> bytes:
    return _read(source, _DOCKERFILE_LIMIT + 1)


def _read(source: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
