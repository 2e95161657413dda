"""Fetching from git repositories that a server on the loopback has; and reading their URLs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable, InvalidInput, KleeneError, NotFound
from kleene.host import git
from kleene.host.archive import Bounds
from kleene.host.giturl import GitUrl, is_git, parse
from tests.support.gitserver import Repository, served


@pytest.fixture
def served_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


@pytest.fixture(params=["dumb", "smart"])
def url(request: pytest.FixtureRequest, served_dir: Path) -> Iterator[str]:
    with served(served_dir, smart=request.param == "smart") as found:
        yield found


@pytest.fixture
def into(tmp_path: Path) -> Path:
    directory = tmp_path / "into"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a.git", GitUrl("https://h/a.git")),
        ("https://h/a.git#v1", GitUrl("https://h/a.git", "v1")),
        ("https://h/a.git#:docs/x", GitUrl("https://h/a.git", "", "docs/x")),
        ("git@h:me/a.git#main:d", GitUrl("git@h:me/a.git", "main", "d")),
        ("ssh://u@h:22/a#x", GitUrl("ssh://u@h:22/a", "x")),
        (
            "https://h/a.git?tag=v1&subdir=d&checksum=abcdef0",
            GitUrl("https://h/a.git", "refs/tags/v1", "d", "abcdef0"),
        ),
        (
            "https://h/a.git?checksum=a",
            GitUrl("https://h/a.git", checksum="a"),
        ),
        (
            "https://h/a.git?keep-git-dir=1&submodules=false",
            GitUrl("https://h/a.git", keep_git_dir=True, submodules=False),
        ),
    ],
)
def test_urls(text: str, expected: GitUrl) -> None:
    assert is_git(text)
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["https://h/a", "https://h/a.git/x", "a.git", "./a@b:c", "file:///a.git", "/a.git", ""]
)
def test_what_is_no_git_repository(text: str) -> None:
    assert not is_git(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://h/a.git#--upload-pack=x",
        "https://h/a.git#a..b",
        "https://h/a.git#a^{/x}",
        "https://h/a.git#:../x",
        "https://h/a.git#:.git",
        "https://h/a.git?x=1",
        "https://h/a.git?ref=a&tag=b",
        "https://h/a.git?ref=a#b",
        "https:///a.git",
        "https://h:x/a.git",
        "ssh://-oProxyCommand=x/a",
        "git://h/\na",
    ],
)
def test_urls_that_cannot_be_used(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


async def test_refs_subdirectories_and_history(url: str, served_dir: Path, into: Path) -> None:
    repo = Repository(served_dir)
    first = repo.commit(file="1", docs__page="page")
    repo.git("tag", "--annotate", "v1", "--message=x")
    tag = repo.git("rev-parse", "v1")
    repo.git("checkout", "--quiet", "-b", "side/branch")
    side = repo.commit(file="side")
    repo.git("checkout", "--quiet", "main")
    last = repo.commit(file="2")
    for number, (fragment, commit, content) in enumerate(
        [
            ("", last, "2"),
            ("#main", last, "2"),
            ("#v1", first, "1"),
            ("#side/branch", side, "side"),
            ("#refs/heads/side/branch", side, "side"),
            (f"#{first}", first, "1"),
            (f"#{first[:9]}", first, "1"),
            (f"?tag=v1&checksum={tag[:8]}", first, "1"),
        ]
    ):
        place = into / str(number)
        place.mkdir()
        fetched = await git.fetch(parse(f"{url}/repo.git{fragment}"), place)
        assert (fetched.commit, fetched.path) == (commit, place), fragment
        assert (place / "file").read_text() == content
        assert not (place / ".git").exists()
    place = into / "sub"
    place.mkdir()
    fetched = await git.fetch(parse(f"{url}/repo.git#v1:docs"), place)
    assert fetched.path == place / "docs"
    resolved = await git.resolve(parse(f"{url}/repo.git#v1"))
    assert resolved == git.Resolved(first, "refs/tags/v1", tag)
    assert await git.resolve(parse(f"{url}/repo.git#{first[:9]}")) is None


async def test_the_repository_is_kept_without_a_password(
    url: str, served_dir: Path, into: Path
) -> None:
    commit = Repository(served_dir).commit(file="1")
    with_password = url.replace("//", "//me:hidden@")
    await git.fetch(parse(f"{with_password}/repo.git"), into, keep_git_dir=True)
    assert (into / ".git" / "HEAD").read_text().strip() == commit
    kept = [p.read_bytes() for p in (into / ".git").rglob("*") if p.is_file()]
    assert not any(b"hidden" in data for data in kept)
    assert f"{url}/repo.git" in (into / ".git" / "config").read_text()


async def test_submodules_come_along(url: str, served_dir: Path, into: Path) -> None:
    Repository(served_dir, "inner").commit(file="inner")
    outer = Repository(served_dir)
    outer.git("submodule", "--quiet", "add", f"{url}/inner.git", "below")
    outer.commit(file="outer")
    await git.fetch(parse(f"{url}/repo.git"), into)
    assert (into / "below" / "file").read_text() == "inner"
    assert not (into / ".git").exists() and not (into / "below" / ".git").exists()


async def test_nothing_of_a_repository_is_run_and_nothing_outside_is_reached(
    url: str, served_dir: Path, into: Path, tmp_path: Path
) -> None:
    repo = Repository(served_dir)
    hook = served_dir / "repo" / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    (repo.tree / "out").symlink_to(tmp_path)
    repo.commit(
        _dot_gitattributes="* filter=evil\n",
        _dot_gitmodules=f'[submodule "x"]\n\tpath = x\n\turl = file://{repo.bare}\n',
        file="1",
    )
    with pytest.raises(InvalidInput, match="no directory 'out'"):
        await git.fetch(parse(f"{url}/repo.git#:out"), into)
    assert not (tmp_path / "ran").exists()
    with_submodule = into / "again"
    with_submodule.mkdir()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.git('rev-parse', 'HEAD')},x")
    repo.git("commit", "--quiet", "--message=x")
    repo.publish()
    with pytest.raises(HostUnavailable) as caught:
        await git.fetch(parse(f"{url}/repo.git"), with_submodule)
    assert "transport 'file' not allowed" in (caught.value.details or "")


async def test_what_is_not_there(url: str, served_dir: Path, into: Path) -> None:
    commit = Repository(served_dir).commit(file="1")
    expected: list[tuple[str, type[KleeneError], str]] = [
        ("repo.git#absent", NotFound, "no branch, tag or commit 'absent'"),
        (f"repo.git#{'0' * 40}", NotFound, "no branch, tag or commit"),
        ("repo.git#:absent", InvalidInput, "no directory 'absent'"),
        ("absent.git", HostUnavailable, "cannot be fetched"),
        ("repo.git?checksum=0000000", Conflict, f"is the commit '{commit}', not '0000000'"),
    ]
    for number, (rest, error, message) in enumerate(expected):
        place = into / str(number)
        place.mkdir()
        with pytest.raises(error, match=message):
            await git.fetch(parse(f"{url}/{rest}"), place)
    with pytest.raises(HostUnavailable, match="cannot be fetched"):
        await git.resolve(parse("http://127.0.0.1:9/a.git"))
    with pytest.raises(HostUnavailable) as caught:
        await git.resolve(parse("ssh://git@127.0.0.1:9/a.git"))
    assert "--ssh default" in (caught.value.hint or "")


async def test_a_repository_may_not_fill_the_disk(url: str, served_dir: Path, into: Path) -> None:
    repo = Repository(served_dir)
    repo.commit(zeros="0" * 50_000_000)  # 50 kB on the way
    with pytest.raises(InvalidInput, match="more than 20000000 bytes"):
        await git.fetch(parse(f"{url}/repo.git"), into, bounds=Bounds(20_000_000, 1000))
    other = into.with_name("other")
    other.mkdir()
    with pytest.raises(InvalidInput, match="more than 10 files"):
        await git.fetch(parse(f"{url}/repo.git"), other, bounds=Bounds(10**9, 10))
