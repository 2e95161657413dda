"""What is read from the tools that tell of space and of changes."""

from __future__ import annotations

import io
import struct

import pytest

from kleene.storage import send_stream, zfs_space


def rows(*lines: str) -> zfs_space.Pool:
    """A pool of lines of a name and its properties."""
    told = ""
    for line in lines:
        name, *values = line.split()
        for key, value in zip(zfs_space.PROPERTIES, values, strict=True):
            told += f"{name}\t{key}\t{value}\n"
    return zfs_space.Pool(zfs_space.accounts(told))


POOL = rows(
    "p 100 0 0 0 - - 0",
    "p/a 50 10 40 30 - - 4",
    "p/a@1 5 - - 20 - - 0",
    "p/a@2 6 - - 20 - - 0",
    "p/a@3 7 - - 20 - yes 0",
    "p/c 9 9 0 25 p/a@2 - 9",
    "p/d 8 8 0 25 p/a@3 - 8",
)


@pytest.mark.parametrize(
    ("names", "sure", "together"),
    [
        (["p/a"], 4, []),
        (["p/a@1"], 5, []),
        (["p/a@2"], 0, []),
        (["p/a@2", "p/c"], 15, []),
        (["p/d"], 15, []),
        (["p/a", "p/a@1", "p/a@2"], 9, []),
        (["p/a@1", "p/a@2", "p/c"], 9, ["p/a@1", "p/a@2"]),
        (["p/a", "p/a@1", "p/a@2", "p/c", "p/d"], 67, []),
        (["p/none"], 0, []),
    ],
)
def test_accounts_add_up_but_for_what_clones_hold(
    names: list[str], sure: int, together: list[str]
) -> None:
    freed = POOL.freed(names)
    assert freed.sure == sure
    assert freed.together == ({"p/a": together} if together else {})


def test_the_tool_may_say_what_it_would_free() -> None:
    assert zfs_space.reclaimed("destroy\tp/a@1\nreclaim\t4096\n") == 4096
    assert zfs_space.reclaimed("") is None


def stream(*commands: tuple[int, dict[int, bytes]]) -> send_stream.Names:
    data = send_stream.MAGIC + struct.pack("<I", 1)
    for number, attributes in commands:
        body = b"".join(struct.pack("<HH", k, len(v)) + v for k, v in attributes.items())
        data += struct.pack("<IHI", len(body), number, 0) + body
    return send_stream.read(io.BytesIO(data))


def test_names_follow_the_directories_that_are_renamed() -> None:
    mkfile, rename, unlink, update, end = 3, 9, 11, 22, 21
    names = stream(
        (mkfile, {15: b"o300-9-0"}),
        (rename, {15: b"o300-9-0", 16: b"o257-9-0/f"}),
        (rename, {15: b"o257-9-0", 16: b"dir"}),
        (update, {15: b"dir/f", 18: b"\0" * 8}),
        (unlink, {15: b"caf\xc3\xa9\xff"}),
        (end, {}),
        (unlink, {15: b"never"}),
    )
    found = dict(names.paths())
    assert found["dir/f"] is True
    assert found["dir"] is False
    assert "café\udcff" in found
    assert "o257-9-0" in found  # it may be one of the old tree
    assert "o300-9-0" not in found
    assert "never" not in found


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="btrfs"):
        send_stream.read(io.BytesIO(b""))
