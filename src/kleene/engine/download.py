"""Reading an archive by its URL: ``file://``, ``http://`` or ``https://``. Blocking; for threads."""

from __future__ import annotations

import contextlib
import http.client
import os
import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime

from kleene.engine.apart import Pieces, read_apart
from kleene.engine.apt_sources import without_password
from kleene.errors import HostUnavailable, InvalidInput, KleeneError, NotFound
from kleene.host import oserrors
from kleene.host.decompress import Reader

TIMEOUT = 30.0
"""Seconds without an answer, or without a byte, after which a server is given up."""


@dataclass(frozen=True)
class Remote:
    """An open archive.

    Attributes:
        total: its size in bytes, ``None`` if that is not known.
        modified: when, in seconds since the epoch, as the server says; ``None`` if it does not.
    """

    name: str
    stream: Reader
    total: int | None
    modified: float | None = None


@contextlib.contextmanager
def open_url(url: str, check: Callable[[], None], *, authorization: str = "") -> Iterator[Remote]:
    """Open what is at ``url``, which may also be an absolute path, for as long as the block lasts.

    Reading from it raises ``KleeneError`` only.

    Args:
        check: called again and again while a server is waited for; what it raises ends the waiting.
        authorization: header of that name, for the server of the URL alone; ``""`` sends none.

    Raises:
        InvalidInput: a URL of another kind, or no regular file.
        NotFound: there is nothing.
        HostUnavailable: the server cannot be reached, or refuses.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise _unusable(url, str(error)) from error
    if parts.scheme in ("http", "https"):
        opening = _open_http(url, authorization, check)
    elif parts.scheme == "file" and parts.netloc in ("", "localhost"):
        opening = _open_file(urllib.parse.unquote(parts.path))
    elif url.startswith("/"):
        opening = _open_file(url)
    else:
        raise _unusable(url, "neither a file nor a server")
    with opening as remote:
        yield remote


@contextlib.contextmanager
def _open_file(path: str) -> Iterator[Remote]:
    try:
        # Without waiting for the other end of a named pipe, which is then refused.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        hint = "name an absolute path on the daemon's host: file:///PATH"
        raise NotFound(f"archive '{path}' does not exist", hint=hint) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise InvalidInput(
            f"archive '{path}' is not a regular file", hint="name the tar archive itself"
        )
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        yield Remote(path, _Checked(file, path, status.st_size), status.st_size)


@contextlib.contextmanager
def _open_http(url: str, authorization: str, check: Callable[[], None]) -> Iterator[Remote]:
    shown = without_password(url)
    with read_apart(lambda: _answer(url, authorization), check) as (headers, source):
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        modified = _modified(headers.get("Last-Modified", ""))
        yield Remote(shown, _Checked(source, shown, total), total, modified)


@contextlib.contextmanager
def _answer(url: str, authorization: str) -> Iterator[tuple[Message, Pieces]]:
    """The headers and the body of the server's answer."""
    shown = without_password(url)
    try:
        request = urllib.request.Request(url)
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(shown, error.code, error.reason) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(shown, error) from error
    with response:
        yield response.headers, response


def _modified(header: str) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS, with the proxies of the environment; a redirection leads to no other kind of URL."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "kleene"), ("Accept", "*/*")]
    return opener


class _Checked:
    """A source whose errors are the user's, and whose end must come where it was announced."""

    def __init__(self, source: Reader, name: str, total: int | None) -> None:
        self._source = source
        self._name = name
        self._left = total

    def read(self, size: int, /) -> bytes:
        try:
            data = self._source.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise _broken_off(self._name, str(error)) from error
        if self._left is not None:
            self._left -= len(data)
            if not data and size and self._left > 0:
                raise _broken_off(self._name, f"{self._left} bytes are missing")
        return data


def _unusable(url: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"'{url}' is not a URL that can be fetched: {reason.lower()}",
        hint="write file:///PATH, http://HOST/PATH or https://HOST/PATH",
    )


def _broken_off(name: str, reason: str) -> HostUnavailable:
    return HostUnavailable(f"reading '{name}' broke off: {reason.lower()}", hint="try again")


def _unreadable(path: str, error: OSError | ValueError) -> KleeneError:
    failed = f"archive '{path}' cannot be read"
    if isinstance(error, OSError):
        return oserrors.explain(error, failed)
    return InvalidInput(f"{failed}: {error}")


def _refused(url: str, code: int, reason: str) -> KleeneError:
    if code in (404, 410):
        return NotFound(f"'{url}' does not exist: the server answers {code}", hint="check the URL")
    return HostUnavailable(
        f"'{url}' cannot be fetched: the server answers {code} {reason.partition(chr(10))[0]}".rstrip(),
        hint="check the URL, or try again later",
    )


def _unreachable(url: str, error: Exception) -> KleeneError:
    reason = getattr(error, "reason", None) or error
    text = getattr(reason, "strerror", None) or str(reason)
    if isinstance(error, http.client.InvalidURL | ValueError):
        return _unusable(url, text)
    return HostUnavailable(
        f"'{url}' cannot be reached: {text.lower()}",
        hint="check the URL, and the proxies in the daemon's environment (http_proxy, https_proxy)",
    )
