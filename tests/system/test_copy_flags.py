"""The newer flags of COPY and ADD, and ONBUILD with heredocs, seen from inside the image."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result
from tests.support.gitserver import Repository, served

pytestmark = pytest.mark.slow

Build = Callable[..., Result]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    for name in ("x/a.txt", "x/b.md", "y/deep/c.txt", "y/deep/d.md", "top.txt"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    (directory / "y").chmod(0o711)
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    """Builds a Dockerfile of the given text, as the image ``made``."""

    def build(text: str, *options: str, check: bool = True, tag: str = "made") -> Result:
        (context / "Dockerfile").write_text(text)
        return daemon.klee("build", "-t", tag, *options, context, check=check)

    return build


@pytest.fixture
def found(daemon: Daemon) -> Callable[[str], dict[str, str]]:
    """What is below a directory of the image ``made``, with the modes."""

    def found(directory: str) -> dict[str, str]:
        script = f"cd {directory} && find . -mindepth 1 -exec stat -c '%n %a' {{}} ';'"
        said = daemon.klee("run", "-q", "--rm", "made", "/bin/sh", "-c", script).stdout
        return {name[2:]: mode for name, mode in (line.split() for line in said.splitlines())}

    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    directory = tmp_path / "served"
    directory.mkdir()
    with served(directory, smart=True) as url:
        yield directory, url


def test_parents_exclusions_and_modes(build: Build, found: Callable[[str], dict[str, str]]) -> None:
    text = (
        "FROM tiny AS a\nCOPY . /all/\nFROM tiny\n"
        "COPY --parents x/a.txt y/deep /one/\n"
        "COPY --parents ./y/./deep/*.txt /two\n"
        "COPY --parents **/*.md /three/\n"
        "COPY --exclude=*.md --exclude=deep/c* x y top.txt /four/\n"
        "COPY --from=a --parents --exclude=**/*.md /all/./x /five/\n"
        "COPY --link --chmod=u=rwX,go= x /six/\n"
        "ADD --exclude=*.txt --chmod=a+x x /seven/\n"
        "COPY --parents none*/x /eight/\nRUN test -d /eight\n"
    )
    build(text)
    one = found("/one")
    assert set(one) == {"x", "x/a.txt", "y", "y/deep", "y/deep/c.txt", "y/deep/d.md"}
    assert one["y"] == "711"
    assert set(found("/two")) == {"deep", "deep/c.txt"}
    assert set(found("/three")) == {"x", "x/b.md", "y", "y/deep", "y/deep/d.md"}
    assert set(found("/four")) == {"a.txt", "deep", "deep/d.md", "top.txt"}
    assert set(found("/five")) == {"x", "x/a.txt"}
    assert found("/six") == {"a.txt": "600", "b.md": "600"}
    assert found("/seven") == {"b.md": "755"}
    assert build(text).stdout.count("Using cached") == 10
    changed = build(text.replace("--exclude=*.md --exclude=deep/c*", "--exclude=*.md"))
    assert changed.stdout.count("Using cached") == 3


def test_git_repositories_are_added(
    build: Build, daemon: Daemon, found: Callable[[str], dict[str, str]], server: tuple[Path, str]
) -> None:
    directory, url = server
    repo = Repository(directory)
    first = repo.commit(file="1", docs__page="page", _dot_dockerignore="*\n")
    repo.git("tag", "v1")
    repo.publish()
    text = (
        f"FROM tiny\nADD {url}/repo.git#v1:docs /docs\nADD --keep-git-dir=true {url}/repo.git /all\n"
        f"ADD --checksum={first} --chown=7 {url}/repo.git#v1 /checked\n"
    )
    build(text)
    assert found("/docs") == {"page": "644"}
    assert {".git", "file", "docs", ".dockerignore"} <= set(found("/all"))
    assert ".git" not in found("/checked")
    assert (
        daemon.klee("run", "-q", "--rm", "made", "stat", "-c", "%u", "/checked/file").stdout
        == "7\n"
    )
    assert build(text).stdout.count("Using cached") == 3
    repo.commit(file="2")
    assert build(text).stdout.count("Using cached") == 1
    failed = build(f"FROM tiny\nADD --checksum={'0' * 40} {url}/repo.git /\n", check=False)
    assert f"is the commit '{repo.git('rev-parse', 'HEAD')}'" in failed.stderr
    failed = build(f"FROM tiny\nADD {url}/repo.git#absent /\n", check=False)
    assert (
        "Dockerfile:2:1:" in failed.stderr and "no branch, tag or commit 'absent'" in failed.stderr
    )
    failed = build("FROM tiny\nADD git@127.0.0.1:x/y.git /\n", check=False)
    assert "--ssh default" in failed.stderr
    assert not any((daemon.root / "build-mounts").glob("*"))


def test_archives_are_unpacked_when_it_is_asked(
    build: Build, context: Path, found: Callable[[str], dict[str, str]], server: tuple[Path, str]
) -> None:
    directory, _ = server
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("inside")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    (context / "a.tgz").write_bytes(content.getvalue())
    (directory / "b.tgz").write_bytes(content.getvalue())
    with served(directory) as url:
        build(
            f"FROM tiny\nADD a.tgz /1/\nADD --unpack=false a.tgz /2/\nADD {url}/b.tgz /3/\n"
            f"ADD --unpack=true {url}/b.tgz /4/\n"
        )
    assert [set(found(f"/{n}")) for n in (1, 2, 3, 4)] == [
        {"inside"},
        {"a.tgz"},
        {"b.tgz"},
        {"inside"},
    ]


def test_onbuild_has_heredocs(build: Build, daemon: Daemon) -> None:
    build(
        "FROM tiny\nONBUILD RUN <<EOF\necho one >/said\necho two >>/said\nEOF\n"
        "ONBUILD COPY <<-file /copied\n\tbody $x\n\tfile\n"
        "ONBUILD RUN --mount=type=tmpfs,target=/t touch /t/x\n",
        tag="maker",
    )
    build("FROM maker\n")
    said = daemon.klee("run", "-q", "--rm", "made", "cat", "/said", "/copied").stdout
    assert said == "one\ntwo\nbody \n"


def test_input_that_is_too_much_or_no_text_is_refused_at_once(build: Build, context: Path) -> None:
    for text, expected in (
        (
            "FROM tiny\nENV a=" + "x" * 900_000 + "\n",
            "Dockerfile:2:5: variable 'a' has 900002 bytes",
        ),
        ("FROM tiny\nRUN : " + "x" * 900_000 + "\n", "the kernel passes on 131071"),
        ("FROM tiny\nENV a=" + "x" * 20_000_000 + "\n", "Dockerfile:2:1048566: the file goes on"),
        ("FROM tiny\n# " + "x" * 10_000_000 + "\n", "Dockerfile:2:1048566: the file goes on"),
        ("FROM tiny\nRUN a\0b\n", "Dockerfile:2:6: NUL byte in a Dockerfile"),
        ("FROM tiny\nONBUILD FROM tiny\n", "Dockerfile:2:9: FROM cannot be an ONBUILD instruction"),
    ):
        failed = build(text, check=False)
        assert failed.status == 1
        assert expected in failed.stderr, failed.stderr[:500]
        assert len(failed.stderr) < 2000
    shown = build("FROM tiny\nRUN printf 'a\\377\\000b\\n'\n")
    assert "a\ufffd" in shown.stdout


def test_a_directory_over_a_link_replaces_it_and_says_so(
    build: Build, found: Callable[[str], dict[str, str]]
) -> None:
    built = build("FROM tiny\nRUN mkdir /real && ln -s /real /x\nCOPY . /\n")
    assert (
        "warning: Dockerfile:3:1: '/x' was a link to '/real'; a directory replaced it"
        in built.stdout
    )
    assert "3 | COPY . /\n  | ^^^^^^^^\nhint: to copy to where it leads" in built.stdout
    assert found("/real") == {}
    assert set(found("/x")) == {"a.txt", "b.md"}


def test_an_error_in_a_trigger_shows_it_below_the_from_that_brought_it(build: Build) -> None:
    failed = build("FROM tiny AS a\nONBUILD COPY nothing /\nFROM a\n", check=False)
    assert "Dockerfile:3:6: in ONBUILD of stage 'a': 'nothing' is not in the build" in failed.stderr
    assert "3 | FROM a\n  |      ^\n  | ONBUILD COPY nothing /\n  |         ^^^^^" in failed.stderr
    failed = build("FROM tiny AS a\nONBUILD RUN false\nFROM a\n", check=False)
    assert "Dockerfile:3:6: in ONBUILD of stage 'a'\n  |\n3 | FROM a\n" in failed.stderr
