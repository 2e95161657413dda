"""The seccomp filter of one container, from the profile for all."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.runtime.seccomp import needs_32_bit, oci_filter


def rule(names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": action, "args": [], **more}


def filtered(
    *rules: dict[str, Any], machine: str = "x86_64", caps: str = "", wide: bool = False
) -> list[dict[str, Any]]:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": rules}
    result = oci_filter(profile, machine, caps.split(), with_32_bit=wide)
    syscalls: list[dict[str, Any]] = result["syscalls"]
    return syscalls


def test_plain_rules_of_one_action_become_one() -> None:
    assert filtered(rule("read write"), rule("open")) == [
        {"names": ["open", "read", "write"], "action": "SCMP_ACT_ALLOW"}
    ]


def test_of_two_rules_for_a_call_the_first_counts() -> None:
    deny = rule("setns", "SCMP_ACT_ERRNO", errnoRet=1, errno="EPERM")
    assert filtered(rule("setns"), deny) == filtered(rule("setns"))
    assert filtered(deny, rule("setns")) == filtered(deny)


def test_errnos_keep_rules_apart() -> None:
    found = filtered(
        rule("a", "SCMP_ACT_ERRNO", errnoRet=1), rule("b", "SCMP_ACT_ERRNO", errnoRet=22)
    )
    assert [(r["names"], r["errnoRet"]) for r in found] == [(["a"], 1), (["b"], 22)]


def test_arguments_keep_a_rule_as_it_is() -> None:
    arg = {"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    assert filtered(rule("personality", args=[{**arg, "comment": "x"}])) == [
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [arg]}
    ]


@pytest.mark.parametrize(
    ("condition", "caps", "machine", "applies"),
    [
        ({"includes": {"caps": ["CAP_BPF"]}}, "", "x86_64", False),
        ({"includes": {"caps": ["CAP_BPF"]}}, "CAP_BPF", "x86_64", True),
        ({"excludes": {"caps": ["CAP_BPF"]}}, "", "x86_64", True),
        ({"excludes": {"caps": ["CAP_BPF"]}}, "CAP_BPF", "x86_64", False),
        ({"includes": {"arches": ["amd64", "x32"]}}, "", "x86_64", True),
        ({"includes": {"arches": ["arm64"]}}, "", "x86_64", False),
        ({"includes": {"arches": ["arm64"]}}, "", "aarch64", True),
        ({"excludes": {"arches": ["s390x"]}}, "", "s390x", False),
        ({"includes": {}, "excludes": {}}, "", "x86_64", True),
        ({"includes": None}, "", "loongarch64", True),
    ],
)
def test_conditions(condition: dict[str, Any], caps: str, machine: str, applies: bool) -> None:
    found = filtered(rule("call", **condition), caps=caps, machine=machine)
    assert bool(found) is applies


def test_architectures() -> None:
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}

    def architectures(machine: str, wide: bool) -> object:
        return oci_filter(profile, machine, (), with_32_bit=wide).get("architectures")

    assert architectures("x86_64", False) == ["SCMP_ARCH_X86_64"]
    assert architectures("x86_64", True) == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert architectures("riscv64", True) == ["SCMP_ARCH_RISCV64"]
    assert architectures("unheard", True) is None


@pytest.mark.parametrize(
    ("machine", "files", "needed"),
    [
        ("x86_64", ["/lib64/ld-linux-x86-64.so.2"], False),
        ("x86_64", ["/lib/ld-musl-x86_64.so.1"], False),
        ("x86_64", ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux.so.2"], True),
        ("x86_64", ["/lib/ld-linux.so.2"], True),
        ("x86_64", [], True),
        ("aarch64", ["/lib/ld-linux-aarch64.so.1"], False),
        ("riscv64", [], False),
        ("unheard", [], False),
    ],
)
def test_32_bit_programs_are_let_in_where_they_may_be(
    machine: str, files: list[str], needed: bool
) -> None:
    assert needs_32_bit(machine, lambda path: path in files) is needed
