"""What a build is given beside its context, by a name: directories, and images of this daemon."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from kleene.build.context import Context
from kleene.build.digests import FileDigests
from kleene.build.events import Emit
from kleene.build.stages import SCRATCH, Named, context_name
from kleene.contexts.kinds import is_remote
from kleene.dockerfile.document import Given
from kleene.dockerfile.excerpt import quoted
from kleene.engine.contexts import Contexts
from kleene.errors import InvalidInput
from kleene.names import ImageReference, parse_image_reference
from kleene.schemas.images import ImageBuildConfig, NamedContext

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_IMAGE = ("docker-image://", "container-image://")  # as docker and as podman write it


def named(config: ImageBuildConfig) -> Named:
    """What the names mean to the plan.

    Raises:
        InvalidInput: a name or what it stands for cannot be used, or a name stands for two things.
    """
    found: dict[str, ImageReference | None] = {}
    for name, given in config.contexts.items():
        if _NAME.fullmatch(name) is None:
            raise InvalidInput(
                f"{quoted(name)} cannot be the name of a build context",
                hint="use letters, digits and . _ - / : as in an image's name",
            )
        if context_name(name) == str(SCRATCH):
            raise InvalidInput(
                "'scratch' cannot be the name of a build context: it is the empty file system",
                hint="choose another name, and write that after FROM",
            )
        if context_name(name) in found:
            raise InvalidInput(
                f"there are two build contexts called {quoted(context_name(name))}",
                hint="leave one out: neither case nor ':latest' tells them apart",
            )
        found[context_name(name)] = _image(name, given)
    return found


def _image(name: str, given: NamedContext) -> ImageReference | None:
    text = given.context
    for scheme in _IMAGE:
        if text.startswith(scheme):
            return parse_image_reference(text.removeprefix(scheme))
    if "://" in text and not is_remote(text):
        raise InvalidInput(
            f"build context {quoted(name)} is of a kind that Kleene does not know: {quoted(text)}",
            hint="give a directory, the URL of a tar archive or a git repository, or docker-image://IMAGE",
        )
    if not text and not given.upload:
        raise InvalidInput(
            f"build context {quoted(name)} is nothing", hint="write NAME=PATH, or NAME=URL"
        )
    return None


async def opened(
    stack: contextlib.AsyncExitStack,
    contexts: Contexts,
    config: ImageBuildConfig,
    wanted: Iterable[Given],
    digests: FileDigests,
    emit: Emit,
) -> Mapping[str, Context]:
    """Those that a plan has stages of, by :func:`context_name`; for as long as ``stack`` lasts.

    Raises:
        KleeneError: one cannot be had.
    """
    configs = {context_name(name): given for name, given in config.contexts.items()}
    found = {}
    for given in wanted:
        what = configs[given.name]
        # Its Dockerfile, if it has one, is a file like any other.
        asked = msgspec.structs.replace(
            config,
            context=what.context,
            upload=what.upload,
            dockerfile="",
            dockerfile_content=None,
        )
        place = await stack.enter_async_context(contexts.opened(asked, emit))
        if place.dockerfile is not None:
            raise InvalidInput(
                f"build context {quoted(given.name)} is no tar archive: '{place.name}'",
                hint="give the URL of a .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2",
            )
        context = await asyncio.to_thread(Context.open, place.path, dockerfile="", digests=digests)
        stack.callback(context.close)
        context.path = place.name
        found[given.name] = context
    return found
