"""Fetching from git repositories: for ``ADD`` and for build contexts. Owns nothing after a call.

A repository is hostile, and git is a program that can be told to run others. So it gets an empty home, a
configuration of its own in place of the system's and the user's, no hooks, no filters, no helpers, no
terminal to ask for a password on, bounds for what it writes, and may speak HTTP, SSH and the git protocol
only (git(1), "Environment Variables"; git-config(1), ``protocol.allow``). What it checks out is a directory
that nobody else has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kleene.errors import Conflict, HostUnavailable, InvalidInput, KleeneError, NotFound
from kleene.host import bounded, inroot, process, removal
from kleene.host.archive import Bounds
from kleene.host.giturl import GitUrl, is_commit, without_credentials
from kleene.host.treewalk import walk

_BOUNDS = Bounds(16 * 1024**3, 1_000_000)
_PROXIES = (
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
)
_CONFIG = """\
[core]
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsmonitor = false
\taskPass =
[credential]
\thelper =
[http]
\tlowSpeedLimit = 1
\tlowSpeedTime = 30
[protocol]
\tversion = 2
[gc]
\tauto = 0
[maintenance]
\tauto = false
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
"""
_REMOTE = "kleene-source"  # not "origin", which would be that of every submodule too
# git has a shell split it, and hands the host to it as an argument.
_SSH = "ssh -F /dev/null -oBatchMode=yes -oConnectTimeout=30 -oStrictHostKeyChecking=yes -oIdentityFile=none"

KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class Login:
    """How git logs in.

    Attributes:
        agent: socket of the SSH agent to use; without one, no key is offered.
        known_hosts: file with the keys of the servers to trust.
        headers: over HTTP, values of the header ``Authorization`` by host; ``""`` stands for all others.
    """

    agent: Path | None = None
    known_hosts: Path = KNOWN_HOSTS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def env(self) -> dict[str, str]:
        """The environment that git needs for it."""
        known = shlex.quote(f"-oGlobalKnownHostsFile={self.known_hosts}")
        agent = {} if self.agent is None else {"SSH_AUTH_SOCK": str(self.agent)}
        return {"GIT_SSH_COMMAND": f"{_SSH} {known}", **agent}


_NO_LOGIN = Login()


@dataclass(frozen=True)
class Resolved:
    """What a ref means now.

    Attributes:
        commit: its id in hex.
        name: what to ask the server for.
        tag: the id of the annotated tag that led there; ``""`` if there is none.
    """

    commit: str
    name: str
    tag: str = ""


@dataclass(frozen=True)
class Fetched:
    """What was checked out.

    Attributes:
        commit: its id in hex.
        path: of the directory that was asked for: ``into`` or one below it.
    """

    commit: str
    path: Path


async def resolve(repository: GitUrl, *, login: Login = _NO_LOGIN) -> Resolved | None:
    """Ask the server what the ref means; ``None`` if only a fetch can tell (part of a commit's id).

    Raises:
        NotFound: the repository has no such ref.
        Conflict: it is not the commit that the URL's checksum names.
        HostUnavailable: git is missing, or the server cannot be reached or refuses.
    """
    async with _Git.open(repository, login) as git:
        return await git.resolve()


async def fetch(
    repository: GitUrl,
    into: Path,
    *,
    keep_git_dir: bool = False,
    login: Login = _NO_LOGIN,
    bounds: Bounds = _BOUNDS,
) -> Fetched:
    """Check out a commit with its submodules.

    Args:
        into: an empty directory that only the caller can reach.
        keep_git_dir: leave ``.git`` there. The URL's own wish goes first.
        bounds: of all that git writes: what it keeps for itself counts too.

    Raises:
        InvalidInput, NotFound, Conflict, HostUnavailable: as :func:`resolve`, and if the directory is not
            in the repository, or the repository too large.
    """
    keep = keep_git_dir if repository.keep_git_dir is None else repository.keep_git_dir
    async with _Git.open(repository, login, bounds) as git:
        commit = await git.check_out(into)
        await asyncio.to_thread(_tidy, into, repository, keep)
        return Fetched(commit, await asyncio.to_thread(_inside, into, repository))


class _Git:
    """git, for one repository, with a home of its own."""

    def __init__(self, repository: GitUrl, home: Path, login: Login, bounds: Bounds) -> None:
        self._repository = repository
        self._bounds = bounds
        self._env = {
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(home / "config"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
            "GIT_CEILING_DIRECTORIES": tempfile.gettempdir(),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            **login.env,
            **{name: os.environ[name] for name in _PROXIES if name in os.environ},
        }

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, repository: GitUrl, login: Login, bounds: Bounds = _BOUNDS
    ) -> AsyncIterator[_Git]:
        with tempfile.TemporaryDirectory(prefix="kleene-git-") as name:
            home = Path(name)
            # Not on the command line, which every process of the host can read.
            remote = f'[remote "{_REMOTE}"]\n\turl = {_quoted(repository.url)}\n'
            (home / "config").write_text(_CONFIG + remote + _authorization(repository, login))
            yield cls(repository, home, login, bounds)

    async def resolve(self) -> Resolved | None:
        """See :func:`resolve`."""
        ref = self._repository.ref
        with tempfile.TemporaryDirectory(prefix="kleene-git-") as nowhere:
            listed = await self._run("ls-remote", "--quiet", _REMOTE, cwd=nowhere)
        if listed.status != 0:
            raise self._failure(listed)
        lines = (
            line.split("\t", 1) for line in listed.stdout.decode(errors="replace").splitlines()
        )
        refs = {fields[1]: fields[0] for fields in lines if len(fields) == 2}
        for name in (ref or "HEAD", f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"):
            if name in refs:
                peeled = refs.get(f"{name}^{{}}")
                found = Resolved(peeled or refs[name], name, refs[name] if peeled else "")
                return self._checked(found)
        if is_commit(ref):
            whole = len(ref) in (40, 64)
            return self._checked(Resolved(ref, ref)) if whole else None
        raise self._no_ref()

    def _checked(self, found: Resolved) -> Resolved:
        wanted = self._repository.checksum
        if not found.commit.startswith(wanted) and not (found.tag and found.tag.startswith(wanted)):
            raise Conflict(
                f"'{self._repository.ref or 'HEAD'}' of '{self._repository.shown}' is the commit"
                f" '{found.commit}', not '{wanted}'",
                hint="if that is the commit that you mean, write it as the checksum",
            )
        return found

    async def check_out(self, into: Path) -> str:
        """Fetch and check out; the commit."""
        found = await self.resolve()
        await self._must("init", "--quiet", "--template=", cwd=into)
        asked = found.name if found else ""
        if not asked or not await self._fetch_one(into, asked):
            await self._must(
                "fetch", "--quiet", "--no-tags", _REMOTE, "+refs/*:refs/all/*", cwd=into
            )
            asked = ""
        name = "FETCH_HEAD" if asked else found.commit if found else self._repository.ref
        parsed = await self._run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", cwd=into
        )
        if parsed.status != 0:
            raise self._no_ref()
        commit = parsed.stdout.decode().strip()
        if found is not None and found.commit != commit:
            raise Conflict(f"'{self._repository.shown}' changed meanwhile", hint="try again")
        self._checked(found or Resolved(commit, commit))
        await self._must("checkout", "--quiet", "--detach", "--force", commit, cwd=into)
        if self._repository.submodules and (into / ".gitmodules").exists():
            await self._submodules(into)
        return commit

    async def _fetch_one(self, into: Path, name: str) -> bool:
        """Fetch a ref without its history, or with it where the server can do no other; whether it could."""
        arguments = ("--quiet", "--no-tags", "--no-recurse-submodules", _REMOTE, name)
        done = await self._run("fetch", "--depth=1", *arguments, cwd=into)
        if done.status != 0:
            done = await self._run("fetch", *arguments, cwd=into)
        if done.status != 0 and not is_commit(name):
            raise self._failure(done)
        return done.status == 0

    async def _submodules(self, into: Path) -> None:
        update = ("submodule", "--quiet", "update", "--init", "--recursive")
        # The remote's own configuration, for submodules that are named relative to it.
        await self._must(
            "config", "remote.origin.url", without_credentials(self._repository.url), cwd=into
        )
        if (await self._run(*update, "--depth=1", cwd=into)).status != 0:
            await self._must(*update, cwd=into)

    async def _must(self, *arguments: str, cwd: Path) -> None:
        done = await self._run(*arguments, cwd=str(cwd))
        if done.status != 0:
            raise self._failure(done)

    async def _run(self, *arguments: str, cwd: Path | str) -> process.Completed:
        argv = ["git", *arguments]
        shown = self._repository.shown
        return await bounded.run(argv, Path(cwd), self._bounds, shown, env=self._env)

    def _no_ref(self) -> NotFound:
        return NotFound(
            f"'{self._repository.shown}' has no branch, tag or commit '{self._repository.ref or 'HEAD'}'",
            hint="name one after '#': URL#REF",
        )

    def _failure(self, done: process.Completed) -> KleeneError:
        said = done.stderr.decode(errors="replace").strip()
        lines = [line.removeprefix("fatal: ") for line in said.splitlines()] or ["no message"]
        text = "\n".join(lines).replace(self._repository.url, self._repository.shown)
        told = f"git repository '{self._repository.shown}' cannot be fetched"
        if self._repository.uses_ssh:
            return HostUnavailable(
                told,
                hint="give the build your SSH agent with --ssh default; the server's key must be in"
                " /etc/ssh/ssh_known_hosts on the daemon's host, or where 'ssh_known_hosts' in its"
                " configuration says",
                details=text,
            )
        if "could not read Username" in said or "Authentication failed" in said:
            return HostUnavailable(
                f"{told}: it does not exist, or is not public", hint="check the URL", details=text
            )
        return HostUnavailable(
            f"{told}: {text.splitlines()[0]}", hint="check the URL", details=text
        )


def _quoted(text: str) -> str:
    """As a value in a configuration file (git-config(1), "Values")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _authorization(repository: GitUrl, login: Login) -> str:
    """The header for the server of the repository alone, not for those of its submodules."""
    parts = urllib.parse.urlsplit(repository.url)
    if parts.scheme.lower() not in ("http", "https"):
        return ""
    host = parts.netloc.rpartition("@")[2]
    known = (login.headers.get(name) for name in (host, parts.hostname or "", ""))
    value = next((value for value in known if value), None)
    if value is None:
        return ""
    return (
        f"[http {_quoted(f'{parts.scheme}://{host}/')}]\n"
        f"\textraHeader = {_quoted(f'Authorization: {value}')}\n"
    )


def _tidy(into: Path, repository: GitUrl, keep: bool) -> None:
    """Take away what git needs for itself; what is kept has no password in it."""
    for name in () if keep else _git_paths(into):
        removal.remove(name)
    if keep:
        removal.discard(into / ".git" / "refs" / "all")
        url = without_credentials(repository.url).replace("\\", "\\\\").replace('"', '\\"')
        config = (into / ".git" / "config").read_text()
        if '[remote "origin"]' not in config:
            (into / ".git" / "config").write_text(f'{config}[remote "origin"]\n\turl = "{url}"\n')
        (into / ".git" / "FETCH_HEAD").unlink(missing_ok=True)


def _git_paths(into: Path) -> list[Path]:
    """``.git`` here and, as files that point to it, in the submodules."""
    found = []

    def skip(path: str, _: bool) -> bool:
        ours = path.rpartition("/")[2] == ".git"
        if ours:
            found.append(into / path)
        return ours

    with inroot.root_fd(into) as top:
        for _ in walk(top, skip=skip):
            pass
    return found


def _inside(into: Path, repository: GitUrl) -> Path:
    """The directory that was asked for; a link to it may not lead out."""
    try:
        fd = inroot.open_beneath(into, repository.subdir or ".", inroot.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidInput(
            f"there is no directory '{repository.subdir}' in '{repository.shown}'",
            hint="name one that is there: URL#REF:DIRECTORY",
        ) from error
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - a descriptor
    finally:
        os.close(fd)
