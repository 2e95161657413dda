"""Sources of ADD that are not in the context. Pure."""

from __future__ import annotations

import re
import urllib.parse

from kleene.build.steps import Url
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.words import Word
from kleene.errors import InvalidInput
from kleene.host.giturl import GitUrl, is_git, parse

CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


def repository(word: Word, text: str) -> GitUrl | None:
    """The git repository that a source is; ``None`` if it is something else.

    Raises:
        DockerfileError: nothing can be fetched from there.
    """
    if not is_git(text):
        return None
    try:
        return parse(text)
    except InvalidInput as error:
        raise word.error(error.message, error.hint) from None


def remote(word: Word, text: str) -> Url | None:
    """The URL that a source is; ``None`` if it is a path in the context.

    Raises:
        DockerfileError: nothing can be fetched from there.
    """
    if not text.lower().startswith(("http://", "https://")):
        return None
    try:
        parts = urllib.parse.urlsplit(text)
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise word.error(f"{quoted(text)} is not a URL", "write https://HOST/PATH")
    name = urllib.parse.unquote(parts.path.rpartition("/")[2])
    return Url(text, "" if name in (".", "..") or "/" in name or "\0" in name else name)
