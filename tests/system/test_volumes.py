"""Volumes as datasets: quota, snapshots, restore, clones, tar streams; and mounts of the host's files."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, unused_network, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def data(daemon: Daemon) -> Iterator[str]:
    """A volume with a file in it."""
    write(daemon, "data", "echo one > /v/f")
    yield "data"
    for container in daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", "-f", container)
    daemon.klee("rmv", *daemon.klee("lsv", "-q").stdout.split())
    assert [d for d in daemon.datasets() if not d.startswith("image/")] == []


def write(daemon: Daemon, volume: str, script: str, check: bool = True) -> str:
    """Run a script in a container that has the volume at /v; what it prints."""
    done = daemon.klee(
        "run", "-q", "--rm", "-m", f"{volume}:/v", "tiny", "sh", "-c", script, check=check
    )
    return done.stdout + done.stderr


def test_snapshots_and_the_way_back(daemon: Daemon, data: str) -> None:
    assert daemon.klee("volume", "snapshot", data, "first").stdout == "first\n"
    write(daemon, data, "echo two > /v/f; touch /v/more")
    named = daemon.klee("volume", "snapshot", data).stdout.strip()
    listed = daemon.klee("volume", "snapshots", "-q", data).stdout.split()
    assert listed == ["first", named]
    assert '"name": "first"' in daemon.klee("isv", data).stdout
    again = daemon.klee("volume", "snapshot", data, "first", check=False)
    assert "has a snapshot 'first' already" in again.stderr

    daemon.klee("run", "-d", "--name", "user", "-m", f"{data}:/v", "tiny", "sleep", "600")
    refused = daemon.klee("volume", "restore", data, "first", check=False)
    assert "running containers mount it: 'user'" in refused.stderr
    assert "klee stop user" in refused.stderr
    daemon.klee("stop", "user")
    daemon.klee("volume", "restore", data, "first")
    assert write(daemon, data, "ls /v; cat /v/f") == "f\none\n"
    write(daemon, data, "echo three > /v/f")

    # Later snapshots stay, and lead forward again; and the daemon finds all of it after a crash.
    daemon.restart()
    assert daemon.klee("volume", "snapshots", "-q", data).stdout.split() == ["first", named]
    daemon.klee("volume", "restore", data, named)
    assert write(daemon, data, "ls /v; cat /v/f") == "f\nmore\ntwo\n"
    assert "is not in the metadata" not in daemon.log
    daemon.klee("start", "-d", "user")
    assert daemon.klee("exec", "-q", "user", "cat", "/v/f").stdout == "two\n"

    daemon.klee("volume", "rm", f"{data}@first", f"{data}@{named}")
    assert daemon.klee("volume", "snapshots", "-q", data).stdout == ""
    assert len([d for d in daemon.datasets() if d.startswith(("state/", "volume/"))]) == 1
    missing = daemon.klee("volume", "restore", data, "first", check=False)
    assert "no such snapshot: 'first' of volume 'data'" in missing.stderr


def test_clones(daemon: Daemon, data: str) -> None:
    daemon.klee("volume", "snapshot", data, "first")
    write(daemon, data, "echo two > /v/f")
    daemon.klee("volume", "clone", data, "now")
    daemon.klee("volume", "clone", f"{data}@first", "then")
    taken = daemon.klee("volume", "clone", data, "then", check=False)
    assert "volume 'then' exists already" in taken.stderr
    write(daemon, "now", "echo mine > /v/f")
    for volume, content in ((data, "two"), ("now", "mine"), ("then", "one")):
        assert write(daemon, volume, "cat /v/f") == f"{content}\n"
    daemon.klee("volume", "rm", f"{data}@first")
    daemon.klee("rmv", data)
    assert write(daemon, "then", "cat /v/f") == "one\n"
    daemon.klee("volume", "create", data)


def test_quota(daemon: Daemon, data: str) -> None:
    daemon.klee("volume", "create", "--quota", "16M", "small")
    fill = "dd if=/dev/urandom of=/v/big bs=1M count=40 conv=fsync 2>&1; rm -f /v/big"
    assert "quota exceeded" in write(daemon, "small", fill).lower()
    daemon.klee("volume", "update", "--quota", "none", "small")
    assert "40+0 records out" in write(daemon, "small", fill)
    daemon.klee("volume", "update", "--quota", "16M", data)
    assert '"quota": 16777216' in daemon.klee("isv", data).stdout
    assert "quota exceeded" in write(daemon, data, fill).lower()
    # What comes of a volume is limited like it.
    daemon.klee("volume", "snapshot", data, "s")
    daemon.klee("volume", "restore", data, "s")
    daemon.klee("volume", "clone", data, "copy")
    for volume in (data, "copy"):
        assert "quota exceeded" in write(daemon, volume, fill).lower()
    write(daemon, "small", "dd if=/dev/urandom of=/v/big bs=1M count=20 conv=fsync 2>/dev/null")
    less = daemon.klee("volume", "update", "--quota", "2M", "small", check=False)
    assert "holds more than 2097152 bytes already" in less.stderr
    for wrong in ("much", "10", "-1"):
        assert daemon.klee("volume", "create", f"--quota={wrong}", "x", check=False).status != 0


def test_tar_streams(daemon: Daemon, data: str) -> None:
    script = (
        "cd /v; mkdir -m 2775 d; echo x > d/a; ln d/a d/twin; ln -s /etc/passwd link; mkfifo pipe;"
        "chown 1000:2000 d/a; chmod 4751 d/a; touch -d '2020-01-02 03:04:05' f"
    )
    write(daemon, data, script)
    inside = volume_path(daemon, data)
    os.setxattr(inside / "f", "user.note", b"kept")
    done = subprocess.run(daemon.command("volume", "export", data), capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        found = {member.name: member for member in archive}
    assert (found["./d/a"].uid, found["./d/a"].gid) == (1000, 2000)
    fill = subprocess.run(
        daemon.command("volume", "import", "copy"),
        input=done.stdout,
        capture_output=True,
        check=True,
    )
    assert fill.stdout == b"copy\n"
    listing = "cd /v; stat -c '%n %u %g %a %F %h' d d/a link pipe f; readlink link; date -r f +%Y"
    assert write(daemon, "copy", listing) == write(daemon, data, listing)
    copied = volume_path(daemon, "copy")
    assert (copied / "d/a").samefile(copied / "d/twin")
    assert os.getxattr(copied / "f", "user.note") == b"kept"

    again = daemon.klee("volume", "import", "copy", check=False, stdin="")
    assert "volume 'copy' is not empty" in again.stderr
    daemon.klee("run", "-d", "--name", "user", "-m", "busy:/v", "tiny", "sleep", "600")
    busy = subprocess.run(
        daemon.command("volume", "import", "busy"), input=done.stdout, capture_output=True
    )
    assert b"running containers mount it: 'user'" in busy.stderr
    daemon.klee("rmc", "-f", "user")
    hostile = io.BytesIO()
    with tarfile.open(fileobj=hostile, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("good"))
        archive.addfile(tarfile.TarInfo("../../outside"))
    refused = subprocess.run(
        daemon.command("volume", "import", "new"), input=hostile.getvalue(), capture_output=True
    )
    assert refused.returncode == 1
    assert "new" not in daemon.klee("lsv", "-q").stdout.split()
    assert not [d for d in daemon.datasets() if d.startswith("state/")]


def volume_path(daemon: Daemon, volume: str) -> Path:
    """Where the volume is on the host."""
    found = subprocess.run(
        ["sed", "-n", 's/.*"mountpoint": "\\(.*\\)",/\\1/p'],
        input=daemon.klee("isv", volume).stdout,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(found.stdout.strip())


def test_one_volume_in_several_containers(daemon: Daemon, data: str) -> None:
    daemon.klee("run", "-d", "--name", "writer", "-m", f"{data}:/v", "tiny", "sleep", "600")
    daemon.klee("run", "-d", "--name", "reader", "-m", f"{data}:/w:ro", "tiny", "sleep", "600")
    daemon.klee("exec", "writer", "sh", "-c", "echo shared > /v/f")
    assert daemon.klee("exec", "-q", "reader", "cat", "/w/f").stdout == "shared\n"
    refused = daemon.klee("exec", "reader", "touch", "/w/f", check=False)
    assert "Read-only file system" in refused.stdout + refused.stderr
    used = daemon.klee("rmv", data, check=False)
    assert "volume 'data' is used by containers 'reader', 'writer'" in used.stderr
    # A new volume is filled with what the image has there; one with something in it is left alone.
    assert "busybox" in write_at(daemon, "fresh", "/bin", "ls /bin")
    assert write_at(daemon, data, "/bin", "true", check=False) != ""


def write_at(daemon: Daemon, volume: str, path: str, script: str, check: bool = True) -> str:
    """Run a script in a container that has the volume at ``path``; what it prints."""
    done = daemon.klee(
        "run", "-q", "--rm", "-m", f"{volume}:{path}", "tiny", "sh", "-c", script, check=check
    )
    return done.stdout + done.stderr


def test_files_and_directories_of_the_host(daemon: Daemon, data: str, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f").write_text("directory\n")
    (tmp_path / "file").write_text("file\n")
    mounts = ("-m", f"{tmp_path}/dir:/d", "-m", f"{tmp_path}/file:/etc/deep/file:ro")
    script = "cat /d/f /etc/deep/file; echo new > /d/n; echo no > /etc/deep/file"
    done = daemon.klee("run", "-q", "--rm", *mounts, "tiny", "sh", "-c", script, check=False)
    assert done.stdout == "directory\nfile\n"
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "dir" / "n").read_text() == "new\n"
    beside = ("-m", "./dir:/d", "tiny", "cat", "/d/n")
    assert daemon.klee("run", "-q", "--rm", *beside, cwd=tmp_path).stdout == "new\n"
    for mount, said in (
        ("a/dir:/d", "mount source 'a/dir' is a relative path"),
        (f"{tmp_path}/none:/d", f"mount source '{tmp_path}/none' does not exist on the host"),
        (f"{tmp_path}/dir:d", "relative destination 'd'"),
        (f"{tmp_path}/dir:/", "is not an absolute path below '/'"),
    ):
        refused = daemon.klee("run", "--rm", "-m", mount, "tiny", "true", check=False)
        assert refused.status == (2 if "relative destination" in said else 1)
        assert said in refused.stderr
        assert "hint: " in refused.stderr


def test_labels_and_what_prunes_take_by_them(daemon: Daemon, data: str) -> None:
    daemon.klee("volume", "create", "--label", "team=web", "--label", "keep", "own")
    daemon.klee("volume", "create", "--label", "team=db", "other")
    net = ["network", "create", "--subnet"]
    daemon.klee(*net, f"{unused_network()}.0/28", "--label", "team=web", "labelled")
    daemon.klee("network", "create", "bare")
    assert daemon.klee("isn", "-f", "{{.Subnet}}", "bare").stdout.endswith(".0/24\n")
    assert daemon.klee("network", "create", "host", check=False).status == 1
    daemon.klee("create", "--name", "one", "--label", "team=web", "tiny", "true")
    daemon.klee("create", "--name", "two", "tiny", "true")
    # What is there is found after a restart, and a state from before keeps the labels.
    daemon.klee("volume", "snapshot", "own", "s")
    daemon.klee("volume", "restore", "own", "s")
    daemon.restart()
    assert (
        daemon.klee("isv", "-f", "{{json .Labels}}", "own").stdout
        == '{"team": "web", "keep": ""}\n'
    )
    assert daemon.klee("isn", "-f", "{{.Labels.team}}", "labelled").stdout == "web\n"
    assert daemon.klee("lsv", "-q", "--filter", "label=team").stdout.split() == ["own", "other"]
    named = ["--filter", "label=team=web", "--format", "{{.Name}}"]
    assert daemon.klee("lsn", *named).stdout == "labelled\n"

    assert daemon.klee("volume", "prune", "-f", "--filter", "until=1h").stdout == ""
    gone = daemon.klee("volume", "prune", "-f", "--filter", "label=team", "--filter", "label!=keep")
    assert gone.stdout.split() == ["other"]
    assert daemon.klee("lsv", "-q").stdout.split() == [data, "own"]
    assert len(daemon.klee("network", "prune", "-f", "--filter", "label!=team").stdout.split()) == 1
    assert daemon.klee("lsn", "--format", "{{.Name}}").stdout == "labelled\n"
    assert len(daemon.klee("container", "prune", "-f", *named[:2]).stdout.split()) == 1
    assert daemon.klee("lsc", "-a", "--format", "{{.Name}}").stdout == "two\n"
    daemon.klee("network", "prune", "-f")
    wrong = daemon.klee("network", "prune", "-f", "--filter", "until=soon", check=False)
    assert "'soon' is not a time" in wrong.stderr


def test_who_goes_away_in_the_middle_of_an_export_leaves_nothing(daemon: Daemon, data: str) -> None:
    write(daemon, data, "dd if=/dev/zero of=/v/big bs=1M count=64 2>/dev/null")
    assert daemon.process is not None
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")

    def copies() -> list[str]:
        return [d for d in daemon.datasets() if d.startswith(("state/", "trash/"))]

    wait_until(lambda: len(daemon.klee("lsc", "-aq").stdout) == 0, "the writer is still there")
    before = len(list(descriptors.iterdir()))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(f"GET /volumes/{data}/archive HTTP/1.1\r\nHost: k\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert copies()
    wait_until(lambda: not copies(), "the copy is still there")
    wait_until(lambda: len(list(descriptors.iterdir())) <= before, "descriptors are still open")
    with contextlib.closing(sqlite3.connect(daemon.root / "kleene.db")) as database:
        rows = "SELECT name FROM volumes WHERE state != 'ready'"
        wait_until(lambda: not database.execute(rows).fetchall(), "its row is still there")
