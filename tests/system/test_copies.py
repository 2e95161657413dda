"""``klee cp``: into containers and out of them, running or not; and what must not get out of either."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.slow


@pytest.fixture(params=["running", "stopped"])
def box(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container with a volume, and some files in both."""
    script = (
        "mkdir -p /src/sub; echo a > /src/a; ln /src/a /src/twin; ln -s /etc/passwd /src/link;"
        "mkfifo /src/pipe; chmod 640 /src/a; chmod 4755 /src/sub; echo v > /data/v; touch /ready;"
    )
    wait = "sleep 600" if request.param == "running" else "true"
    daemon.klee("run", "-d", "--name", "box", "-m", "vol:/data", "tiny", "sh", "-c", script + wait)
    if request.param == "running":
        daemon.klee("exec", "box", "sh", "-c", "until test -e /ready; do sleep 0.1; done")
    else:
        daemon.klee("wait", "box")
    yield "box"
    daemon.klee("rmc", "-f", "box")
    daemon.klee("rmv", "vol")


def shell(daemon: Daemon, script: str) -> str:
    """What a script prints in the container, which is stopped again if it was."""
    return daemon.klee("exec", "-q", "box", "sh", "-c", script).stdout


def test_a_file_into_a_container(daemon: Daemon, box: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3_000_000))
    file.chmod(0o640)
    os.chown(file, 1000, 1000)
    daemon.klee("cp", file, f"{box}:/tmp")
    daemon.klee("cp", file, f"{box}:/tmp/other")
    daemon.klee("cp", "-a", file, f"{box}:/data/kept")
    listing = shell(daemon, "stat -c '%u %a %s %n' /tmp/file /tmp/other /data/kept")
    assert listing.splitlines() == [
        "0 640 3000000 /tmp/file",
        "0 640 3000000 /tmp/other",
        "1000 640 3000000 /data/kept",
    ]
    daemon.klee("cp", f"{box}:/data/kept", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_a_directory_out_of_a_container(daemon: Daemon, box: str, tmp_path: Path) -> None:
    daemon.klee("cp", f"{box}:/src", tmp_path)
    daemon.klee("cp", f"{box}:src/.", tmp_path / "content")
    for copy in (tmp_path / "src", tmp_path / "content"):
        assert sorted(path.name for path in copy.iterdir()) == ["a", "link", "pipe", "sub", "twin"]
        assert (copy / "a").read_text() == "a\n"
        assert (copy / "a").stat().st_mode & 0o7777 == 0o640
        assert (copy / "a").samefile(copy / "twin")
        assert (copy / "link").readlink() == Path("/etc/passwd")
        assert (copy / "pipe").is_fifo()
        assert (copy / "sub").stat().st_mode & 0o7777 == 0o755
    daemon.klee("cp", f"{box}:/data/v", tmp_path / "v")
    assert (tmp_path / "v").read_text() == "v\n"


def test_a_directory_into_a_container(daemon: Daemon, box: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("x\n")
    (tree / "link").symlink_to("sub/file")
    daemon.klee("cp", tree, f"{box}:/tmp")
    daemon.klee("cp", tree, f"{box}:/tmp/new")
    daemon.klee("cp", f"{tree}/.", f"{box}:/data")
    daemon.klee("cp", f"{tree}/.", f"{box}:/tmp/content")
    for place in ("/tmp/tree", "/tmp/new", "/data", "/tmp/content"):
        assert shell(daemon, f"cat {place}/link; readlink {place}/link") == "x\nsub/file\n"


def test_tar_streams(daemon: Daemon, box: str, tmp_path: Path) -> None:
    done = subprocess.run(
        daemon.command("cp", f"{box}:/src", "-"), capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames()[0] == "src"
        assert archive.extractfile("src/a").read() == b"a\n"  # type: ignore[union-attr]
    subprocess.run(
        daemon.command("cp", "-", f"{box}:/tmp"), input=done.stdout, check=True, timeout=60
    )
    assert shell(daemon, "cat /tmp/src/a") == "a\n"


def test_links_lead_nowhere_out_of_the_container(daemon: Daemon, box: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "file").write_text("new\n")
    shell(daemon, f"ln -s {outside} /tmp/out; ln -s ../../../../../../etc/passwd /tmp/up")
    refused = daemon.klee("cp", tmp_path / "file", f"{box}:/tmp/out/x", check=False)
    assert refused.status == 1
    daemon.klee("cp", tmp_path / "file", f"{box}:/tmp/up")
    assert not any(outside.iterdir())
    assert "root:" in Path("/etc/passwd").read_text()
    assert shell(daemon, "test -L /tmp/up || cat /tmp/up") == "new\n"


def test_what_cannot_be_copied(daemon: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()

    def refused(*arguments: str | Path) -> str:
        done = daemon.klee("cp", *arguments, check=False)
        assert done.status in (1, 2), done
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "does not exist in container 'box'" in refused(f"{box}:/none", tmp_path)
    assert "does not exist in container 'box'" in refused(tmp_path / "file", f"{box}:/none/x")
    assert "is not a directory" in refused(tmp_path / "dir", f"{box}:/src/a")
    assert "is not a directory" in refused(f"{box}:/src", tmp_path / "file")
    assert "does not exist" in refused(tmp_path / "none", f"{box}:/tmp")
    assert "internal error" not in daemon.log  # a client that goes away is no fault of the daemon's
    assert "does not exist" in refused(f"{box}:/src", tmp_path / "no" / "where")
    assert f"directory '{tmp_path}/no' does not exist" in refused(
        f"{box}:/src/a", tmp_path / "no" / "where"
    )
    assert "mkdir -p /none" in refused(tmp_path / "file", f"{box}:/none/x")
    assert "is not a directory in container" in refused(f"{box}:/src/a/", tmp_path)
    assert "not a directory" in refused(f"{tmp_path}/file/", f"{box}:/tmp")
    assert "no such container" in refused("nobody:/etc", tmp_path)
    assert "must be CONTAINER:PATH" in refused(tmp_path, tmp_path)
    damaged = daemon.klee("cp", "-", f"{box}:/tmp", stdin="no archive", check=False)
    assert damaged.status == 1
    assert "is not a tar archive" in damaged.stderr or "damaged" in damaged.stderr


def test_the_whole_of_a_container(daemon: Daemon, box: str, tmp_path: Path) -> None:
    """Also of one that runs: the kernel's file systems are there, with nothing in them."""
    device = tmp_path / "device"
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    daemon.klee("cp", f"{box}:/", tmp_path / "all")
    assert (tmp_path / "all/src/a").read_text() == "a\n"
    assert [*(tmp_path / "all/proc").iterdir()] == [*(tmp_path / "all/dev").iterdir()] == []
    script = "ln -s /src/l2 /src/l1; ln -s ../src/sub/../a /src/l2; ln -s /src/loop /src/loop"
    daemon.klee("exec", "box", "sh", "-c", script)
    daemon.klee("cp", "-L", f"{box}:/src/l1", tmp_path / "followed")
    assert (tmp_path / "followed").read_text() == "a\n"
    (tmp_path / "link").symlink_to("followed")
    daemon.klee("cp", "-L", tmp_path / "link", f"{box}:/src/copied")
    daemon.klee("cp", f"{box}:/src/copied", tmp_path / "again")
    assert not (tmp_path / "again").is_symlink()
    looped = daemon.klee("cp", "-L", f"{box}:/src/loop", tmp_path / "x", check=False)
    assert "too many levels of symbolic links" in looped.stderr
    # A device of the host is no file to be replaced, and one of the container none to be copied.
    for arguments in ((f"{box}:/src/a", device), (device, f"{box}:/x")):
        assert "is a device" in daemon.klee("cp", *arguments, check=False).stderr
    assert stat.S_ISCHR(device.stat().st_mode)
    if daemon.klee("ps", "-q").stdout:
        assert "is a device" in daemon.klee("cp", f"{box}:/dev/null", tmp_path, check=False).stderr
