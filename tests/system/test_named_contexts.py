"""``klee build --build-context``: what a build is given beside its context, for real."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result
from tests.support.gitserver import Repository, served
from tests.support.rootfs import write_tar

pytestmark = pytest.mark.slow

Build = Callable[..., Result]


@pytest.fixture
def build(daemon: Daemon, tmp_path: Path) -> Build:
    """Builds a Dockerfile in a context that has ``own``."""
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "own").write_text("own")

    def build(text: str, *options: str, check: bool = True) -> Result:
        (directory / "Dockerfile").write_text(text)
        return daemon.klee("build", "-t", "made", *options, directory, check=check)

    return build


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory beside the context, with a file that it leaves out."""
    directory = tmp_path / "shared"
    (directory / "lib").mkdir(parents=True)
    (directory / "lib" / "a").write_text("of shared")
    (directory / "lib" / "secret").write_text("left out")
    (directory / ".dockerignore").write_text("lib/secret\n")
    return directory


def shown(daemon: Daemon, *command: str) -> str:
    return daemon.klee("run", "-q", "--rm", "made", *command).stdout


def test_a_directory_is_what_from_names(build: Build, daemon: Daemon, shared: Path) -> None:
    option = f"--build-context=shared={shared}"
    text = (
        "FROM tiny\nCOPY own /own\nCOPY --from=shared lib /lib2\n"
        "RUN --mount=from=shared,target=/s cat /s/lib/a > /seen\n"
    )
    build(text, option)
    assert shown(daemon, "sh", "-c", "ls /lib2; cat /lib2/a /own /seen") == (
        "a\nof sharedownof shared"
    )
    again = build(text, option)
    assert "FROM scratch AS shared" in again.stdout
    assert "4 of 4 states cached, 0 snapshots made" in again.stdout
    (shared / "lib" / "a").write_text("changed")
    explained = build(text, option, "--explain").stdout
    assert "lib/a" in explained
    assert shown(daemon, "cat", "/lib2/a") == "changed"


def test_it_goes_before_stages_and_images(build: Build, daemon: Daemon, shared: Path) -> None:
    text = "FROM tiny AS lib\nRUN exit 3\nFROM tiny\nCOPY --from={} /lib/a /a\n"
    for name in ("lib", "0"):
        build(text.format(name), f"--build-context=lib={shared}")
        assert shown(daemon, "cat", "/a") == "of shared"
    rootfs = "FROM alpine:3.14\nCOPY --from=other:1 /lib/a /a\n"
    options = (
        "--build-context=alpine:3.14=docker-image://tiny",
        f"--build-context=other:1={shared}",
    )
    build(rootfs, *options)
    assert shown(daemon, "cat", "/a") == "of shared"
    build("FROM base\nCOPY own /\n", f"--build-context=base={shared}")
    build("FROM tiny\nCOPY --from=made / /got\n")
    assert (
        shown(daemon, "sh", "-c", "cd /got; find . -type f | sort")
        == "./.dockerignore\n./lib/a\n./own\n"
    )


def test_the_target_may_be_called_so(build: Build, daemon: Daemon, shared: Path) -> None:
    text = "FROM tiny\nFROM tiny AS lib\nRUN exit 3\n"
    build(text, f"--build-context=lib={shared}", "--target=lib")
    build("FROM tiny\nCOPY --from=made /lib/a /a\n")
    assert shown(daemon, "cat", "/a") == "of shared"
    build("FROM tiny\nENV A=1\nONBUILD RUN echo b > /b\n")
    daemon.klee("tag", "made", "parent")
    build(text, "--build-context=lib=docker-image://parent")
    assert shown(daemon, "sh", "-c", "echo $A; cat /b") == "1\nb\n"


def test_a_resumed_build_sees_the_present_files(build: Build, daemon: Daemon, shared: Path) -> None:
    option = f"--build-context=shared={shared}"
    text = "FROM tiny\nRUN date > /once\nRUN --mount=from=shared,target=/s sh /s/lib/a > /seen\n"
    (shared / "lib" / "a").write_text("exit 3\n")
    build(text, option, check=False)
    once = daemon.klee("run", "-q", "--rm", "made:failed", "cat", "/once").stdout
    held = ("build", "shell", "made:failed", "--step", "5", "--failed", "cat", "/s/lib/a")
    assert daemon.klee(*held).stdout == "exit 3\n"
    (shared / "lib" / "a").write_text("echo fixed\n")
    build(text, option, "--resume=made:failed")
    assert shown(daemon, "cat", "/once", "/seen") == f"{once}fixed\n"
    daemon.klee("rmi", "made:failed")


def test_the_checks_know_what_is_given(build: Build, daemon: Daemon, shared: Path) -> None:
    build("FROM tiny\nENV DIR=/d\n")
    daemon.klee("tag", "made", "with-dir")
    text = "# check=error=true\nFROM {}\nFROM {}\nCOPY own $DIR/\n"
    named = "--build-context={}=docker-image://with-dir"
    for first, second, name in (("tiny", "tiny", "tiny"), ("tiny AS lib", "lib", "lib")):
        refused = build(text.format(first, second), check=False)
        assert "UndefinedVar" in refused.stderr
        build(text.format(first, second), named.format(name))
        assert shown(daemon, "cat", "/d/own") == "own"
    told = build("FROM shared\nCOPY own $DIR/\n", f"--build-context=shared={shared}").stdout
    assert re.search(r"COPY own \$DIR/\nwarning: Dockerfile:2:10: ", told)


def test_an_archive_and_a_repository(build: Build, daemon: Daemon, tmp_path: Path) -> None:
    write_tar(tmp_path / "files.tar", {"lib/a": b"of the archive"})
    (tmp_path / "text").write_text("no archive")
    Repository(tmp_path).commit(lib__a="of the repository")
    text = "FROM tiny\nCOPY --from=far lib/a /a\n"
    with served(tmp_path) as url:
        build(text, f"--build-context=far={url}/files.tar")
        assert shown(daemon, "cat", "/a") == "of the archive"
        bad = build(text, f"--build-context=far={url}/text", check=False)
        assert "'far' is no tar archive" in bad.stderr
        build(text, f"--build-context=far={url}/repo.git#main")
    assert shown(daemon, "cat", "/a") == "of the repository"


def test_a_directory_is_sent(build: Build, daemon: Daemon, shared: Path) -> None:
    text = "FROM tiny\nCOPY --from=shared lib /l\nCOPY own /\n"
    build(text, "--upload", f"--build-context=shared={shared}")
    assert shown(daemon, "sh", "-c", "ls /l; cat /l/a /own") == "a\nof sharedown"


def test_what_is_wrong_is_said(build: Build, daemon: Daemon, shared: Path) -> None:
    before = daemon.datasets()
    text = "FROM tiny\nCOPY --from=shared lib /l\n"
    for option, said in (
        ("shared", "'--build-context shared' cannot be understood"),
        ("shared=", "'--build-context shared=' cannot be understood"),
        ("shared=oci-layout:///x", "of a kind that Kleene does not know"),
        ("sha red=.", "cannot be the name of a build context"),
        ("shared=/absent", "'/absent'"),
        ("shared=docker-image://absent", "no such image: 'absent"),
        ("shared=docker-image://scratch", "Dockerfile:2:13: 'shared' has no files"),
        ("scratch=.", "'scratch' cannot be the name of a build context"),
    ):
        failed = build(text, f"--build-context={option}", check=False)
        assert failed.status in (1, 2)
        assert said in failed.stderr, option
        assert "hint" in failed.stderr, option
    twice = [f"--build-context={name}={shared}" for name in ("shared", "Shared:latest")]
    failed = build(text, *twice, check=False)
    assert "there are two build contexts called 'shared'" in failed.stderr
    failed = build(
        "FROM tiny\nCOPY --from=shared no /l\n", f"--build-context=shared={shared}", check=False
    )
    assert "'no' is not in 'context shared'" in failed.stdout + failed.stderr
    daemon.klee("rmi", "made:failed", check=False)
    assert daemon.datasets() == before


def test_one_that_nothing_names_is_not_looked_at(build: Build, daemon: Daemon) -> None:
    build("FROM tiny\nCOPY own /own\n", "--build-context=other=/absent")
    history = json.loads(daemon.klee("image", "history", "--format", "json", "made").stdout)
    assert len(history) == 2
