"""COPY of a large context of which little has changed goes on from what it made before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result

pytestmark = pytest.mark.slow

Build = Callable[..., Result]

FILES = 300
TEXT = "FROM tiny\nRUN cat /proc/sys/kernel/random/uuid >/base\nWORKDIR /app\nCOPY . .\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    for number in range(FILES):
        path = directory / f"d{number % 10}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    """Builds a Dockerfile of the given text."""

    def build(text: str, *options: str, tag: str) -> Result:
        (context.parent / "Dockerfile").write_text(text)
        return daemon.klee(
            "build", "-f", context.parent / "Dockerfile", "-t", tag, *options, context
        )

    return build


@pytest.fixture
def listing(daemon: Daemon) -> Callable[..., dict[str, str]]:
    """What ``stat`` says of everything below /app of an image."""

    def listing(image: str, form: str) -> dict[str, str]:
        script = f"find /app -mindepth 1 -exec stat -c '%n|{form}' {{}} +"
        said = daemon.klee("run", "-q", "--rm", image, "sh", "-c", script).stdout
        return dict(line.split("|", 1) for line in said.splitlines())

    return listing


def contents(daemon: Daemon, image: str) -> list[str]:
    script = "find /app -type f -exec md5sum {} +"
    return sorted(daemon.klee("run", "-q", "--rm", image, "sh", "-c", script).stdout.splitlines())


def test_what_has_not_changed_is_not_copied_again(
    daemon: Daemon, build: Build, context: Path, listing: Callable[..., dict[str, str]]
) -> None:
    build(TEXT, tag="first")
    (context / "d1" / "f1").write_text("changed\n")
    (context / "d2" / "f2").unlink()
    shutil.rmtree(context / "d9")
    (context / "new").write_text("new\n")
    (context / "d3" / "f3").chmod(0o600)
    (context / "d4" / "link").symlink_to("f4")
    told = build(TEXT, "--explain", tag="second").stdout
    assert "not cached: the files changed: " in told
    build(TEXT, "--no-cache", tag="whole")

    looks = "%a %u:%g %F %s %Y %N"
    assert listing("second", looks) == listing("whole", looks)
    assert contents(daemon, "second") == contents(daemon, "whole")
    # A clone keeps the numbers of the files; what is copied gets new ones in its directory's order.
    first, second, whole = (listing(image, "%i") for image in ("first", "second", "whole"))
    same = [path for path in second if second[path] == first.get(path)]
    assert len(same) > FILES * 0.8
    assert "/app/d1/f1" not in same
    assert len([path for path in whole if whole[path] == first.get(path)]) < FILES * 0.8

    # What the step did is told as ever.
    assert "/app/d1/f1" in daemon.klee("image", "blame", "second", "/app/d1/f1").stdout
    changes = daemon.klee("image", "diff", "first", "second").stdout
    for path in ("app/d1/f1", "app/d2/f2", "app/d3/f3", "app/d4/link", "app/new", "app/d9"):
        assert path in changes
    assert "app/d5/f5" not in changes


def test_it_goes_on_from_the_same_base_only(daemon: Daemon, build: Build, context: Path) -> None:
    def base(image: str) -> str:
        return daemon.klee("run", "-q", "--rm", image, "cat", "/base").stdout

    build(TEXT, tag="old")
    build(TEXT, "--no-cache", tag="fresh")
    assert base("old") != base("fresh")
    (context / "d1" / "f1").write_text("changed\n")
    build(TEXT, tag="next")
    assert base("next") == base("fresh")


def test_an_owner_is_looked_up_in_the_state_before(
    daemon: Daemon, build: Build, context: Path, listing: Callable[..., dict[str, str]]
) -> None:
    text = "FROM tiny\nRUN echo web:x:71:72::/: >>/etc/passwd\nCOPY --chown=web . /app\n"
    build(text, tag="first")
    (context / "new").write_text("new\n")
    build(text, tag="second")
    assert set(listing("second", "%u:%g").values()) == {"71:72"}


def test_a_stage_that_changed_little(daemon: Daemon, build: Build, context: Path) -> None:
    text = "FROM tiny AS made\nCOPY . /app\nFROM tiny\nCOPY --from=made /app /app\n"
    build(text, tag="first")
    (context / "d1" / "f1").write_text("changed\n")
    (context / "d2" / "f2").unlink()
    build(text, tag="second")
    build(text, "--no-cache", tag="whole")
    assert contents(daemon, "second") == contents(daemon, "whole")
