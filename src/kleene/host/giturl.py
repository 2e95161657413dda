"""URLs of git repositories, as builds name them. Pure.

The forms are those of the Dockerfile reference ("ADD", "Adding files from a Git repository") and of
BuildKit's build contexts: ``https://HOST/REPO.git#REF:SUBDIR``, ``git@HOST:REPO.git``, ``ssh://``,
``git://``; and the same settings as a query, ``https://HOST/REPO.git?tag=v1&subdir=docs``.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace

from kleene.errors import InvalidInput

_IS_GIT = re.compile(r"(?:git|ssh)://|https?://[^?#]*\.git(?:[?#]|\Z)", re.IGNORECASE)
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s]+")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_CHECKSUM = re.compile(r"[0-9a-f]{1,64}")
# git-check-ref-format(1), and nothing that git takes for an option or a revision's arithmetic.
_BAD_REF = re.compile(r"^[-/.+]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|[/.]\Z")
_REFS = {"ref": "", "branch": "refs/heads/", "tag": "refs/tags/"}
_SWITCH = {"": True, "1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class GitUrl:
    """A repository, and what is meant of it.

    Attributes:
        url: what git is given.
        ref: a branch, a tag or a commit; ``""`` is the default branch.
        subdir: a directory in it, relative; ``""`` is all.
        checksum: the commit that it must be, or the first digits of it; ``""`` takes what is there.
        keep_git_dir: whether ``.git`` is wanted; ``None`` if the URL does not say.
        submodules: whether they are wanted.
    """

    url: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True

    @property
    def uses_ssh(self) -> bool:
        return not self.url.lower().startswith(("http://", "https://", "git://"))

    @property
    def shown(self) -> str:
        """The URL without a password, for messages."""
        return without_credentials(self.url)


def is_git(text: str) -> bool:
    """Whether this names a git repository, rather than a file on a server or a path."""
    return _IS_GIT.match(text) is not None or _SCP.fullmatch(text) is not None


def parse(text: str) -> GitUrl:
    """Read what :func:`is_git` accepts.

    Raises:
        InvalidInput: the URL, the ref or the directory cannot be used.
    """
    url, _, fragment = text.partition("#")
    if _CONTROL.search(text):
        raise InvalidInput("the URL has white space or control characters in it")
    ref, _, subdir = fragment.partition(":")
    found = GitUrl(url)
    if _SCP.fullmatch(url) is None:
        found = _from_query(url)
    if fragment and (found.ref or found.subdir):
        raise InvalidInput(
            "the URL says twice what is meant: after '?' and after '#'",
            hint="leave one of them out",
        )
    return replace(
        found, ref=check_ref(ref or found.ref), subdir=_check_subdir(subdir or found.subdir)
    )


def without_credentials(url: str) -> str:
    """A URL without user and password; ``git@HOST:PATH`` stays, its user is none's secret."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not separator or "@" not in host:
        return url
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def check_ref(ref: str) -> str:
    """The ref itself, if git can be given it.

    Raises:
        InvalidInput: it cannot.
    """
    if _BAD_REF.search(ref):
        raise InvalidInput(
            f"'{ref}' is not the name of a branch, a tag or a commit",
            hint="write it after '#': https://HOST/REPO.git#REF",
        )
    return ref


def is_checksum(text: str) -> bool:
    """Whether this can be the beginning of a commit's id, to compare with."""
    return _CHECKSUM.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Whether this can be a commit's id, or the beginning of one."""
    return _COMMIT.fullmatch(text) is not None


def _check_subdir(subdir: str) -> str:
    parts = [part for part in subdir.split("/") if part not in ("", ".")]
    if ".." in parts or ".git" in parts:
        raise InvalidInput(f"'{subdir}' is not a directory of the repository")
    return "/".join(parts)


def _from_query(text: str) -> GitUrl:
    try:
        parts = urllib.parse.urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or host.startswith("-") or not parts.path.strip("/"):
        raise InvalidInput(
            f"'{without_credentials(text)}' is not the URL of a git repository",
            hint="write https://HOST/REPO.git#REF:DIRECTORY",
        )
    found = GitUrl(urllib.parse.urlunsplit(parts._replace(query="")))
    for name, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        found = _with_setting(found, name, value)
    return found


def _with_setting(found: GitUrl, name: str, value: str) -> GitUrl:
    if name in _REFS and not found.ref and value:
        return replace(found, ref=_REFS[name] + value)
    if name == "subdir":
        return replace(found, subdir=value)
    if name in ("checksum", "commit") and is_checksum(value):
        return replace(found, checksum=value)
    if name == "keep-git-dir" and value in _SWITCH:
        return replace(found, keep_git_dir=_SWITCH[value])
    if name == "submodules" and value in _SWITCH:
        return replace(found, submodules=_SWITCH[value])
    raise InvalidInput(
        f"'{name}={value}' in the URL of a git repository has no meaning",
        hint="known are ref, branch, tag, checksum, subdir, keep-git-dir, submodules, each once",
    )
