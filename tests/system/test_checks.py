"""``klee build --check``, and the same warnings in a build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result

pytestmark = pytest.mark.slow


@pytest.fixture
def klee_build(daemon: Daemon, tmp_path: Path) -> Callable[..., Result]:
    """``klee build`` of a Dockerfile of this text, which may fail."""

    def build(text: str, *options: str) -> Result:
        (tmp_path / "Dockerfile").write_text(text)
        return daemon.klee("build", *options, tmp_path, check=False)

    return build


def images(daemon: Daemon) -> list[str]:
    return daemon.klee("lsi", "-q").stdout.split()


def test_a_check_shows_places_and_builds_nothing(
    klee_build: Callable[..., Result], daemon: Daemon, tmp_path: Path
) -> None:
    before = images(daemon)
    (tmp_path / ".dockerignore").write_text("*.log\n")
    found = klee_build("FROM tiny\nENV NAME=1\nCOPY a.log $NAMEE /\nRUN exit 1 \\\n", "--check")
    assert found.status == 1
    assert "Dockerfile:3:6: 'a.log' is left out of the context" in found.stdout
    assert "3 | COPY a.log $NAMEE /\n  |      ^^^^^\n" in found.stdout
    assert "docs/checks.md#copyignoredfile" in found.stdout
    assert "did you mean '$NAME'?" in found.stdout
    assert "3 warnings, 2 of them fail" in found.stdout
    assert images(daemon) == before


def test_a_check_of_what_is_good(klee_build: Callable[..., Result]) -> None:
    found = klee_build('FROM not-here\nCMD ["a"]\n', "--check")
    assert (found.status, found.stdout) == (0, "checked: no warnings\n")


def test_a_check_as_json(klee_build: Callable[..., Result]) -> None:
    found = klee_build("FROM tiny\nCMD a\n  RUN b\n", "--check", "--format", "json")
    said = json.loads(found.stdout)
    assert found.status == said["violations"] == 1
    assert [(w["rule"], w["kind"], w["line"], w["column"]) for w in said["warnings"]] == [
        ("JSONArgsRecommended", "check", 2, 1),
        ("LeadingWhiteSpace", "kleene", 3, 3),
    ]


def test_a_check_of_what_cannot_be_built(klee_build: Callable[..., Result]) -> None:
    found = klee_build("FROM tiny\nCOPY --from=9 a b\n", "--check")
    assert found.status == 1
    assert "Dockerfile:2:13: there is no stage '9'" in found.stderr


def test_a_build_tells_warnings_at_their_steps(klee_build: Callable[..., Result]) -> None:
    built = klee_build("FROM tiny AS Base\nRUN true\nRUN ['a' || \\\n")
    lines = built.stdout.splitlines()
    assert built.status == 1
    third = next(number for number, line in enumerate(lines) if line.startswith("Step 3/3"))
    told = [number for number, line in enumerate(lines) if "broken continuation" in line]
    assert told == [third + 1]
    assert lines[told[0] + 3].endswith("^")


def test_a_build_tells_not_too_many(klee_build: Callable[..., Result]) -> None:
    built = klee_build("FROM tiny\n" + "label a=1\n" * 30)
    assert built.status == 0
    assert built.stdout.count("warning:") == 21
    assert "more warnings; all of them: klee build --check" in built.stdout


def test_a_dockerfile_that_wants_no_violation(
    klee_build: Callable[..., Result], daemon: Daemon
) -> None:
    before = images(daemon)
    refused = klee_build("# check=error=true\nFROM tiny\nCMD a\n")
    assert refused.status == 1
    assert "JSONArgsRecommended" in refused.stderr and "--check" in refused.stderr
    assert images(daemon) == before
    assert klee_build("# check=error=true;skip=all\nFROM tiny\nCMD a\n").status == 0
