"""Builds of several stages at a time, builds that are resumed, and what the cache is asked, for real."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Result, wait_until

pytestmark = pytest.mark.slow

Build = Callable[..., Result]

MEETING = (
    # Each waits for the other, by way of a directory of the host: one after the other never ends.
    "FROM tiny AS left\n"
    "RUN echo out-left; touch /meet/left; until test -e /meet/right; do sleep 0.05; done\n"
    "FROM tiny AS right\n"
    "RUN touch /meet/right; until test -e /meet/left; do sleep 0.05; done; echo out-right\n"
    "FROM tiny\nCOPY --from=left /etc /left\nCOPY --from=right /etc /right\n"
)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    def build(text: str, *options: str, tag: str = "made", check: bool = True) -> Result:
        (context / "Dockerfile").write_text(text)
        return daemon.klee("build", "-t", tag, *options, context, check=check)

    return build


@pytest.fixture
def run(daemon: Daemon) -> Callable[..., str]:
    def run(*command: str, image: str = "made") -> str:
        return daemon.klee("run", "-q", "--rm", image, *command).stdout

    return run


def steps(result: Result) -> list[str]:
    """The instructions of a build in the order in which they were told, those from the cache with a ``*``."""
    found: list[str] = []
    for line in result.stdout.splitlines():
        if match := re.match(r"Step \d+/\d+ : (.*)", line):
            found.append(match[1])
        elif "Using cached" in line:
            found[-1] = f"*{found[-1]}"
    return found


# --- At the same time


def test_stages_run_at_the_same_time_and_are_told_one_after_the_other(
    build: Build, tmp_path: Path
) -> None:
    meet = tmp_path / "meet"
    meet.mkdir()
    built = build(MEETING, "--no-cache", "--parallel", "2", "-m", f"{meet}:/meet")
    told = steps(built)
    assert [step.split()[0] for step in told] == [
        "FROM",
        "RUN",
        "FROM",
        "RUN",
        "FROM",
        "COPY",
        "COPY",
    ]
    assert built.stdout.index("out-left") < built.stdout.index("FROM tiny AS right")
    assert built.stdout.index("FROM tiny AS right") < built.stdout.index("out-right")


def test_a_stage_that_fails_ends_the_others(
    build: Build, daemon: Daemon, tmp_path: Path, run: Callable[..., str]
) -> None:
    meet = tmp_path / "meet"
    meet.mkdir()
    before = daemon.datasets()
    text = (
        "FROM tiny AS endless\nRUN touch /meet/up; sleep 600\n"
        "FROM tiny AS fails\nRUN echo good >/good\n"
        "RUN until test -e /meet/up; do sleep 0.05; done; echo half >/half; exit 3\n"
        "FROM tiny\nCOPY --from=endless /a /\nCOPY --from=fails /b /\n"
    )
    options = ("-m", f"{meet}:/meet", "--parallel", "2")
    failed = build(text, *options, tag="bad", check=False)
    assert failed.status == 1
    assert "non-zero code: 3" in failed.stderr
    assert run("cat", "/good", image="bad:failed") == "good\n"
    # The stage with its two snapshots; nothing of the stage that was given up.
    wait_until(lambda: len(daemon.datasets()) == len(before) + 3, "there is more left")
    daemon.klee("rmi", "bad:failed")
    assert daemon.datasets() == before
    (meet / "up").unlink()
    build(text, *options, "--rm", tag="bad", check=False)
    assert daemon.datasets() == before


# --- What the cache is asked


def test_parts_of_a_build_without_the_cache(build: Build, run: Callable[..., str]) -> None:
    text = (
        "FROM tiny AS clock\nRUN cat /proc/uptime >/now\nFROM clock AS child\nRUN cp /now /copy\n"
        "FROM tiny AS other\nRUN true\nFROM child\nCOPY --from=other /etc /other\n"
    )
    build(text)
    then = run("cat", "/copy")
    told = steps(build(text, "--no-cache-filter", "CLOCK"))
    # What starts from the stage is made anew too: the cache has it of the old one.
    assert [step for step in told if step.startswith("*")] == ["*RUN true"]
    assert run("cat", "/now") == run("cat", "/copy") != then
    told = steps(build(text, "--cache-from-step", "2"))
    assert [step for step in told if step.startswith("*")] == ["*RUN cat /proc/uptime >/now"]
    absent = build(text, "--no-cache-filter", "clocks", check=False)
    assert "has no stage 'clocks'" in absent.stderr
    assert "did you mean 'clock'?" in absent.stderr


# --- Resumed

BROKEN = (
    "FROM tiny\nCOPY data /data\nWORKDIR /srv\nENV who=me\n"
    "RUN echo half >half; test -e /fixed\nRUN echo $who >>/srv/half\n"
)


def test_a_build_goes_on_after_the_dockerfile_was_fixed(
    build: Build, context: Path, run: Callable[..., str], daemon: Daemon
) -> None:
    (context / "data").write_text("old")
    assert build(BROKEN, tag="bad", check=False).status == 1
    (context / "data").write_text("new")
    fixed = BROKEN.replace("test -e /fixed", "true")
    built = build(fixed, "--resume", "bad:failed", "--explain")
    assert "taken over from the build that is resumed" in built.stdout
    assert run("cat", "/data", "/srv/half") == "oldhalf\nme\n"
    # The key tells what was taken over: no other build takes it for what it is not.
    assert not [step for step in steps(build(fixed)) if step.startswith("*")]
    assert run("cat", "/data") == "new"
    daemon.klee("rmi", "bad:failed")


def _history(daemon: Daemon, image: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        daemon.klee("image", "history", image, "--format", "json").stdout
    )
    return found


def test_a_build_goes_on_from_a_container_that_was_fixed(
    build: Build, context: Path, run: Callable[..., str], daemon: Daemon
) -> None:
    (context / "data").write_text("old")
    assert build(BROKEN, tag="bad", check=False).status == 1
    container = daemon.klee("create", "bad:failed").id
    daemon.klee("exec", "-q", container, "touch", "/fixed")
    resumed = build(BROKEN, "--resume", container, "--explain")
    assert "--> not cached: nothing was built from this state before" in resumed.stdout
    told = steps(resumed)
    assert told[-1] == "RUN echo $who >>/srv/half"
    assert run("cat", "/srv/half") == "half\nme\n"
    assert run("ls", "/fixed") == "/fixed\n"
    (image,) = json.loads("[" + daemon.klee("image", "inspect", "made").stdout.strip("[]\n ") + "]")
    assert image["instructions"][1][1]
    daemon.klee("rmc", "-f", container)
    # From what the failed step has left: it is taken once more.
    kept = daemon.klee("image", "inspect", "bad:failed").stdout
    assert "half" not in kept
    (last,) = (step for step in _history(daemon, "bad:failed") if step["failed"])
    half = f"bad:failed@{last['snapshot']}"
    fixed = BROKEN.replace("echo half >half; test -e /fixed", "test -e /fixed")
    (context / "data").write_text("new")
    refused = build(BROKEN.replace("who=me", "who=you"), "--resume", half, check=False)
    assert "step 4 of 'bad:failed@" in refused.stderr
    assert "is written otherwise now" in refused.stderr
    again = fixed.replace("test -e /fixed", "test -e half && echo again >>half")
    told = steps(build(again, "--resume", half))
    assert told[-2:] == again.splitlines()[4:]  # taken, and not from the cache
    assert run("cat", "/data", "/srv/half") == "oldhalf\nagain\nme\n"
    # No other build gets any of it, though it is written the same.
    (context / "data").write_text("old")
    other = build(again, check=False)
    assert other.status == 1
    assert "/srv/half" not in run("ls", "/srv", image="bad:failed")
    told = steps(build(again, "--resume", half))
    assert told[-2:] == again.splitlines()[4:]  # taken, and not from the cache
    # The state that a container was made from is no leftover. What else is gone is built again.
    container = daemon.klee("create", half).id
    daemon.klee("build", "prune", "--all", "--force")
    assert daemon.klee("diff", container).stdout == ""
    assert steps(build(again, "--resume", half))[-2:] == again.splitlines()[4:]
    assert build(BROKEN, "--resume", "bad:failed", check=False).status == 1
    daemon.klee("rmc", container)
    daemon.klee("rmi", "bad:failed")
    absent = build(BROKEN, "--resume", "absent", check=False)
    assert "no such image: 'absent:latest'" in absent.stderr
    base = build(BROKEN, "--resume", "tiny", check=False)
    assert "was not built from a Dockerfile" in base.stderr
    build("FROM tiny\nRUN echo 1 >/one\nRUN echo 2\n", tag="chain")
    snapshot = json.loads(daemon.klee("image", "inspect", "chain").stdout)
    snapshot = snapshot[0] if isinstance(snapshot, list) else snapshot
    last = snapshot["instructions"][2][1]
    other = build("FROM tiny\nRUN echo 3\nRUN echo 2\n", "--resume", f"chain@{last}", check=False)
    assert "step 2 of 'chain@" in other.stderr
    assert "is written otherwise now" in other.stderr
