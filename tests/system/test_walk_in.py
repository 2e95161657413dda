"""Walking into builds, for real: their states, who wrote what, what broke it, what it all holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Result, wait_until

pytestmark = pytest.mark.slow

MIB = 1 << 20

DOCKERFILE = """\
FROM tiny
ENV STAGE=one
RUN mkdir /app && head -c 3000000 /dev/urandom > /app/data
WORKDIR /app
COPY tool /app/tool
ARG LEVEL=3
USER nobody
RUN echo "$STAGE $LEVEL" > /tmp/seen && head -c 1000000 /dev/urandom > /tmp/big
USER root
ENV STAGE=two
RUN chmod 0700 /app/tool && rm /tmp/seen /tmp/big
RUN ln -s /app/data /app/link && head -c 2000000 /dev/urandom > /app/more
CMD ["/app/tool"]
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("context")
    (directory / "tool").write_text("#!/bin/sh\necho works\n")
    (directory / "tool").chmod(0o755)
    return directory


def build(daemon: Daemon, context: Path, text: str, *options: str, check: bool = True) -> Result:
    (context / "Dockerfile").write_text(text)
    return daemon.klee("build", *options, context, check=check)


@pytest.fixture(scope="module")
def web(daemon: Daemon, context: Path) -> str:
    """An image with a build worth walking into."""
    build(daemon, context, DOCKERFILE, "-t", "web")
    return "web"


def told(daemon: Daemon, *arguments: str) -> Any:
    return json.loads(daemon.klee(*arguments, "--format", "json").stdout)


def snapshots(daemon: Daemon, image: str) -> dict[int, str]:
    """The snapshot of each step that has one."""
    steps = told(daemon, "image", "history", image)
    return {step["number"]: step["snapshot"] for step in steps if step["snapshot"]}


def used(daemon: Daemon) -> int:
    """Bytes of file data in the pool, as btrfs itself counts them when it has cleared what was deleted."""
    daemon.settle()
    subprocess.run(["btrfs", "subvolume", "sync", daemon.pool()], check=True, capture_output=True)
    subprocess.run(["sync", "-f", str(daemon.pool())], check=True)
    argv = ["btrfs", "filesystem", "df", "-b", str(daemon.pool())]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    data = next(line for line in lines if line.startswith("Data"))
    return int(data.rpartition("used=")[2])


def test_history_tells_time_size_key_and_snapshot_of_every_step(daemon: Daemon, web: str) -> None:
    steps = told(daemon, "image", "history", web)
    assert [step["number"] for step in steps] == list(range(1, 14))
    run = steps[2]
    assert run["instruction"].startswith("RUN mkdir /app")
    assert run["kept"] and run["seconds"] > 0 and len(run["key"]) == 64
    assert run["size"] == 3_000_000
    assert steps[11]["size"] == 2_000_000
    assert steps[4]["size"] == len("#!/bin/sh\necho works\n")
    assert steps[1]["snapshot"] == "" and steps[1]["size"] is None
    assert "STAGE=one" in steps[7]["env"] and "LEVEL=3" in steps[7]["env"]
    table = daemon.klee("image", "history", web).stdout
    assert run["snapshot"] in table
    assert run["key"][:12] in table
    assert "3.0 MB" in table


def test_diff_between_states_of_a_build_and_between_images(daemon: Daemon, web: str) -> None:
    at = snapshots(daemon, web)
    lines = daemon.klee("image", "diff", f"{web}@{at[8]}", web).stdout.splitlines()
    assert lines[:-1] == [
        "+ /app/link",
        "+ /app/more  (2.0 MB)",
        "~ /app/tool  (21 B)",
        "- /tmp/big  (1.0 MB)",
        "- /tmp/seen  (6 B)",
    ]
    assert lines[-1] == "2 added (2.0 MB), 1 modified (21 B), 2 removed (1.0 MB)"
    back = told(daemon, "image", "diff", web, f"{web}@{at[8]}")
    assert {c["path"]: c["kind"] for c in back}["tmp/seen"] == "added"
    daemon.klee("image", "create", "-t", "other", "fetch", _archive(daemon))
    assert told(daemon, "image", "diff", "tiny", "other") == []
    daemon.klee("rmi", "other")


def test_names_that_are_no_text_are_told_and_taken(daemon: Daemon, context: Path) -> None:
    odd = r"""RUN touch "$(printf '/o\377dd')" "$(printf '/new\nline')" '/\xfe'"""
    build(daemon, context, f"FROM tiny\n{odd}\nRUN rm /o*\n", "-t", "odd")
    first = snapshots(daemon, "odd")[2]
    paths = [c["path"] for c in told(daemon, "image", "diff", "tiny", f"odd@{first}")]
    assert [p for p in paths if "etc/" not in p] == ["\\xfe", "new\nline", "o\\xffdd"]
    # As the shell gives it, and as it was told.
    for path in ("/o\udcffdd", "/o\\xffdd"):
        found = told(daemon, "image", "blame", "odd", path)
        assert (found["path"], found["step"], found["found"]) == ("/o\\xffdd", 3, False)
    assert told(daemon, "image", "blame", "odd", "/\\xfe")["step"] == 2
    container = daemon.klee("create", f"odd@{first}").id
    daemon.klee("exec", "-q", container, "sh", "-c", "rm /o*")
    assert "/o\\xffdd" in daemon.klee("diff", container).stdout
    refused = daemon.klee("exec", container, "cat", "/o\udcffdd", check=False)
    assert r"/o\xffdd" in refused.stderr
    assert "is not text in UTF-8" in refused.stderr
    daemon.klee("rmc", "-f", container)
    daemon.klee("rmi", "odd")


def test_two_builds_of_one_dockerfile_are_compared_by_content(
    daemon: Daemon, context: Path
) -> None:
    text = "FROM tiny\nARG n\nRUN mkdir /made && echo same >/made/same && echo $n >/made/other\n"
    for n in ("1", "2"):
        build(daemon, context, text, "--build-arg", f"n={n}", "-t", f"twin:{n}")
    assert [c["path"] for c in told(daemon, "image", "diff", "twin:1", "twin:2")] == ["made/other"]
    daemon.klee("rmi", "twin:1", "twin:2")


def _archive(daemon: Daemon) -> str:
    """The archive that ``tiny`` was made of, as a URL."""
    return f"file://{daemon.home / 'tiny.tar'}"


@pytest.fixture(scope="module", autouse=True)
def archive(daemon: Daemon, tiny_archive: Path) -> None:
    (daemon.home / "tiny.tar").write_bytes(tiny_archive.read_bytes())


def test_blame_names_the_instruction(daemon: Daemon, web: str) -> None:
    def blamed(path: str) -> tuple[int, bool]:
        found = told(daemon, "image", "blame", web, path)
        return found["step"], found["found"]

    assert blamed("/app/data") == (3, True)
    assert blamed("/app/tool") == (11, True)  # its mode was changed there
    assert blamed("/app/link") == (12, True)
    assert blamed("/tmp/seen") == (11, False)
    assert blamed("/etc/passwd") == (0, True)
    text = daemon.klee("image", "blame", web, "/app/more").stdout
    assert "was written by step 12 of web:latest" in text
    assert "RUN ln -s" in text
    assert "base image tiny:latest" in daemon.klee("image", "blame", web, "/bin/sh").stdout
    failed = daemon.klee("image", "blame", web, "/never", check=False)
    assert failed.status == 1
    assert "never was" in failed.stderr


def test_blame_stays_in_the_image(daemon: Daemon, context: Path) -> None:
    text = "FROM tiny\nRUN ln -s /etc /out && ln -s ../../../../../../etc /up\nRUN echo x >> /etc/passwd\n"
    build(daemon, context, text, "-t", "links")
    for path in ("/out/passwd", "/up/passwd"):
        found = told(daemon, "image", "blame", "links", path)
        assert (found["path"], found["step"]) == ("/etc/passwd", 3)
    assert daemon.klee("image", "blame", "links", "/out/shadow", check=False).status == 1
    daemon.klee("rmi", "links")


def test_a_state_has_the_environment_user_and_directory_of_its_step(
    daemon: Daemon, web: str
) -> None:
    script = "echo $STAGE ${LEVEL-none} $(id -un) $(pwd)"
    at = snapshots(daemon, web)

    def shell(*options: str) -> str:
        return daemon.klee("build", "shell", web, *options, "--", "sh", "-c", script).stdout.strip()

    assert shell("--step", "3") == "one none root /"
    assert shell("--step", "8") == "one 3 nobody /app"
    assert shell("--step", "8", "--before") == "one 3 nobody /app"
    assert shell() == "two 3 root /app"
    run = daemon.klee("run", "-q", "--rm", f"{web}@{at[8]}", "sh", "-c", script).stdout.strip()
    assert run == "one 3 nobody /app"
    seen = daemon.klee("build", "shell", web, "--step", "11", "--before", "--", "cat", "/tmp/seen")
    assert seen.stdout == "one 3\n"
    gone = daemon.klee("build", "shell", web, "--step", "11", "--", "cat", "/tmp/seen", check=False)
    assert gone.status == 1
    assert daemon.klee("lsc", "-aq").stdout == ""
    daemon.klee("build", "shell", web, "--keep", "kept", "--", "touch", "/mark")
    assert daemon.klee("exec", "-q", "kept", "ls", "/mark").stdout == "/mark\n"
    daemon.klee("rmc", "-f", "kept")


def test_the_failed_step_can_be_entered(daemon: Daemon, context: Path) -> None:
    text = "FROM tiny\nENV A=b\nWORKDIR /w\nRUN echo half > half && grep -q whole half\n"
    failed = build(daemon, context, text, "-t", "broken", check=False)
    assert failed.status != 0
    shell = daemon.klee(
        "build", "shell", "broken:failed", "--", "sh", "-c", "pwd; cat half; echo $A"
    )
    assert shell.stdout == "/w\nhalf\nb\n"
    before = daemon.klee(
        "build", "shell", "broken:failed", "--before", "--", "ls", "/w", check=False
    )
    assert "half" not in before.stdout
    wrong = daemon.klee("build", "shell", "broken:failed", "--step", "9", check=False)
    assert "there is no step 9" in wrong.stderr
    daemon.klee("rmi", "broken:failed")


def test_the_tree_shows_clones(daemon: Daemon, web: str) -> None:
    at = snapshots(daemon, web)
    daemon.klee("create", "--name", "branch", f"{web}@{at[5]}", "sh")
    lines = daemon.klee("image", "tree").stdout.splitlines()
    names = ("tiny:", "web:", at[5], "branch")
    places = {n: next(i for i, line in enumerate(lines) if n in line) for n in names}
    assert list(places.values()) == sorted(places.values())
    assert lines[places["branch"]].index("container") > lines[places[at[5]]].index("@")
    assert at[3] not in "\n".join(lines)
    assert at[3] in daemon.klee("image", "tree", "--steps", web).stdout
    daemon.klee("rmc", "branch")


def test_bisect_finds_the_step_and_leaves_nothing(daemon: Daemon, web: str, context: Path) -> None:
    at = snapshots(daemon, web)
    datasets = daemon.datasets()
    found = daemon.klee(
        "image", "bisect", f"{web}@{at[3]}", web, "--", "sh", "-c", "test ! -e /app/link"
    )
    assert f"the command fails since step 12 (@{at[12]})" in found.stdout
    assert daemon.datasets() == datasets
    lines = [f"RUN echo {n} >> /log" for n in range(8)]
    build(daemon, context, "\n".join(["FROM tiny", *lines]), "-t", "good")
    lines[5] = "RUN echo broken >> /log && rm /bin/cmp"
    build(daemon, context, "\n".join(["FROM tiny", *lines]), "-t", "bad")
    two = daemon.klee("image", "bisect", "good", "bad", "--", "sh", "-c", "! grep -q broken /log")
    assert "since step 7 (" in two.stdout
    assert "RUN echo broken" in two.stdout
    gone = daemon.klee("image", "bisect", "tiny", "bad", "--", "cmp", "/bin/sh", "/bin/sh")
    assert "since step 7 (" in gone.stdout
    early = daemon.klee("image", "bisect", "good", "bad", "--", "false", check=False)
    assert "fails in the good state 'good' already" in early.stderr
    late = daemon.klee("image", "bisect", "good", "bad", "--", "true", check=False)
    assert "succeeds in the bad state" in late.stderr
    slow = daemon.klee(
        "image", "bisect", "--timeout", "1", "tiny", "bad", "--",
        "sh", "-c", "test ! -e /log || sleep 60",
    )  # fmt: skip
    assert "since step 2 (" in slow.stdout
    daemon.klee("rmi", "good", "bad")
    assert daemon.klee("lsc", "-aq").stdout == ""


def test_prunes_free_exactly_what_they_say(daemon: Daemon, web: str, context: Path) -> None:
    text = DOCKERFILE.replace("echo works", "echo changed") + "RUN echo more > /more\n"
    build(daemon, context, text.replace("3000000", "5000000"), "-t", "web2")
    build(daemon, context, text.replace("3000000", "6000000"), "-t", "web2")
    broken = "FROM web2\nRUN head -c 4000000 /dev/urandom >/x && false"
    build(daemon, context, broken, "-t", "web2", check=False)
    container = daemon.klee("create", "web", "sh").id

    usage = told(daemon, "df")
    kinds = {kind["kind"]: kind for kind in usage["kinds"]}
    assert kinds["images"]["count"] >= 4
    assert kinds["containers"]["count"] == 1
    assert usage["own"] <= used(daemon)

    asked = daemon.klee("build", "prune", check=False)
    assert asked.status == 1
    assert "nobody answered" in asked.stderr
    assert daemon.klee("build", "prune", stdin="n\n", check=False).status == 1
    for prune in (["build", "prune"], ["image", "prune"], ["build", "prune", "--all"]):
        before = used(daemon)
        plan = daemon.klee(*prune, stdin="n\n", check=False)
        freed = int(_plan(daemon, *prune)["bytes"])
        assert "This frees" in plan.stderr
        assert freed > 0, (prune, plan.stdout)
        done = daemon.klee(*prune, "-f")
        assert "freed" in done.stderr
        wait_until(lambda: used(daemon) == before - freed, f"{prune} freed something else")  # noqa: B023
        assert "nothing to remove" in daemon.klee(*prune, "-f").stderr

    assert daemon.klee("run", "-q", "--rm", "web").stdout == "works\n"
    assert daemon.klee("run", "-q", "--rm", "web2").status == 0
    assert "pruned" in daemon.klee("image", "history", "web").stdout
    steps = told(daemon, "image", "history", "web")
    gone = daemon.klee("run", f"web@{steps[2]['snapshot']}", "true", check=False)
    assert "was pruned" in gone.stderr
    found = told(daemon, "image", "blame", "web", "/app/data")
    assert (found["since"], found["step"]) == (3, 12)
    daemon.klee("rmc", container)
    daemon.restart()
    assert daemon.klee("run", "-q", "--rm", "web").stdout == "works\n"


def _plan(daemon: Daemon, kind: str, *options: str) -> Any:
    from kleene.client.api import Client

    with Client(f"http://{daemon.socket}") as client:
        every = "--all" in options
        api = client.builds if kind == "build" else client.images
        return {"bytes": api.prune_plan(all=every).bytes}


def test_inspect_tells_sizes(daemon: Daemon, web: str) -> None:
    size = json.loads(daemon.klee("isi", "tiny").stdout)["size"]
    assert size["size"] >= 500_000
    assert size["own"] + size["shared"] == size["size"] or size["shared"] > 0
