"""Users and groups from files that belong to the container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.errors import InvalidInput
from kleene.runtime.users import Identity, resolve

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
ann:x:1000:1000:Ann:/home/ann:/bin/sh
garbage
:x:7:7::/:
minus:x:-1:1000::/:/bin/sh
huge:x:99999999999:1::/:/bin/sh
7:x:70:71::relative:/bin/sh
"""
GROUP = """\
root:x:0:
ann:x:1000:ann
web:x:33:bob,ann
broken:x:
ghost:x:x:ann
wheel:x:10:root
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Identity(0, 0, (10,), "/root")),
        ("root", Identity(0, 0, (10,), "/root")),
        ("ann", Identity(1000, 1000, (33,), "/home/ann")),
        ("1000", Identity(1000, 1000, (33,), "/home/ann")),
        ("ann:web", Identity(1000, 33, (), "/home/ann")),
        ("ann:5", Identity(1000, 5, (), "/home/ann")),
        ("4711", Identity(4711, 0, (), "/")),
        ("4711:4712", Identity(4711, 4712, (), "/")),
        ("7", Identity(70, 71, (), "/")),
        (":web", Identity(0, 33, (), "/root")),
    ],
)
def test_found(root: Path, text: str, expected: Identity) -> None:
    assert resolve(root, text) == expected


def test_further_groups(root: Path) -> None:
    assert resolve(root, "ann", ["10", "wheel", "44"]).groups == (10, 33, 44)
    assert resolve(root, "ann:web", ["web", "wheel"]).groups == (10,)
    with pytest.raises(InvalidInput, match="group 'dialout' does not exist in the container"):
        resolve(root, "ann", ["dialout"])


@pytest.mark.parametrize(
    "text",
    ["bob", "garbage", "minus", "huge", "-1", "4294967295", "²", "ann:", "ann:ghost", "1:-1"],
)
def test_not_found(root: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="does not exist in the container"):
        resolve(root, text)


def test_a_root_without_files_has_root_and_numbers(tmp_path: Path) -> None:
    assert resolve(tmp_path, "") == Identity(0, 0, (), "/root")
    assert resolve(tmp_path, "root") == Identity(0, 0, (), "/root")
    assert resolve(tmp_path, "5:6") == Identity(5, 6, (), "/")
    with pytest.raises(InvalidInput):
        resolve(tmp_path, "ann")


def test_a_link_does_not_lead_to_the_hosts_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd")
    (tmp_path / "etc/group").symlink_to("../../../../../../etc/group")
    with pytest.raises(InvalidInput):
        resolve(tmp_path, "daemon")


def test_a_device_or_a_fifo_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    assert resolve(tmp_path, "0").uid == 0
