"""Paths inside a root: whatever the links in it say, nothing outside is touched."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.host import inroot

SECRET = b"outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_bytes(b"inside")
    return made


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_absolute_link_resolves_inside(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")
    assert inroot.read_file(root, "/link") == b"inside"


@pytest.mark.parametrize("path", ["../secret", "/../../secret", "etc/../../secret"])
def test_dots_stop_at_the_root(root: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        inroot.read_file(root, path)


def test_link_that_climbs_out_finds_nothing(root: Path) -> None:
    (root / "up").symlink_to("../secret")
    (root / "out").symlink_to(root.parent)
    assert not inroot.exists(root, "up")
    assert not inroot.exists(root, "out/secret")


def test_magic_links_are_refused(root: Path) -> None:
    with pytest.raises(OSError) as caught:
        inroot.open_in_root("/", f"proc/self/cwd/{root}", os.O_RDONLY)
    assert caught.value.errno == errno.ELOOP


def test_null_byte_does_not_cut_the_path(root: Path) -> None:
    with pytest.raises(OSError, match="null byte"):
        inroot.read_file(root, "etc/passwd\0.txt")


def test_root_as_descriptor(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY)
    try:
        assert inroot.read_file(fd, "etc/passwd") == b"inside"
    finally:
        os.close(fd)


def test_read_file_refuses_large_and_special_files(root: Path) -> None:
    os.mkfifo(root / "fifo")
    for path, number in (("etc/passwd", errno.EFBIG), ("fifo", errno.EINVAL), ("/", errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            inroot.read_file(root, path, limit=3)
        assert caught.value.errno == number


def test_write_file_goes_through_links_of_directories_only_inside(root: Path) -> None:
    (root / "var").symlink_to("/etc")
    inroot.write_file(root, "/var/hosts", b"data", 0o640)
    written = root / "etc/hosts"
    assert written.read_bytes() == b"data"
    assert written.stat().st_mode & 0o7777 == 0o640
    assert {p.name for p in (root / "etc").iterdir()} == {"hosts", "passwd"}


def test_write_file_replaces_a_link_instead_of_following_it(root: Path) -> None:
    (root / "etc/resolv.conf").symlink_to(root.parent / "secret")
    inroot.write_file(root, "/etc/resolv.conf", b"new")
    assert not (root / "etc/resolv.conf").is_symlink()
    assert (root.parent / "secret").read_bytes() == SECRET


@pytest.mark.parametrize("path", ["/", "etc/..", "."])
def test_write_file_needs_a_name(root: Path, path: str) -> None:
    with pytest.raises(OSError, match="name of a file"):
        inroot.write_file(root, path, b"")


def test_make_dirs_makes_only_what_is_missing(root: Path) -> None:
    (root / "etc").chmod(0o700)
    assert inroot.make_dirs(root, "/etc/a/b", 0o750) == ["/etc/a", "/etc/a/b"]
    assert inroot.make_dirs(root, "/etc/a/b") == []
    assert (root / "etc/a/b").stat().st_mode & 0o7777 == 0o750
    assert (root / "etc").stat().st_mode & 0o7777 == 0o700


def test_make_dirs_of_the_root_makes_nothing(root: Path) -> None:
    assert inroot.make_dirs(root, "/") == inroot.make_dirs(root, "../..") == []


def test_make_dirs_makes_the_target_of_a_link_to_nothing(root: Path) -> None:
    (root / "srv").symlink_to("/data/../data/web")
    (root / "etc/rel").symlink_to("../opt")
    assert inroot.make_dirs(root, "/srv/x") == ["/data", "/data/../data/web", "/data/../data/web/x"]
    inroot.make_dirs(root, "/etc/rel/y")
    assert (root / "data/web/x").is_dir()
    assert (root / "opt/y").is_dir()


def test_make_dirs_stays_inside(root: Path) -> None:
    (root / "out").symlink_to("../../../escaped")
    inroot.make_dirs(root, "/out/x")
    assert (root / "escaped/x").is_dir()
    assert not (root.parent / "escaped").exists()


def test_make_dirs_refuses_files_and_loops(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    for path, number in (("/etc/passwd/x", errno.ENOTDIR), ("/loop/x", errno.ELOOP)):
        with pytest.raises(OSError) as caught:
            inroot.make_dirs(root, path)
        assert caught.value.errno == number


def test_remove_and_list(root: Path) -> None:
    (root / "etc/link").symlink_to(root.parent / "secret")
    assert inroot.list_dir(root, "/etc") == ["link", "passwd"]
    inroot.remove_file(root, "/etc/link")
    inroot.remove_file(root, "/etc/link")
    inroot.remove_file(root, "/nowhere/link")
    assert inroot.list_dir(root, "/etc") == ["passwd"]
    assert inroot.list_dir(root, "/nowhere") == []
    assert (root.parent / "secret").exists()


def test_open_beneath_refuses_what_leads_out(root: Path) -> None:
    (root / "up").symlink_to("../secret")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "inside").symlink_to("etc/passwd")
    os.close(inroot.open_beneath(root, "inside", os.O_RDONLY))
    for path in ("up", "absolute", "../secret", "/etc/passwd"):
        with pytest.raises(OSError) as caught:
            inroot.open_beneath(root, path, os.O_RDONLY)
        assert caught.value.errno == errno.EXDEV


def test_a_directory_swapped_for_a_link_never_opens_outside(root: Path) -> None:
    """The race that checking first and opening then would lose."""
    (root / "dir").mkdir()
    (root / "dir/secret").write_bytes(b"inside")
    (root / "evil").symlink_to(root.parent)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (root / "dir").rename(root / "kept")
            (root / "evil").rename(root / "dir")
            (root / "dir").rename(root / "evil")
            (root / "kept").rename(root / "dir")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = set()
        for _ in range(3000):
            try:
                seen.add(inroot.read_file(root, "/dir/secret"))
            except OSError:
                seen.add(b"")
    finally:
        done.set()
        swapper.join()
    assert b"inside" in seen
    assert SECRET not in seen


def test_deep_directories_are_made_in_time(tmp_path: Path) -> None:
    path, started = "", time.monotonic()
    for _ in range(600):
        path += "/a"
        assert inroot.make_dirs(tmp_path, path) == [path]
    assert time.monotonic() - started < 5
    shutil.rmtree(tmp_path / "a")
