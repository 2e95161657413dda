"""The seccomp filter: from the profile that containers-common ships to the OCI form. Pure.

The profile (``seccomp.json``) is written for every architecture and capability set at once: a rule says with
``includes`` and ``excludes`` for which capabilities and architectures it counts. The OCI runtime wants the
rules of one container. Sources: the runtime specification 1.0.2, config-linux.md, "Seccomp"; seccomp.json.

The runtime compiles the filter anew for every process, and the time grows faster than the number of system
call interfaces in it: 5 ms for the machine's own, 17 ms with the 32-bit one and x32. So x32, which nothing
ships, is left out, and the 32-bit one is in it only where it may be needed (see :func:`needs_32_bit`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class _Machine:
    """An architecture: its name in the profile's conditions, its own and its 32-bit interface for libseccomp,
    and the dynamic loaders (ld.so(8)) of programs for each."""

    condition: str
    native: str
    narrow: str | None = None
    loaders: tuple[str, ...] = ()
    narrow_loaders: tuple[str, ...] = ()


_MACHINES = {
    "x86_64": _Machine(
        "amd64",
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"),
        ("/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"),
    ),
    "aarch64": _Machine(
        "arm64",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"),
        ("/lib/ld-linux-armhf.so.3", "/lib/ld-musl-armhf.so.1"),
    ),
    "riscv64": _Machine("riscv64", "SCMP_ARCH_RISCV64"),
    "ppc64le": _Machine("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": _Machine("s390x", "SCMP_ARCH_S390X"),
}


def needs_32_bit(machine: str, exists: Callable[[str], bool]) -> bool:
    """Whether programs of the machine's 32-bit interface may run in a root file system: it has a loader for
    them, or no loader at all, so that nothing can be told.

    Args:
        exists: whether an absolute path is there in the root file system.
    """
    known = _MACHINES.get(machine)
    if known is None or known.narrow is None:
        return False
    return any(map(exists, known.narrow_loaders)) or not any(map(exists, known.loaders))


def oci_filter(
    profile: Mapping[str, Any], machine: str, capabilities: Iterable[str], *, with_32_bit: bool
) -> Json:
    """``linux.seccomp`` for a container.

    Args:
        profile: the parsed ``seccomp.json``.
        machine: the architecture as ``uname -m`` tells it.
        capabilities: those in the container's bounding set.
        with_32_bit: let in the system calls of 32-bit programs; else such a program is killed.
    """
    known = _MACHINES.get(machine, _Machine(machine, ""))
    held = frozenset(capabilities)
    result: Json = {"defaultAction": profile["defaultAction"]}
    if "defaultErrnoRet" in profile:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    if known.native:
        narrow = [known.narrow] if with_32_bit and known.narrow else []
        result["architectures"] = [known.native, *narrow]
    result["syscalls"] = _merged(
        r for r in profile["syscalls"] if _applies(r, known.condition, held)
    )
    return result


def _applies(rule: Mapping[str, Any], arch: str, held: frozenset[str]) -> bool:
    """Included by all that ``includes`` asks for, and excluded by nothing in ``excludes``."""
    wanted = rule.get("includes") or {}
    unwanted = rule.get("excludes") or {}
    if not held.issuperset(wanted.get("caps") or ()):
        return False
    if wanted.get("arches") and arch not in wanted["arches"]:
        return False
    return held.isdisjoint(unwanted.get("caps") or ()) and arch not in (
        unwanted.get("arches") or ()
    )


def _merged(rules: Iterable[Mapping[str, Any]]) -> list[Json]:
    """Rules in the OCI form; those without conditions on arguments and with equal action are made one, which
    saves the runtime time at every start. Of two such rules for one system call, the first counts."""
    plain: dict[tuple[str, int | None], list[str]] = {}
    decided: set[str] = set()
    conditional: list[Json] = []
    for rule in rules:
        key = (rule["action"], rule.get("errnoRet"))
        if rule.get("args"):
            conditional.append(_rule(rule["names"], *key, rule["args"]))
            continue
        names = [n for n in rule["names"] if n not in decided]
        plain.setdefault(key, []).extend(names)
        decided.update(names)
    return [_rule(names, *key) for key, names in plain.items() if names] + conditional


def _rule(
    names: Sequence[str],
    action: str,
    errno: int | None,
    args: Sequence[Mapping[str, Any]] = (),
) -> Json:
    rule: Json = {"names": sorted(names), "action": action}
    if errno is not None:
        rule["errnoRet"] = errno
    if args:
        keys = ("index", "value", "valueTwo", "op")
        rule["args"] = [{k: a[k] for k in keys if k in a} for a in args]
    return rule
