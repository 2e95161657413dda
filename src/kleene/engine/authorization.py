"""What ADD and contexts log in with at servers: secrets of the build with the names that BuildKit looks for.

Pure. ``HTTP_AUTH_TOKEN_HOST`` and ``HTTP_AUTH_HEADER_HOST`` are for files, ``GIT_AUTH_TOKEN[.HOST]`` and
``GIT_AUTH_HEADER[.HOST]`` for repositories; a header goes before a token.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Mapping

from kleene.errors import InvalidInput


def for_file(url: str, secrets: Mapping[str, bytes]) -> str:
    """The value of the header ``Authorization`` for a URL; ``""`` for none.

    Raises:
        InvalidInput: the secret cannot be one.
    """
    parts = urllib.parse.urlsplit(url)
    for host in filter(None, (parts.netloc.rpartition("@")[2], parts.hostname)):
        if (header := _text(f"HTTP_AUTH_HEADER_{host}", secrets)) is not None:
            return header
        if (token := _text(f"HTTP_AUTH_TOKEN_{host}", secrets)) is not None:
            return f"Bearer {token}"
    return ""


def for_repositories(secrets: Mapping[str, bytes]) -> dict[str, str]:
    """The values of the header ``Authorization`` by host; ``""`` stands for all others.

    Raises:
        InvalidInput: a secret cannot be one.
    """
    found = {}
    for kind in ("GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"):
        for name in secrets:
            word, dot, host = name.partition(".")
            text = _text(name, secrets) if word == kind and bool(dot) == bool(host) else None
            if text is not None:
                found[host] = text if kind == "GIT_AUTH_HEADER" else f"Basic {_basic(text)}"
    return found


def _basic(token: str) -> str:
    return base64.b64encode(f"x-access-token:{token}".encode()).decode()


def _text(name: str, secrets: Mapping[str, bytes]) -> str | None:
    if name not in secrets:
        return None
    text = secrets[name].decode("latin-1").strip()
    if not text.isascii() or not text.isprintable():
        raise InvalidInput(
            f"secret '{name}' cannot be the value of a header",
            hint="give it as one line of ASCII characters",
        )
    return text
