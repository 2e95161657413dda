"""Limits and privileges: what they are to the runtime and to control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.errors import InvalidInput
from kleene.runtime import limits, privileges
from kleene.runtime.cgroups import Cgroups, find
from kleene.runtime.options import Limits, Rlimit
from tests.unit.runtime.test_cgroups import HYBRID

MIB = 1024 * 1024
ALL_SET = Limits(memory=64 * MIB, swap=96 * MIB, cpus=1.5, pids=20)


def test_what_the_runtime_is_told() -> None:
    assert limits.resources(ALL_SET, swap=True) == {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB},
        "cpu": {"quota": 150_000, "period": 100_000},
        "pids": {"limit": 20},
    }
    assert limits.resources(Limits(), swap=True) == {}
    assert limits.resources(Limits(memory=64 * MIB), swap=True)["memory"]["swap"] == 128 * MIB
    assert limits.resources(Limits(memory=64 * MIB, swap=-1), swap=True)["memory"]["swap"] == -1
    assert "swap" not in limits.resources(Limits(memory=64 * MIB), swap=False)["memory"]


def test_files_of_version_1() -> None:
    found = {f"{w.controller}/{w.file}": w.value for w in limits.writes(ALL_SET, unified=False)}
    assert found == {
        "memory/memory.limit_in_bytes": str(64 * MIB),
        "memory/memory.memsw.limit_in_bytes": str(96 * MIB),
        "cpu/cpu.cfs_period_us": "100000",
        "cpu/cpu.cfs_quota_us": "150000",
        "pids/pids.max": "20",
    }
    lifted = {w.file: w.value for w in limits.writes(Limits(), unified=False)}
    assert lifted["memory.limit_in_bytes"] == "-1"
    assert lifted["memory.memsw.limit_in_bytes"] == "-1"
    assert lifted["cpu.cfs_quota_us"] == "-1"
    assert lifted["pids.max"] == "max"


def test_files_of_version_2() -> None:
    found = {w.file: w.value for w in limits.writes(ALL_SET, unified=True)}
    assert found == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "cpu.max": "150000 100000",
        "pids.max": "20",
    }
    lifted = {w.file: w.value for w in limits.writes(Limits(), unified=True)}
    assert lifted == {
        "memory.max": "max",
        "memory.swap.max": "max",
        "cpu.max": "max 100000",
        "pids.max": "max",
    }
    assert limits.writes(Limits(memory=64 * MIB), unified=True)[1].value == str(64 * MIB)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Limits(memory=1000), "too small"),
        (Limits(swap=64 * MIB), "needs one of memory"),
        (Limits(memory=64 * MIB, swap=32 * MIB), "below that of memory"),
        (Limits(memory=64 * MIB, swap=-2), "negative"),
        (Limits(pids=-1), "negative"),
        (Limits(cpus=0.001), "not a number of processors"),
        (Limits(cpus=-1), "not a number of processors"),
    ],
)
def test_a_limit_that_makes_no_sense(wrong: Limits, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        limits.check(wrong)


def test_what_the_kernel_must_have(tmp_path: Path) -> None:
    assert limits.controllers(ALL_SET) == {"memory", "cpu", "pids"}
    assert limits.controllers(Limits(pids=1)) == {"pids"}
    hybrid = find("abc123", HYBRID)
    hybrid.check({"memory", "pids"})
    with pytest.raises(InvalidInput, match="processor time cannot be limited on this host"):
        hybrid.check({"cpu"})
    (tmp_path / "cgroup.controllers").write_text("cpuset memory pids\n")
    unified = Cgroups([tmp_path], True, "kleene-abc123")
    unified.check({"memory", "pids"})
    with pytest.raises(InvalidInput, match="'cpu'"):
        unified.check({"cpu"})


def test_limits_of_a_live_container_in_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    group = tmp_path / "kleene-abc123" / ("a" * 12)
    group.mkdir(parents=True)
    unified = Cgroups([tmp_path], True, "kleene-abc123")
    assert unified.write("a" * 12, limits.writes(ALL_SET, unified=True)) == []
    assert (group / "cpu.max").read_text() == "150000 100000"
    assert (group / "memory.swap.max").read_text() == str(32 * MIB)
    (group / "pids.max").unlink()
    (group / "pids.max").mkdir()  # as a file that cannot be written to
    (note,) = unified.write("a" * 12, limits.writes(ALL_SET, unified=True))
    assert note.startswith("the limit of the number of processes takes effect at the next start")


def test_capabilities_by_any_of_their_names() -> None:
    assert privileges.capability_names(["net_admin", "CAP_NET_ADMIN", "all"]) == [
        "NET_ADMIN",
        "ALL",
    ]
    with pytest.raises(InvalidInput, match="capability 'FLY' is not known"):
        privileges.capability_names(["FLY"])


@pytest.mark.parametrize(
    ("added", "dropped", "left"),
    [
        ([], [], {"CAP_CHOWN", "CAP_KILL"}),
        (["NET_ADMIN"], [], {"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"}),
        ([], ["CHOWN"], {"CAP_KILL"}),
        ([], ["ALL"], set()),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        (["ALL"], ["KILL"], {"CAP_CHOWN", "CAP_NET_ADMIN"}),
        (["SYS_TIME"], [], {"CAP_CHOWN", "CAP_KILL"}),
    ],
)
def test_what_is_left_of_capabilities(added: list[str], dropped: list[str], left: set[str]) -> None:
    available = {"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"}
    default = ["CAP_CHOWN", "CAP_KILL"]
    assert privileges.bounding_set(default, added, dropped, available) == left


def test_a_capability_that_the_daemon_lacks() -> None:
    privileges.check_capabilities(["ALL", "CHOWN"], {"CAP_CHOWN"})
    with pytest.raises(InvalidInput, match="'SYS_TIME' cannot be given"):
        privileges.check_capabilities(["SYS_TIME"], {"CAP_CHOWN"})


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (Rlimit("files", 1, 1), "'files' is not known"),
        (Rlimit("nofile", 2, 1), "above the hard one"),
        (Rlimit("nofile", -1, 1), "above the hard one"),
        (Rlimit("nofile", -2, 1), "negative"),
    ],
)
def test_a_resource_limit_that_makes_no_sense(limit: Rlimit, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        privileges.check_rlimit(limit)


def test_a_resource_limit_that_cannot_be_raised() -> None:
    privileges.check_rlimit(Rlimit("core", 0, -1))
    privileges.check_raisable(Rlimit("nofile", 10, 10), 20)
    privileges.check_raisable(Rlimit("nofile", 10, -1), -1)
    for hard in (21, -1):
        with pytest.raises(InvalidInput, match="cannot be raised above 20"):
            privileges.check_raisable(Rlimit("nofile", 1, hard), 20)
