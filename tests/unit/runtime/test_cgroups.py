"""Control group hierarchies, from what the kernel tells of its mounts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kleene.errors import HostUnavailable
from kleene.runtime.cgroups import find, own_group

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
22 1 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 22 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
32 22 0:28 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory
33 22 0:29 / /sys/fs/cgroup/pids rw shared:6 master:2 - cgroup cgroup rw,pids
34 22 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 22 0:31 / /other/place rw - cgroup cgroup rw,cpu
"""


def test_version_2() -> None:
    found = find("abc123", V2)
    assert found.unified
    assert found.trees == [Path("/sys/fs/cgroup")]
    assert found.path("0123456789ab") == "/kleene-abc123/0123456789ab"


def test_hybrid() -> None:
    found = find("abc123", HYBRID)
    assert not found.unified
    assert [t.name for t in found.trees] == ["pids", "memory", "systemd", "unified"]


def test_none() -> None:
    with pytest.raises(HostUnavailable):
        find("abc123", "22 1 0:20 / / rw - ext4 /dev/x rw\n")


@pytest.mark.parametrize(
    ("tree", "group"),
    [("pids", "/svc"), ("cpu", "/x"), ("cgroup", "/new"), ("cpu,cpuacct", None), ("rdma", None)],
)
def test_own_group(tree: str, group: str | None) -> None:
    assert own_group(tree, "3:cpu,cpuacct:/x\n2:pids:/svc\n1:name=systemd:/s\n0::/new\n") == group


async def test_groups_are_listed_and_removed(tmp_path: Path) -> None:
    found = find("abc123", V2)
    groups = replace(found, trees=[tmp_path / "a", tmp_path / "b"])
    for tree in groups.trees:
        (tree / groups.parent / "one" / "below").mkdir(parents=True)
    assert groups.containers() == {"one"}
    assert groups.pids("one") == []
    (tmp_path / "a" / groups.parent / "one" / "cgroup.procs").write_text("7\n8\n")
    assert groups.pids("one") == [7, 8]
    (tmp_path / "a" / groups.parent / "one" / "cgroup.procs").unlink()
    await groups.remove("one")
    await groups.remove("two")
    assert groups.containers() == set()
    groups.remove_parent()
    assert list((tmp_path / "a").iterdir()) == []
