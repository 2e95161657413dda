"""The published client against a real daemon: what users of Kleene have already must go on working.

Its exit status is 0 for most failures, and so it is asserted; what it prints is what counts.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.published import PublishedClient, install

pytestmark = pytest.mark.slow

SUBNET, OTHER_SUBNET = "10.13.39.0/24", "10.13.40.0/24"

DOCUMENTED = Path(__file__).parents[1] / "architecture" / "documented_commands.json"

GOOD = """\
FROM tiny
ARG who=nobody
RUN echo "hello $who" > /greeting
CMD ["cat", "/greeting"]
"""
BAD = """\
FROM tiny
RUN echo one > /one
RUN echo broken >&2; exit 3
"""


@pytest.fixture(scope="session")
def python() -> Path:
    return install()


@pytest.fixture
def klee(python: Path, daemon: Daemon) -> PublishedClient:
    return PublishedClient(python, daemon)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a Dockerfile that works and one that does not."""
    (tmp_path / "Dockerfile").write_text(GOOD)
    (tmp_path / "Bad").write_text(BAD)
    return tmp_path


def rows(table: str) -> list[list[str]]:
    """The cells of a table, its head left out."""
    return [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]


def inspected(klee: PublishedClient, *arguments: str) -> Any:
    """What an ``inspect`` command shows."""
    return json.loads(klee(*arguments).stdout)


def ended(output: str) -> int:
    """The exit status that the client says a process had."""
    match = re.search(r"exited with exit-code (\d+)$", output.rstrip())
    assert match, output
    return int(match[1])


# --- Images


def test_a_base_image_from_an_archive(klee: PublishedClient, tiny_archive: Path) -> None:
    made = klee("image", "create", "-t", "base:1", "fetch", f"file://{tiny_archive}")
    assert "image created" in made.stdout
    assert [made.stdout.split()[-1], "base", "1"] in [row[:3] for row in rows(klee("lsi").stdout)]
    assert klee("rmi", "base:1").stdout.strip() == made.stdout.split()[-1]


def test_a_base_image_that_cannot_be_made(klee: PublishedClient) -> None:
    said = klee("image", "create", "-t", "base:2", "fetch", "file:///does/not/exist").stdout
    assert "archive '/does/not/exist' does not exist" in said
    assert "base" not in klee("image", "ls").stdout


def test_inspect_tag_and_remove_images(klee: PublishedClient, context: Path) -> None:
    image = klee("build", "-t", "web:1", context).stdout.split()[-1]
    shown = inspected(klee, "image", "inspect", "web:1")
    assert (shown["id"], shown["cmd"]) == (image, ["cat", "/greeting"])
    assert shown["instructions"][0] == ["FROM tiny", ""]

    assert klee("image", "tag", "web:1", "site").stdout.strip() == image
    assert inspected(klee, "isi", "site:latest")["id"] == image
    assert klee("isi", "web:1").stdout.strip() == "no such image: 'web:1'"

    assert klee("image", "rm", image).stdout.strip() == image
    assert klee("rmi", "site", status=1).stdout.strip() == "no such image: 'site:latest'"


def test_prune_images(klee: PublishedClient, context: Path) -> None:
    untagged = klee("build", "-t", "again", context).stdout.split()[-1]
    tagged = klee("build", "-t", "again", context).stdout.split()[-1]
    assert klee("image", "prune", "-f").stdout.split() == [untagged]
    assert "Aborted" in klee("image", "prune", "-a", status=1, stdin="n\n").stderr
    assert inspected(klee, "isi", "again")["id"] == tagged
    klee("rmi", "again")


# --- Builds


def test_a_build(klee: PublishedClient, context: Path) -> None:
    built = klee("build", "-t", "greeter", "--build-arg", "who=world", ".", cwd=context).stdout
    lines = built.splitlines()
    image = lines[-1]
    assert lines[0] == f"Started to build image with ID {image}"
    assert lines[1] == "Step 1/4 : FROM tiny"
    assert lines[3] == 'Step 3/4 : RUN echo "hello $who" > /greeting'
    snapshot = re.fullmatch("--> Snapshot created: @([0-9a-f]{12})", lines[4])
    assert snapshot
    assert lines[-3:] == ["", "image created", image]
    assert "hello world" in klee("run", f"greeter@{snapshot[1]}", "cat", "/greeting").stdout
    klee("container", "prune", "-f")
    klee("rmi", "greeter")


def test_a_build_that_fails_is_kept(klee: PublishedClient, context: Path) -> None:
    said = klee("build", "-t", "bad", "-f", "Bad", context, status=1).stdout
    assert "\nbroken\n" in said
    assert "returned a non-zero code: 3" in said
    match = re.search(r"Failed to build image (\w+). Most recent snapshot is @(\w+)", said)
    assert match
    assert [match[1], "bad", "failed"] in [row[:3] for row in rows(klee("lsi").stdout)]
    assert ended(klee("run", f"{match[1]}@{match[2]}", "cat", "/one").stdout) == 0
    klee("container", "prune", "-f")
    klee("rmi", "bad:failed")


def test_a_build_that_fails_leaves_nothing_with_rm(klee: PublishedClient, context: Path) -> None:
    said = klee("build", "--rm", "-t", "bad", "-f", "Bad", context, status=1).stdout
    assert "Failed to build image" in said
    assert "bad" not in klee("lsi").stdout


def test_a_build_without_a_dockerfile(klee: PublishedClient, context: Path) -> None:
    said = klee("build", "-f", "Missing", context, status=1).stdout
    assert said.startswith(f"'Missing' is not in the build context '{context}'")


# --- Containers


def test_run_in_the_foreground(klee: PublishedClient) -> None:
    said = klee("run", "--name", "fg", "-e", "A=b", "tiny", "/bin/sh", "-c", "echo $A; exit 7")
    container, created, output, *_ = said.stdout.splitlines()
    assert re.fullmatch("created execution instance [0-9a-f]{12}", created)
    assert output == "b"
    assert "and its container exited" in said.stdout
    assert ended(said.stdout) == 7
    shown = inspected(klee, "isc", "fg")["container"]
    assert (shown["id"], shown["running"], shown["env"]) == (container, False, ["A=b"])
    assert klee("rmc", "fg").stdout.strip() == container


def test_run_what_does_not_exist(klee: PublishedClient) -> None:
    said = klee("run", "--name", "none", "tiny", "nosuch").stdout
    assert "command 'nosuch' does not exist" in said
    assert "could not create container: no such image" in klee("run", "nope", status=1).stdout
    klee("rmc", "none")


def test_a_container_from_start_to_end(klee: PublishedClient) -> None:
    said = klee("run", "-d", "--name", "bg", "tiny", "/bin/sleep", "600").stdout
    container = said.split()[0]
    (row,) = (row for row in rows(klee("lsc").stdout) if row[0] == container)
    assert row[1:4] == ["bg", "tiny:latest", "/bin/sleep 600"]
    assert row[6] == "running"

    assert "/bin/sleep 600" in klee("exec", "bg", "/bin/ps").stdout
    said = klee("exec", "-u", "nobody", "bg", "/bin/sh", "-c", "id -un; echo e >&2; exit 4").stdout
    assert said.splitlines()[1:3] == ["nobody", "e"]
    assert ended(said) == 4
    assert "and its container" not in said
    klee("exec", "-d", "bg", "/bin/sh", "-c", "echo here > /mark")
    wait_until(lambda: "here" in klee("exec", "bg", "cat", "/mark").stdout, "no /mark")

    assert klee("rmc", "bg", status=1).stdout.strip() == "container 'bg' is running"
    assert klee("restart", "bg").stdout.split()[0] == container
    assert klee("stop", "bg").stdout.strip() == container
    assert container not in klee("container", "ls").stdout
    assert "created execution instance" in klee("start", "-d", "bg").stdout
    assert container in klee("container", "ls").stdout
    assert klee("rmc", "-f", "bg").stdout.strip() == container
    assert container not in klee("container", "ls", "-a").stdout


def test_change_containers(klee: PublishedClient) -> None:
    container = klee("create", "--name", "before", "tiny", "/bin/true").stdout.strip()
    update = ("container", "update", "--restart", "on-startup", "-e", "A=1", "-P")
    assert klee(*update, "before", "/bin/sh", "/x").stdout.strip() == container
    assert klee("container", "rename", "before", "after").stdout.strip() == container
    shown = inspected(klee, "container", "inspect", "after")["container"]
    wanted = {
        "name": "after",
        "restart_policy": "on-startup",
        "persist": True,
        "env": ["A=1"],
        "cmd": ["/bin/sh", "/x"],
    }
    assert {name: shown[name] for name in wanted} == wanted
    other = klee("create", "--name", "other", "tiny", "/bin/true").stdout.strip()
    said = klee("container", "rename", "other", "after").stdout
    assert "'after' is taken" in said
    assert klee("container", "prune", "-f").stdout.split() == [other]
    klee("rmc", "after")


def test_start_attached(klee: PublishedClient) -> None:
    klee("create", "--name", "echo", "tiny", "/bin/echo", "said")
    for _ in range(2):
        said = klee("start", "echo").stdout
        assert "\nsaid\n" in said
        assert ended(said) == 0
    klee("rmc", "echo")


# --- Networks


def test_networks(klee: PublishedClient) -> None:
    network = klee("network", "create", "--subnet", SUBNET, "lan").stdout.strip()
    assert [network, "lan", "loopback", SUBNET] in rows(klee("network", "ls").stdout)
    assert "overlaps" in klee("network", "create", "--subnet", SUBNET, "twin").stdout

    said = klee("run", "-n", "lan", "--name", "short", "tiny", "ip", "-4", "addr").stdout
    assert "inet 10.13.39.2/24" in said
    klee("run", "-d", "-n", "lan", "--ip", "10.13.39.9", "--name", "host", "tiny", "sleep", "600")
    shown = inspected(klee, "network", "inspect", "lan")
    assert shown["network"]["gateway"] == "10.13.39.1"
    addresses = [endpoint["ip_address"] for endpoint in shown["network_endpoints"]]
    assert sorted(addresses) == ["10.13.39.2", "10.13.39.9"]

    assert klee("network", "disconnect", "lan", "host").stdout == ""
    assert "inet 10.13.39." not in klee("exec", "host", "ip", "-4", "addr").stdout
    assert klee("network", "connect", "--ip", "10.13.39.12", "lan", "host").stdout == ""
    assert "inet 10.13.39.12/24" in klee("exec", "host", "ip", "-4", "addr").stdout
    assert "already connected" in klee("network", "connect", "lan", "host").stdout

    assert klee("network", "prune", "-f").stdout.strip() == ""
    assert klee("network", "rm", "lan").stdout.strip() == network
    assert "inet 10.13.39." not in klee("exec", "host", "ip", "-4", "addr").stdout
    assert klee("isn", "lan").stdout.strip() == "no such network: 'lan'"
    klee("rmc", "-f", "host", "short")


def test_prune_networks(klee: PublishedClient) -> None:
    create = ("network", "create", "-t", "bridge", "--subnet", OTHER_SUBNET, "unused")
    network = klee(*create).stdout.strip()
    assert klee("network", "prune", "-f").stdout.split() == [network]
    assert network not in klee("lsn").stdout


# --- Volumes


def test_volumes(klee: PublishedClient) -> None:
    for _ in range(2):
        assert klee("volume", "create", "data").stdout.strip() == "data"
    assert [row[0] for row in rows(klee("volume", "ls").stdout)] == ["data"]
    write, read = "echo kept > /data/file", "cat /data/file; echo more > /data/file"
    assert ended(klee("run", "-m", "data:/data", "tiny", "/bin/sh", "-c", write).stdout) == 0
    said = klee("run", "-m", "data:/data:ro", "tiny", "/bin/sh", "-c", read).stdout
    assert "kept" in said
    assert "Read-only file system" in said
    assert ended(said) == 1
    mounted = inspected(klee, "volume", "inspect", "data")["mountpoints"]
    assert [mount["read_only"] for mount in mounted] == [False, True]

    assert "volume 'data' is" in klee("volume", "rm", "data").stdout
    assert klee("volume", "prune", "-f").stdout.strip() == ""
    klee("container", "prune", "-f")
    assert klee("volume", "rm", "data").stdout.strip() == "data"
    assert klee("isv", "data").stdout.strip().startswith("no such volume: 'data'")


def test_prune_volumes(klee: PublishedClient) -> None:
    klee("volume", "create", "unused")
    assert klee("volume", "prune", "-f").stdout.split() == ["unused"]
    assert "unused" not in klee("lsv").stdout


# --- The long forms, a terminal, and that nothing was left out


def test_long_forms(klee: PublishedClient, context: Path) -> None:
    image = klee("image", "build", "-t", "long", context).stdout.split()[-1]
    container = klee("container", "create", "--name", "long", "long", "cat").stdout.strip()
    assert "created execution instance" in klee("container", "start", "-d", "long").stdout
    klee("container", "rm", "-f", "long")
    said = klee("container", "run", "-d", "--name", "long", "long", "/bin/sleep", "600").stdout
    assert said.split()[0] != container
    assert "hello" in klee("container", "exec", "long", "cat", "/greeting").stdout
    assert said.split()[0] in klee("container", "restart", "long").stdout
    assert klee("container", "stop", "long").stdout.strip() == said.split()[0]
    assert klee("container", "rm", "long").stdout.strip() == said.split()[0]
    assert klee("rmi", "long").stdout.strip() == image

    network = klee("network", "create", "--subnet", OTHER_SUBNET, "long").stdout.strip()
    assert klee("rmn", "long").stdout.strip() == network
    klee("volume", "create", "long")
    assert klee("rmv", "long").stdout.strip() == "long"


def test_a_terminal(klee: PublishedClient) -> None:
    """A shell in one, typed to; the client ends with it."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            klee.command("run", "-it", "--name", "tty", "tiny", "/bin/sh"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(klee.daemon.home)},
            start_new_session=True,
        )
        os.close(slave)
        shown = read_until(master, b"# ")
        type_in(master, b"echo $((6 * 7)); tty\n")
        shown = read_until(master, b"/dev/pts/")
        assert b"\n42" in shown.replace(b"\r", b"")
        type_in(master, b"exit 5\n")
        assert b"exit-code 5" in read_until(master, b"exit-code 5")
        process.wait(60)
    finally:
        os.close(master)
    klee("rmc", "tty")


def type_in(terminal: int, keys: bytes) -> None:
    """Press one key after the other, each when the last one is shown: this client takes no more at once."""
    for key in keys[:-1]:
        os.write(terminal, bytes((key,)))
        read_until(terminal, bytes((key,)))
    os.write(terminal, keys[-1:])


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What the terminal shows, up to ``wanted`` and what comes with it."""
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 4096)
    return shown


def test_every_documented_command_is_tried() -> None:
    tried = " ".join(re.findall(r"[\w-]+", Path(__file__).read_text()))
    commands = json.loads(DOCUMENTED.read_text())
    groups = ("", "container", "image", "network", "volume")
    names = [name.removeprefix("klee").strip() for name in commands]
    assert not [name for name in names if name not in groups and f" {name} " not in tried]
