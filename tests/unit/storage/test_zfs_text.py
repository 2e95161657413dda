"""How the ZFS backend reads what the tool says, and what streams begin with."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kleene.errors import CommandFailed, Conflict, HostUnavailable, NotFound
from kleene.host.process import Completed
from kleene.storage.driver import Snapshot
from kleene.storage.zfs_command import dependents, is_busy, is_mounted, meaning
from kleene.storage.zfs_names import Names, own_name, temporary
from kleene.storage.zfs_stream import is_plain


def failed(stderr: str) -> Completed:
    return Completed(["zfs", "create", "tank/kleene/image/x"], 1, b"", stderr.encode())


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("cannot open 'tank/x': dataset does not exist\n", NotFound),
        ("cannot create 'tank/x': dataset already exists\n", Conflict),
        ("cannot create 'tank/x': out of space\n", HostUnavailable),
        ("cannot receive new filesystem stream: out of space\n", HostUnavailable),
        ("cannot open 'tank': no such pool\n", HostUnavailable),
        ("cannot create 'tank/x': permission denied\n", HostUnavailable),
        ("The ZFS modules are not loaded.\n", HostUnavailable),
        ("internal error: failed to initialize ZFS library\n", HostUnavailable),
        ("cannot destroy 'tank/x': dataset is busy\n", Conflict),
        ("umount: /x: target is busy.\ncannot unmount '/x': umount failed\n", Conflict),
        ("cannot frobnicate 'tank/x'\n", CommandFailed),
    ],
)
def test_complaints_are_told_in_the_users_words(stderr: str, kind: type[Exception]) -> None:
    assert type(meaning(failed(stderr), "dataset 'image/x'")) is kind


def test_what_is_missing_is_the_source_of_what_is_made() -> None:
    done = failed("cannot open 'tank/a@s': dataset does not exist\n")
    assert "snapshot 'a@s'" in meaning(done, "dataset 'image/x'", "snapshot 'a@s'").message


def test_busy_is_not_the_same_as_open_files() -> None:
    resting = failed("cannot destroy 'tank/x': dataset is busy\n")
    opened = failed("umount: /x: target is busy.\ncannot unmount '/x': umount failed\n")
    newer = failed("cannot unmount '/x': pool or dataset is busy\n")
    assert (is_busy(resting), is_mounted(resting)) == (True, False)
    assert (is_busy(opened), is_mounted(opened)) == (False, True)
    assert (is_busy(newer), is_mounted(newer)) == (False, True)


def test_dependents_are_the_clones_that_it_lists() -> None:
    done = failed(
        "cannot destroy 'tank/a': filesystem has dependent clones\n"
        "use '-R' to destroy the following datasets:\ntank/b\ntank/c@s:1\ntank/c\n"
    )
    assert dependents(done) == ["tank/b", "tank/c"]
    assert dependents(failed("cannot destroy 'tank/a': dataset is busy\n")) == []


def test_names() -> None:
    names = Names("tank/kleene", Path("/pool"))
    assert names.dataset("image/a") == "tank/kleene/image/a"
    assert names.path("image/a") == Path("/pool/image/a")
    first, second = (names.new_snapshot(Snapshot("image/a", "s")) for _ in range(2))
    assert first != second
    assert first.startswith("tank/kleene/image/a@s:")
    assert own_name(first) == "s"
    assert own_name(temporary("tank/x")) == ""
    assert names.is_trash(names.new_in_trash())
    assert not names.is_trash(names.trash)


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_streams_without_properties_are_plain(order: str) -> None:
    def head(kind: int, magic: int, version: int) -> bytes:
        return struct.pack(f"{order}IIQQ", kind, 0, magic, version) + b"rest"

    assert is_plain(head(0, 0x2F5BACBAC, 1))
    assert is_plain(head(0, 0x2F5BACBAC, 1 | 4 << 2))
    assert not is_plain(head(0, 0x2F5BACBAC, 2))
    assert not is_plain(head(1, 0x2F5BACBAC, 1))
    assert not is_plain(head(0, 0x2F5BACBAD, 1))
    assert not is_plain(b"")
