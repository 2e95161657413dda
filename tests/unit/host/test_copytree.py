"""Copies keep what they should, and lead nowhere else."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.errors import Conflict, HostUnavailable, InvalidInput
from kleene.host import filedata
from kleene.host.copytree import copy_entries, copy_tree
from kleene.host.inroot import Replaced
from kleene.host.treewalk import Entry, Signature, walk

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "bin").mkdir(parents=True)
    (made / "bin/run").write_bytes(b"#!/bin/sh\n")
    (made / "bin/run").chmod(0o755)
    (made / "link").symlink_to("/bin/run")
    os.utime(made / "bin/run", ns=(1, 1_600_000_000_123_456_789))
    os.utime(made / "bin", ns=(1, 1_500_000_000_000_000_000))
    (made / "bin").chmod(0o2750)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def take(source: Path, target: Path, destination: str = "") -> list[Replaced]:
    """Copy all that is in ``source``, as COPY does."""
    fd = os.open(source, os.O_RDONLY)
    try:
        entries = [(e, f"{destination}/{e.path}") for e in walk(fd) if e.path]
        return copy_entries(fd, entries, target)
    finally:
        os.close(fd)


@as_root
def test_metadata_is_kept_and_the_owner_is_root(source: Path, target: Path) -> None:
    os.chown(source / "bin/run", 1000, 1000)
    os.chown(source / "link", 1000, 1000, follow_symlinks=False)
    take(source, target)
    run = (target / "bin/run").stat()
    assert (run.st_uid, run.st_gid, run.st_mode & 0o7777) == (0, 0, 0o755)
    assert run.st_mtime_ns == 1_600_000_000_123_456_789
    directory = (target / "bin").stat()
    assert directory.st_mode & 0o7777 == 0o2750
    assert directory.st_mtime_ns == 1_500_000_000_000_000_000
    assert (target / "link").readlink() == Path("/bin/run")
    assert (target / "link").lstat().st_uid == 0


@as_root
def test_copy_tree_keeps_owners_of_all_and_of_its_root(source: Path, target: Path) -> None:
    os.chown(source, 70, 71)
    os.chown(source / "bin/run", 1000, 1001)
    (source / "bin/run").chmod(0o4755)
    copy_tree(source, "/", target)
    run = (target / "bin/run").stat()
    assert (run.st_uid, run.st_gid, run.st_mode & 0o7777) == (1000, 1001, 0o4755)
    assert (target.stat().st_uid, target.stat().st_gid) == (70, 71)


def test_hard_links_within_the_copy_stay_linked(source: Path, target: Path) -> None:
    (source / "bin/other").hardlink_to(source / "bin/run")
    (source / "top").hardlink_to(source / "bin/run")
    take(source, target)
    inodes = {(target / name).stat().st_ino for name in ("bin/run", "bin/other", "top")}
    assert len(inodes) == 1


@pytest.fixture(params=[[], ["copy_file_range"], ["copy_file_range", "sendfile"]], ids=str)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways in which a content comes from one file to another: the kernel has not each for any two."""

    def missing(*_: object, **__: object) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    for name in request.param:
        monkeypatch.setattr(os, name, missing)


@pytest.mark.usefixtures("ways")
def test_holes_stay_holes(source: Path, target: Path) -> None:
    with (source / "disk").open("wb") as file:
        file.write(b"start")
        file.seek(20 * 1024 * 1024)
        file.write(b"middle")
        file.truncate(50 * 1024 * 1024)
    take(source, target)
    assert (target / "disk").read_bytes() == (source / "disk").read_bytes()
    assert (target / "disk").stat().st_blocks * 512 < 1024 * 1024


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("size", [0, 1, filedata.SMALL, filedata.SMALL + 1, 5 * 1024 * 1024])
def test_content_of_every_size(source: Path, target: Path, size: int) -> None:
    data = os.urandom(size)
    (source / "data").write_bytes(data)
    take(source, target)
    assert (target / "data").read_bytes() == data


class Learned:
    """Takes what a copy tells of contents, by size."""

    def __init__(self, *known: int) -> None:
        self._known = known
        self.contents: dict[int, bytes] = {}

    def wants(self, key: Signature, /) -> bool:
        return key[2] not in self._known

    def learn(self, key: Signature, content: bytes, attributes: dict[str, bytes], /) -> None:
        self.contents[key[2]] = content


def learn(source: Path, target: Path, *known: int) -> dict[int, bytes]:
    """Copy all that is in ``source``; the digests that the copy told."""
    learned = Learned(*known)
    fd = os.open(source, os.O_RDONLY)
    try:
        entries = [(e, f"/{e.path}") for e in walk(fd) if e.path]
        copy_entries(fd, entries, target, contents=learned)
    finally:
        os.close(fd)
    return learned.contents


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize(
    "size", [0, 1, filedata.SMALL, filedata.SMALL + 1, filedata.LARGE, 20 * 1024 * 1024 + 1]
)
@pytest.mark.parametrize("holes", [False, True])
def test_what_is_told_of_a_content_is_what_was_written(
    source: Path, target: Path, size: int, holes: bool
) -> None:
    data = os.urandom(size)
    with (source / "data").open("wb") as file:
        file.write(data[: size // 3])
        if holes:
            file.seek(2 * size // 3)
        file.write(data[size // 3 :][: size // 4])
        file.truncate(size)
    (source / "known").write_bytes(data + b"more")
    told = learn(source, target, size + 4)
    written = (target / "data").read_bytes()
    assert written == (source / "data").read_bytes()
    assert told[size] == hashlib.sha256(written).digest()
    assert size + 4 not in told
    assert (target / "known").read_bytes() == data + b"more"


def test_a_file_that_grows_while_it_is_copied_stops_the_copy(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "data").write_bytes(bytes(filedata.LARGE + 1))
    really = os.copy_file_range

    def copy(source_fd: int, target_fd: int, count: int, offset_src: int) -> int:
        done = really(source_fd, target_fd, count, offset_src=offset_src)
        with (source / "data").open("ab") as file:
            file.write(b"more")
        return done

    monkeypatch.setattr(os, "copy_file_range", copy)
    with pytest.raises(Conflict, match="'data' changed"):
        learn(source, target)


@as_root
def test_capabilities_and_user_attributes_are_kept(source: Path, target: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(source / "bin/run", "security.capability", capability)
    os.setxattr(source / "bin/run", "user.note", b"\0\xff")
    os.setxattr(source / "bin/run", "trusted.secret", b"of the host")
    take(source, target)
    run = target / "bin/run"
    assert os.getxattr(run, "security.capability") == capability
    assert os.getxattr(run, "user.note") == b"\0\xff"
    assert "trusted.secret" not in os.listxattr(run)


def test_links_in_the_target_do_not_lead_out(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (target / "outside").mkdir()
    (target / "bin").symlink_to("/outside")
    take(source, target, "/bin")
    assert (target / "outside/bin/run").exists()
    (target / "bin").unlink()
    (target / "bin").symlink_to(tmp_path / "outside")
    with pytest.raises(HostUnavailable, match="cannot be copied to '/bin/"):
        take(source, target, "/bin")
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_in_the_place_of_a_file_is_replaced(
    source: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_bytes(b"keep")
    (target / "bin").mkdir()
    (target / "bin/run").symlink_to(tmp_path / "outside")
    take(source, target)
    assert (tmp_path / "outside").read_bytes() == b"keep"
    assert (target / "bin/run").read_bytes() == b"#!/bin/sh\n"


def test_a_directory_replaces_a_link_to_one_and_a_file(source: Path, target: Path) -> None:
    (source / "etc").mkdir()
    (target / "real").mkdir()
    (target / "bin").symlink_to("/real")
    (target / "etc").write_bytes(b"")
    assert take(source, target) == [Replaced("/bin", "/real"), Replaced("/etc", None)]
    assert (target / "bin").is_dir()
    assert not (target / "bin").is_symlink()
    assert (target / "bin/run").exists()
    assert not list((target / "real").iterdir())
    assert (target / "etc").is_dir()
    assert take(source, target) == []


def test_a_link_that_is_the_destination_stays(source: Path, target: Path) -> None:
    (target / "real").mkdir()
    (target / "link").symlink_to("/real")
    fd = os.open(source, os.O_RDONLY)
    try:
        entries = [(e, f"/link/{e.path}".rstrip("/")) for e in walk(fd)]
        assert copy_entries(fd, entries, target, base="/link") == []
    finally:
        os.close(fd)
    assert (target / "link").readlink() == Path("/real")
    assert (target / "real/bin/run").exists()


def test_a_directory_is_replaced_by_a_file_with_all_in_it_and_no_link_is_followed(
    source: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (target / "bin/run/deep").mkdir(parents=True)
    (target / "bin/run/deep/link").symlink_to(tmp_path / "outside")
    take(source, target)
    assert (target / "bin/run").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "outside/kept").exists()


@as_root
def test_named_pipes_are_copied(source: Path, target: Path) -> None:
    os.mkfifo(source / "pipe")
    (source / "pipe").chmod(0o620)
    os.chown(source / "pipe", 5, 6)
    (target / "pipe").write_text("in the way")
    copy_tree(source, "/", target)
    status = (target / "pipe").stat()
    assert stat.S_ISFIFO(status.st_mode)
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o620, 5, 6)


def test_special_files_are_refused(source: Path, target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(source, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/sock")
        os.close(directory)
        with pytest.raises(InvalidInput, match="'sock' is a socket"):
            take(source, target)


@pytest.mark.parametrize("what", ["content", "link", "gone", "fifo"])
def test_a_file_that_changed_since_the_walk_stops_the_copy(
    source: Path, target: Path, what: str
) -> None:
    fd = os.open(source, os.O_RDONLY)
    entries = [(e, f"/{e.path}") for e in walk(fd) if e.path]
    run = source / "bin/run"
    if what == "content":
        run.write_bytes(b"#!/bin/ch\n")
    else:
        run.unlink()
        if what == "link":
            run.symlink_to("/etc/shadow")
        elif what == "fifo":
            os.mkfifo(run)
    with pytest.raises(Conflict, match="'bin/run' changed"):
        copy_entries(fd, entries, target)
    os.close(fd)


def test_a_directory_swapped_for_a_link_is_not_followed(
    source: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/run").write_bytes(b"secret")
    fd = os.open(source, os.O_RDONLY)
    entries = [(e, f"/{e.path}") for e in walk(fd) if e.path]
    (source / "bin").rename(source / "gone")
    (source / "bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        copy_entries(fd, entries, target)
    os.close(fd)
    assert not (target / "bin/run").exists()


def test_walk_lists_neighbours_together(source: Path) -> None:
    (source / "zeta").write_bytes(b"")
    (source / "bin/sub").mkdir()
    fd = os.open(source, os.O_RDONLY)
    paths = [entry.path for entry in walk(fd)]
    skipped = [entry.path for entry in walk(fd, skip=lambda path, is_dir: is_dir)]
    os.close(fd)
    assert paths == ["", "link", "zeta", "bin", "bin/run", "bin/sub"]
    assert skipped == ["", "link", "zeta"]


@pytest.mark.slow
@as_root
def test_a_full_target_says_so(source: Path, target: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", target], check=True)
    try:
        (source / "big").write_bytes(bytes(4 * 1024 * 1024))
        with pytest.raises(HostUnavailable, match=r"'big' .* no space left"):
            take(source, target)
    finally:
        subprocess.run(["umount", target], check=True)


def test_a_deep_tree_needs_few_descriptors(tmp_path: Path, target: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    here = deep
    for _ in range(300):
        here = here / "d"
        here.mkdir()
    take(deep, target)
    assert sum(1 for _ in (target).rglob("d")) == 300


def test_entry_paths_are_relative(source: Path) -> None:
    fd = os.open(source, os.O_RDONLY)
    first = next(iter(walk(fd, "bin")))
    os.close(fd)
    assert isinstance(first, Entry)
    assert first.path == "bin"
