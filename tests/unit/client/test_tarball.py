"""Tar streams of containers are hostile; local files come back as they were."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kleene.client.tarball import is_content, pack, unpack
from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound

Entry = tuple[str, bytes, str]


def stream(*entries: Entry, size: int = 100) -> Iterator[bytes]:
    """An archive of entries (name, type, content or link), in pieces that end anywhere."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, text in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o4755
            content = text.encode() if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            info.linkname = "" if content else text
            archive.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    return (data[start : start + size] for start in range(0, len(data), size))


def take(destination: Path, *entries: Entry, content: bool = False) -> None:
    unpack(stream(*entries), str(destination), content=content, owners=False)


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_bytes(os.urandom(700_000))
    os.link(tree / "sub" / "file", tree / "twin")
    (tree / "link").symlink_to("sub/file")
    (tree / "closed").mkdir(0o500)
    os.utime(tree / "sub", (1_000_000_000, 1_000_000_000))
    unpack(pack(str(tree), "tree", owners=True), str(tmp_path / "new"), content=False, owners=False)
    new = tmp_path / "new"
    assert (new / "sub" / "file").read_bytes() == (tree / "twin").read_bytes()
    assert (new / "twin").samefile(new / "sub" / "file")
    assert (new / "link").readlink() == Path("sub/file")
    assert (new / "closed").stat().st_mode & 0o777 == 0o500
    assert (new / "sub").stat().st_mtime == 1_000_000_000


def test_owners_are_left_out_unless_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def owner(*, owners: bool) -> int:
        data = b"".join(pack(str(tmp_path / "file"), "file", owners=owners))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return archive.getmembers()[0].uid

    assert owner(owners=False) == 0
    assert owner(owners=True) == (tmp_path / "file").stat().st_uid


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", tarfile.REGTYPE, "x")],
        [("a/../../evil", tarfile.REGTYPE, "x")],
        [("a", tarfile.SYMTYPE, ".."), ("a/evil", tarfile.REGTYPE, "x")],
        [
            ("a", tarfile.SYMTYPE, ".."),
            ("a", tarfile.DIRTYPE, ""),
            ("a/evil", tarfile.REGTYPE, "x"),
        ],
        [("evil", tarfile.LNKTYPE, "../secret")],
        [("evil", tarfile.LNKTYPE, "mine")],
    ],
)
def test_nothing_gets_out_of_its_place(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "secret").write_text("s")
    place = tmp_path / "place"
    place.mkdir()
    (place / "mine").write_text("m")
    with pytest.raises(KleeneError):
        take(place, *entries)
    assert not (tmp_path / "evil").exists()
    assert not (place / "evil").exists()


def test_links_of_an_earlier_copy_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    take(place, ("x", tarfile.DIRTYPE, ""), ("x/a", tarfile.SYMTYPE, str(outside)))
    with pytest.raises(Conflict, match="is not a directory"):
        take(
            place,
            ("place", tarfile.DIRTYPE, ""),
            ("place/a/evil", tarfile.REGTYPE, "x"),
            content=True,
        )
    take(place, ("a", tarfile.REGTYPE, "mine"))
    assert (place / "a").read_text() == "mine"
    assert not any(outside.iterdir())


def test_absolute_names_are_taken_for_relative_ones(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    take(tmp_path, ("/etc/kleene-evil", tarfile.REGTYPE, "x"))
    assert (tmp_path / "etc" / "kleene-evil").read_text() == "x"


def test_set_user_id_is_dropped(tmp_path: Path) -> None:
    take(tmp_path, ("su", tarfile.REGTYPE, "x"))
    assert (tmp_path / "su").stat().st_mode & 0o7777 == 0o755


def test_the_root_directory_has_no_name(tmp_path: Path) -> None:
    take(
        tmp_path / "new", (".", tarfile.DIRTYPE, ""), ("./etc", tarfile.REGTYPE, "x"), content=True
    )
    assert (tmp_path / "new" / "etc").read_text() == "x"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda at: take(at / "file", ("d", tarfile.DIRTYPE, "")), Conflict),
        (lambda at: take(at / "no" / "where", ("f", tarfile.REGTYPE, "x")), NotFound),
        (lambda at: take(at, ("sub", tarfile.REGTYPE, "x")), Conflict),
        (lambda at: take(at / "socket", ("f", tarfile.REGTYPE, "x")), Conflict),
        (lambda at: take(at / "link", ("f", tarfile.REGTYPE, "x")), Conflict),
        (lambda at: list(pack(str(at / "socket"), "socket", owners=False)), InvalidInput),
        (lambda at: list(pack(str(at / "none"), "none", owners=False)), NotFound),
    ],
)
def test_what_is_in_the_way(
    tmp_path: Path, action: Callable[[Path], object], error: type[KleeneError]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    os.mknod(tmp_path / "socket", stat.S_IFSOCK)
    (tmp_path / "link").symlink_to("socket")
    with pytest.raises(error):
        action(tmp_path)


def test_a_link_that_is_named_means_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    take(tmp_path / "link", ("f", tarfile.REGTYPE, "x"))
    assert (tmp_path / "file").read_text() == "x"
    assert (tmp_path / "link").is_symlink()


def test_dot_dot_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be trusted"):
        take(tmp_path, ("../x", tarfile.REGTYPE, "x"))


@pytest.mark.parametrize(
    ("path", "wanted"), [("a/.", True), (".", True), ("a", False), ("a/", False), ("a.", False)]
)
def test_the_content_of_a_directory(path: str, wanted: bool) -> None:
    assert is_content(path) is wanted
