"""Mistakes, at the command line: a clear error that names the remedy, and nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import BIN, Daemon, Result, unused_network
from tests.support.rootfs import write_tar

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _nothing_left(daemon: Daemon) -> object:
    """No test here may leave an object of any kind."""
    before = listing(daemon)
    yield
    assert listing(daemon) == before


def listing(daemon: Daemon) -> list[str]:
    """Ids of all objects, and the file systems on disk."""
    commands = (["lsc", "-aq"], ["lsi", "-q"], ["lsn", "-q"], ["lsv", "-q"])
    ids = [line for words in commands for line in daemon.klee(*words).stdout.split()]
    return sorted(ids) + daemon.datasets()


def refused(daemon: Daemon, *arguments: str | Path) -> Result:
    """Run a command that must fail, with an error in the form that users know."""
    result = daemon.klee(*arguments, check=False)
    assert result.status == 1, result
    assert "klee: " in result.stderr, result
    assert "Traceback" not in result.stderr + result.stdout
    return result


def told(result: Result, *parts: str) -> None:
    """All of ``parts`` are in the error."""
    missing = [part for part in parts if part not in result.stderr]
    assert not missing, f"{missing} not in:\n{result.stderr}"


@pytest.fixture
def build(daemon: Daemon, tmp_path: Path) -> Callable[..., Result]:
    """Builds a Dockerfile of the given text, which must fail; nothing is kept (``--rm``)."""

    def build(text: str, *options: str, files: dict[str, str] | None = None) -> Result:
        (tmp_path / "Dockerfile").write_text(text)
        for name, content in (files or {}).items():
            (tmp_path / name).write_text(content)
        return refused(daemon, "build", "--rm", *options, "-t", "bad", tmp_path)

    return build


# --- Images


def test_an_unknown_image(daemon: Daemon) -> None:
    told(refused(daemon, "run", "nosuch", "true"), "'nosuch", "hint: ")


def test_an_unknown_tag(daemon: Daemon) -> None:
    told(refused(daemon, "run", "tiny:9", "true"), "'tiny:9'", "hint: ")


def test_an_unknown_snapshot(daemon: Daemon) -> None:
    told(refused(daemon, "run", "tiny@ffffffffffff", "true"), "ffffffffffff", "hint: ")


def test_an_unknown_image_in_from(build: Callable[..., Result]) -> None:
    told(build("FROM nosuch:1\n"), "nosuch:1", "hint: ")


# --- Dockerfiles: the file, the line, the column and the line itself


def test_an_unknown_instruction_and_the_nearest_known_one(build: Callable[..., Result]) -> None:
    result = build("FROM tiny\nCPOY a b\n")
    told(result, "Dockerfile:2:1", "CPOY", "COPY", "CPOY a b")


def test_a_continuation_into_nothing(build: Callable[..., Result]) -> None:
    told(build("FROM tiny\n \\\n"), "Dockerfile:2:", "\\")


@pytest.mark.parametrize("after", ["", "RUN true\n", "COPY Dockerfile /\n"])
def test_a_working_directory_that_is_a_file(build: Callable[..., Result], after: str) -> None:
    told(
        build(f"FROM tiny\nWORKDIR /bin/sh\n{after}"), "Dockerfile:2:1", "WORKDIR /bin/sh", "hint: "
    )


def test_a_bad_json_form(build: Callable[..., Result]) -> None:
    told(build('FROM tiny\nCOPY ["a", b]\n'), "Dockerfile:2:", 'COPY ["a", b]')


def test_no_from(build: Callable[..., Result]) -> None:
    told(build("RUN true\n"), "Dockerfile:1:1", "FROM", "RUN true")


def test_an_empty_dockerfile(build: Callable[..., Result]) -> None:
    told(build("# nothing\n"), "FROM")


# --- Contexts


def test_a_copy_of_what_is_not_there(build: Callable[..., Result]) -> None:
    told(build("FROM tiny\nCOPY absent /\n"), "'absent'", "Dockerfile:2:")


def test_a_copy_from_above_the_context(build: Callable[..., Result]) -> None:
    told(build("FROM tiny\nCOPY ../secret /\n"), "../secret", "context")


def test_a_link_in_the_context_that_points_out(
    build: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "directory").symlink_to("/etc")
    told(build("FROM tiny\nCOPY directory/hostname /\n"), "directory/hostname")


def test_a_link_in_the_image_that_points_out(
    daemon: Daemon, tmp_path: Path, build: Callable[..., Result]
) -> None:
    """It is followed inside the image: the host's directory is not touched."""
    target = tmp_path / "host"
    target.mkdir()
    text = f"FROM tiny\nRUN ln -s {target} /out\nCOPY file /out/\nRUN false\n"
    build(text, files={"file": "mine"})
    assert list(target.iterdir()) == []


def test_a_file_in_place_of_more_directories_than_python_can_count(
    daemon: Daemon, build: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "top").touch()
    deep = "mkdir top; cd top; for i in $(seq 1500); do mkdir d; cd d; done"
    result = build(f"FROM tiny\nRUN {deep}\nCOPY sub/ /\nRUN test -f /top && exit 5\n")
    told(result, "code: 5")


def test_a_dockerfile_that_is_not_there(daemon: Daemon, tmp_path: Path) -> None:
    told(refused(daemon, "build", tmp_path), "Dockerfile", str(tmp_path), "hint: ")


def test_a_context_that_is_not_there(daemon: Daemon, tmp_path: Path) -> None:
    told(refused(daemon, "build", tmp_path / "nosuch"), "nosuch")


def test_a_run_that_fails(build: Callable[..., Result]) -> None:
    result = build("FROM tiny\nRUN echo good > /file\nRUN exit 7\n")
    told(result, "'/bin/sh -c exit 7'", "code: 7")


def test_a_failed_build_is_kept_with_its_snapshots(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM tiny\nRUN echo good > /file\nRUN exit 7\n")
    result = refused(daemon, "build", "-t", "kept", tmp_path)
    last_good = result.stdout.rstrip().rpartition("Most recent snapshot is @")[2]
    try:
        for image in ("kept:failed", f"kept:failed@{last_good}"):
            assert daemon.klee("run", "-q", "--rm", image, "cat", "/file").stdout == "good\n"
    finally:
        daemon.klee("rmi", "kept:failed")


# --- Containers


def test_mounts_that_cannot_be(daemon: Daemon, tmp_path: Path) -> None:
    """Nothing is made by then; the runtime, which says it in its own words, is not asked."""
    for place in ("/dev", "/proc", "/bin/busybox", "/bin/busybox/x", "/etc/passwd"):
        told(
            refused(daemon, "run", "--rm", "-m", f"{tmp_path}:{place}", "tiny", "true"),
            place,
            "hint",
        )
    told(refused(daemon, "run", "--rm", "tiny", ""), "the command has no name", "hint: ")


# --- Networks


def test_a_container_without_a_command_does_not_stay(daemon: Daemon) -> None:
    before = daemon.klee("lsc", "-aq").stdout
    told = daemon.klee("run", "--rm", "tiny", check=False)
    assert told.status == 1
    assert "has no command" in told.stderr
    assert daemon.klee("lsc", "-aq").stdout == before
    daemon.klee("run", "--name", "idle", "tiny", check=False)
    assert daemon.klee("lsc", "-q", "--filter", "name=idle").stdout == ""
    daemon.klee("rmc", "idle")


def test_a_subnet_that_overlaps_another(daemon: Daemon) -> None:
    network = unused_network()
    daemon.klee("network", "create", "--subnet", f"{network}.0/24", "first")
    try:
        half = f"{network}.128/25"
        told(refused(daemon, "network", "create", "--subnet", half, "second"), half, "'first'")
    finally:
        daemon.klee("rmn", "first")


def test_a_subnet_that_is_full(daemon: Daemon) -> None:
    subnet = f"{unused_network()}.0/30"
    daemon.klee("network", "create", "--subnet", subnet, "narrow")
    try:
        daemon.klee("create", "--name", "only", "-n", "narrow", "tiny", "true")
        result = refused(daemon, "create", "--name", "more", "-n", "narrow", "tiny", "true")
        told(result, subnet, "hint: ")
        assert "more" not in daemon.klee("lsc", "-a").stdout
    finally:
        daemon.klee("rmc", "only")
        daemon.klee("rmn", "narrow")


# --- Base archives


def test_a_truncated_archive(daemon: Daemon, tiny_archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    content = tiny_archive.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    result = refused(daemon, "image", "create", "-t", "bad", "fetch", f"file://{broken}")
    told(result, "broken.tar")


def test_an_archive_that_is_none(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("this is no archive\n" * 1000)
    result = refused(daemon, "image", "create", "fetch", f"file://{tmp_path}/text.tar")
    told(result, "text.tar")


def test_an_archive_that_is_not_there(daemon: Daemon, tmp_path: Path) -> None:
    told(refused(daemon, "image", "create", "fetch", f"file://{tmp_path}/none.tar"), "none.tar")


# --- The daemon itself


def finish(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program that must end by itself."""
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def kleened(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the daemon where it must refuse to start."""
    return finish(BIN / "kleened", *arguments)


def test_no_daemon(daemon: Daemon, tmp_path: Path) -> None:
    result = finish(BIN / "klee", "--host", f"http://{tmp_path}/none.sock", "lsi")
    assert result.returncode == 1
    assert f"{tmp_path}/none.sock" in result.stderr
    assert "hint: " in result.stderr


def test_a_socket_in_use(daemon: Daemon, tmp_path: Path) -> None:
    result = kleened("--root", tmp_path / "root", "--host", f"http://{daemon.socket}")
    assert result.returncode == 1
    assert str(daemon.socket) in result.stderr
    assert "hint: " in result.stderr
    assert not (tmp_path / "root").exists()


def test_a_data_directory_in_use(daemon: Daemon, tmp_path: Path) -> None:
    result = kleened("--root", daemon.root, "--host", f"http://{tmp_path}/k.sock")
    assert result.returncode == 1
    assert str(daemon.root) in result.stderr


def test_not_root(daemon: Daemon, tmp_path: Path) -> None:
    """As another user. The program is started by root, who may read it wherever it lies."""
    code = "import os; os.setuid(65534); from kleene.daemon.main import main; main()"
    result = finish(BIN / "python", "-c", f"import kleene.daemon.main; {code}")
    assert result.returncode == 1
    assert "must run as root" in result.stderr


@pytest.mark.parametrize(
    ("program", "package"),
    [("runc", "runc"), ("conmon", "conmon"), ("nft", "nftables"), ("mkfs.btrfs", "btrfs-progs")],
)
def test_a_program_that_is_not_installed(program: str, package: str, tmp_path: Path) -> None:
    """It is hidden in a mount namespace of its own: the daemon looks in fixed directories."""
    programs = ["runc", "crun"] if program == "runc" else [program]
    arguments = ["--root", f"{tmp_path}/root", "--host", f"http://{tmp_path}/k.sock"]
    result = finish(BIN / "python", "-c", WITHOUT, tmp_path, ",".join(programs), *arguments)
    assert result.returncode == 1, result.stderr
    assert program in result.stderr
    assert re.search(rf"apt-get install .*\b{package}\b", result.stderr)


WITHOUT = """
import ctypes, os, pathlib, sys
from kleene.daemon.main import main

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000  # linux/sched.h, linux/mount.h
libc = ctypes.CDLL(None, use_errno=True)

def mount(*arguments):
    if libc.mount(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "mount")

if libc.unshare(CLONE_NEWNS) != 0:
    raise OSError(ctypes.get_errno(), "unshare")
mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
scratch, programs = pathlib.Path(sys.argv[1], "overlay"), sys.argv[2].split(",")
for place in {os.path.realpath(path) for path in ("/usr/sbin", "/usr/bin", "/sbin", "/bin")}:
    upper, work = (scratch / place[1:] / name for name in ("upper", "work"))
    upper.mkdir(parents=True)
    work.mkdir()
    for program in programs:
        # Overlayfs's whiteout: a character device 0/0 in the upper directory hides the name.
        os.mknod(upper / program, 0o020000, os.makedev(0, 0))
    options = f"lowerdir={place},upperdir={upper},workdir={work}"
    mount(b"overlay", place.encode(), b"overlay", 0, options.encode())
main(sys.argv[3:])
"""


# --- Space


def test_a_full_disk(new_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    small = new_daemon(pool_size="256M")
    before = listing(small)
    (tmp_path / "Dockerfile").write_text("FROM tiny\nRUN dd if=/dev/zero of=/big bs=1M count=400\n")
    result = refused(small, "build", "--rm", "-t", "big", tmp_path)
    assert "space" in (result.stderr + result.stdout).lower()
    assert listing(small) == before
    assert small.klee("run", "-q", "--rm", "tiny", "echo", "still works").stdout == "still works\n"
    # What did not fit is gone with its space when the error is told; what fits goes in at once.
    pieces = {f"piece-{number}": os.urandom(1 << 20) for number in range(300)}
    huge = write_tar(tmp_path / "huge.tar", pieces)
    half = write_tar(tmp_path / "half.tar", dict(list(pieces.items())[:100]))
    assert "no space left" in refused(small, "image", "create", "fetch", f"file://{huge}").stderr
    small.klee("image", "create", "-t", "half", "fetch", f"file://{half}")
    small.klee("rmi", "half")
    assert listing(small) == before
