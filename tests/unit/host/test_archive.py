"""Base archives: whole or refused, and never outside of their directory."""

from __future__ import annotations

import bz2
import contextlib
import gc
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kleene.errors import HostUnavailable, InvalidInput
from kleene.host import archive, tarstream
from kleene.host.archive import Extracted, extract

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sets owners")

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    gc.collect()  # What earlier tests left to the collector must not go away meanwhile.
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    (tmp_path / "outside").write_text("untouched")
    return made


def take(data: bytes, target: Path) -> Extracted:
    return extract(io.BytesIO(data), target, "base.tar", lambda _: None)


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def tar(*entries: tuple[tarfile.TarInfo, bytes], end: bool = True) -> bytes:
    """A tar archive with just these entries."""
    data = b""
    for info, content in entries:
        info.size = len(content)
        data += info.tobuf(tarfile.PAX_FORMAT)
        data += content + bytes(-len(content) % 512)
    return data + (bytes(1024) if end else b"")


SMALL = tar((entry("etc", tarfile.DIRTYPE), b""), (entry("etc/name"), b"Kleene\n"))


def test_a_real_tree_arrives_as_it_was(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source"
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/su").write_bytes(b"elf")
    os.chown(source / "usr/bin/su", 0, 42)
    (source / "usr/bin/su").chmod(0o4755)
    os.setxattr(source / "usr/bin/su", "security.capability", CAPABILITY)
    os.setxattr(source / "usr/bin/su", "user.note", b"\0\n\xff=")
    (source / "usr/bin/other").hardlink_to(source / "usr/bin/su")
    (source / "bin").symlink_to("usr/bin")
    os.chown(source / "bin", 7, 8, follow_symlinks=False)
    (source / ("long-" * 40)).write_bytes(b"x")
    os.mkfifo(source / "pipe", 0o622)
    with (source / "sparse").open("wb") as file:
        file.seek(30 * 1024 * 1024)
        file.write(b"end")
        file.truncate(60 * 1024 * 1024)
    (source / "tmp").mkdir()
    (source / "tmp").chmod(0o1777)
    os.utime(source / "tmp", (1_500_000_000, 1_500_000_000))
    for layout in (["--format=pax", "--xattrs", "--xattrs-include=*"], ["--format=gnu"]):
        made = tmp_path / "made.tar"
        command = ["tar", "-C", str(source), "-S", *layout, "-cf", str(made), "."]
        subprocess.run(command, check=True, capture_output=True)
        inside = target / layout[0]
        inside.mkdir()
        with made.open("rb") as file:
            extract(file, inside, "made.tar", lambda _: None)
        listing = [
            subprocess.run(
                ["find", root, "-printf", "%P %y %m %U %G %s %l %n\\n"],
                check=True,
                capture_output=True,
            ).stdout.splitlines()
            for root in (source, inside)
        ]
        ignored = b" d "  # sizes of directories differ
        assert sorted(line for line in listing[0] if ignored not in line) == sorted(
            line for line in listing[1] if ignored not in line
        )
        subprocess.run(["diff", "-r", "--no-dereference", "-x", "pipe", source, inside], check=True)
        assert (inside / "tmp").stat().st_mtime == 1_500_000_000
        assert (inside / "tmp").stat().st_mode & 0o7777 == 0o1777
        assert (inside / "sparse").stat().st_blocks * 512 < 1024 * 1024
        if "--xattrs" in layout:
            assert os.getxattr(inside / "usr/bin/su", "security.capability") == CAPABILITY
            assert os.getxattr(inside / "usr/bin/su", "user.note") == b"\0\n\xff="


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
)
def test_compression_is_told_by_content_and_cuts_are_noticed(
    target: Path, compress: Callable[[bytes], bytes]
) -> None:
    content = os.urandom(300_000)
    plain = tar((entry("data"), content), (entry("more"), content))
    packed = compress(plain)
    read: list[int] = []
    result = extract(io.BytesIO(packed), target, "x", read.append)
    assert (result.entries, result.size) == (2, 600_000)
    assert sum(read) == len(packed)
    assert (target / "data").read_bytes() == content
    for length in (len(packed) - 1500, len(packed) // 2, 100_000):
        with pytest.raises(InvalidInput, match=r"archive 'base\.tar' is truncated or damaged"):
            take(packed[:length], target)


def test_cut_between_two_entries_is_noticed(target: Path) -> None:
    whole = tar((entry("a"), b"x"), (entry("b"), b"y"))
    for length in (1024, 1024 + 100, 2048):
        with pytest.raises(InvalidInput, match="truncated or damaged: it has no end mark"):
            take(whole[:length], target)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_flipped_bits_are_noticed(target: Path, compress: Callable[[bytes], bytes]) -> None:
    packed = bytearray(compress(tar((entry("data"), os.urandom(2_000_000)))))
    packed[len(packed) * 3 // 4] ^= 0xFF
    with pytest.raises(InvalidInput, match="truncated or damaged"):
        take(bytes(packed), target)


def test_damaged_header_in_the_middle_is_noticed(target: Path) -> None:
    whole = bytearray(tar((entry("a"), b"x"), (entry("b"), b"y"), (entry("c"), b"z")))
    whole[1024 + 150] ^= 0xFF
    with pytest.raises(InvalidInput, match="truncated or damaged"):
        take(bytes(whole), target)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404 not found</html>" * 100,
        b"x",
        b"\x7fELF" + bytes(5000),
        gzip.compress(b"hello", mtime=0),
    ],
)
def test_what_is_no_tar_archive(target: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"'base\.tar' is not a tar archive"):
        take(data, target)


def test_empty_archive(target: Path) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        take(bytes(10240), target)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "./..", "a/.."])
def test_names_that_climb_are_refused(target: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="leads out of the archive by"):
        take(tar((entry("a", tarfile.DIRTYPE), b""), (entry(name), b"hacked")), target)
    assert (target.parent / "outside").read_text() == "untouched"


def test_a_file_without_a_name_is_passed_over(target: Path) -> None:
    take(tar((entry("."), b""), (entry("a"), b"a")), target)
    assert [path.name for path in target.iterdir()] == ["a"]


def test_absolute_names_are_taken_as_relative(target: Path) -> None:
    take(tar((entry(f"{target.parent}/outside"), b"inside")), target)
    assert (target.parent / "outside").read_text() == "untouched"
    assert (target / str(target.parent).lstrip("/") / "outside").read_text() == "inside"


@pytest.mark.parametrize("link", ["/", "..", "../../../../.."])
def test_writing_through_a_link_stays_inside(target: Path, link: str) -> None:
    data = tar(
        (entry("out", tarfile.SYMTYPE, linkname=f"{link}{target.parent}"), b""),
        (entry("out/outside"), b"hacked"),
        (entry("file", tarfile.SYMTYPE, linkname=f"{target.parent}/outside"), b""),
        (entry("file"), b"hacked"),
        (entry("dir", tarfile.SYMTYPE, linkname=f"{target.parent}"), b""),
        (entry("dir", tarfile.DIRTYPE, mode=0o777), b""),
    )
    mode = target.parent.stat().st_mode
    take(data, target)
    assert (target.parent / "outside").read_text() == "untouched"
    assert target.parent.stat().st_mode == mode
    assert (target / "file").read_text() == "hacked"


@pytest.mark.parametrize("link", ["../outside", "/etc/passwd", "missing", "link", "dir"])
def test_hard_links_lead_only_to_files_of_the_archive(target: Path, link: str) -> None:
    data = tar(
        (entry("dir", tarfile.DIRTYPE), b""),
        (entry("link/..", tarfile.DIRTYPE) if link == "" else entry("x"), b""),
        (entry("hard", tarfile.LNKTYPE, linkname=link), b""),
    )
    with pytest.raises(InvalidInput, match="cannot be trusted"):
        take(data, target)


def test_hard_link_to_a_link_does_not_reach_its_target(target: Path) -> None:
    data = tar(
        (entry("link", tarfile.SYMTYPE, linkname=str(target.parent / "outside")), b""),
        (entry("hard", tarfile.LNKTYPE, linkname="link"), b""),
        (entry("hard"), b"hacked"),
    )
    take(data, target)
    assert (target.parent / "outside").read_text() == "untouched"


def test_devices_are_left_out_and_counted(target: Path) -> None:
    data = tar(
        (entry("dev", tarfile.DIRTYPE), b""),
        (entry("dev/sda", tarfile.BLKTYPE, devmajor=8), b""),
        (entry("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    )
    assert take(data, target).devices == 2
    assert not list((target / "dev").iterdir())


def test_unknown_type_is_refused(target: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown type"):
        take(tar((entry("x", b"Z"), b"")), target)


def test_repeated_entries_replace_earlier_ones(target: Path) -> None:
    data = tar(
        (entry("a"), b"1"),
        (entry("a"), b"2"),
        (entry("b", tarfile.DIRTYPE), b""),
        (entry("b"), b"now a file"),
        (entry("a", tarfile.DIRTYPE), b""),
        (entry("a/x"), b""),
        (entry("a", tarfile.DIRTYPE, mode=0o700), b""),
    )
    take(data, target)
    assert (target / "a/x").exists()
    assert (target / "a").stat().st_mode & 0o777 == 0o700
    assert (target / "b").read_text() == "now a file"


def test_strange_numbers(target: Path) -> None:
    take(tar((entry("old", mtime=-5), b""), (entry("new", mtime=2**40), b"")), target)
    assert (target / "old").stat().st_mtime == (target / "new").stat().st_mtime == 0
    with pytest.raises(InvalidInput, match="cannot be trusted"):
        take(tar((entry("x", uid=2**40), b"")), target)
    nan = entry("nan", pax_headers={"mtime": "nan"})
    take(tar((nan, b"")), target)


def test_long_names(target: Path) -> None:
    deep = "/".join(["d" * 200] * 15)
    take(tar((entry(f"{deep}/file"), b"x")), target)
    assert (target / deep / "file").exists()
    for name in ("n" * 300, "/".join(["d" * 200] * 30)):
        with pytest.raises(InvalidInput, match="name too long") as caught:
            take(tar((entry(name), b"x")), target)
        assert len(caught.value.message) < 500


def test_huge_header_is_refused_before_it_fills_the_memory(target: Path) -> None:
    info = entry("x", pax_headers={"comment": "c" * 40_000_000})
    with pytest.raises(InvalidInput, match="too large a header"):
        take(gzip.compress(tar((info, b"")), 1), target)


def test_sparse_file_of_absurd_size_costs_nothing(target: Path) -> None:
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "huge",
        "GNU.sparse.realsize": str(2**43 - 1),
    }
    take(tar((entry("huge", pax_headers=pax), b"1\n0\n3\n".ljust(512, b"\0") + b"abc")), target)
    assert (target / "huge").stat().st_size == 2**43 - 1
    assert (target / "huge").stat().st_blocks * 512 < 100_000


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
        {"GNU.sparse.map": "0,x"},
        {"GNU.sparse.size": "1", "GNU.sparse.numblocks": "1"},
    ],
)
def test_headers_that_make_no_sense(target: Path, headers: dict[str, str]) -> None:
    data = tar((entry("hole", pax_headers=headers), b""))
    with pytest.raises(InvalidInput, match="is not a tar archive"):
        take(data, target)


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_headers_are_no_surprise(changes: list[tuple[int, int]]) -> None:
    """Their checksums are right: else they would not be looked at."""
    headers = {"GNU.sparse.map": "0,1", "SCHILY.xattr.user.a": "b", "mtime": "1.5", "path": "x"}
    data = bytearray(tar((entry("hole", pax_headers=headers), b"")).ljust(4096, b"\0"))
    for place, value in changes:
        data[place] = value
    for start in (0, 1024):
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    with contextlib.suppress(tarfile.TarError, EOFError, InvalidInput):
        stream = tarstream.TarStream(io.BytesIO(bytes(data)), "base.tar")
        for member in stream.entries():
            for _ in stream.content(member):
                pass


def test_file_larger_than_the_free_space_is_refused_at_once(target: Path) -> None:
    header = bytearray(entry("huge").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\x80" + struct.pack(">Q", 2**60).rjust(11, b"\0")
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    with pytest.raises(HostUnavailable, match="no space left"):
        take(bytes(header), target)
    assert not (target / "huge").exists()


@pytest.mark.slow
def test_bomb_stops_before_the_file_system_is_full(target: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", target], check=True)
    try:
        bomb = gzip.compress(tar(*((entry(str(n)), bytes(20_000_000)) for n in range(12))), 1)
        with pytest.raises(HostUnavailable, match="no space left"):
            take(bomb, target)
        status = os.statvfs(target)
        reserve = min(archive._RESERVE, status.f_blocks * status.f_frsize // 16)
        assert status.f_bavail * status.f_frsize > reserve - 1_000_000
    finally:
        subprocess.run(["umount", target], check=True)


def test_reader_can_stop_the_extraction(target: Path) -> None:
    class Enough(Exception):
        pass

    def stop(_: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        extract(io.BytesIO(SMALL), target, "x", stop)


def test_memory_does_not_grow_with_the_number_of_entries() -> None:
    data = tar(*((entry(f"f{n}"), b"") for n in range(2000)))
    stream = tarstream.TarStream(io.BytesIO(data), "x")
    kept = [len(getattr(stream._archive, "members", ())) for _ in stream.entries()]
    assert max(kept) <= 1


def test_a_pipe_that_becomes_a_link_meanwhile_is_not_followed(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    make = os.mkfifo

    def exchanged(name: str, mode: int, *, dir_fd: int) -> None:
        make(name, mode, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)  # as a process of the container would
        os.symlink(outside, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkfifo", exchanged)
    take(tar((entry("pipe", tarfile.FIFOTYPE, mode=0o666), b"")), target)
    assert outside.stat().st_mode & 0o777 == 0o600
