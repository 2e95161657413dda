"""Specifications for the OCI runtime: golden files, and the decisions in them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kleene.errors import InvalidInput
from kleene.runtime import devices, sysctls
from kleene.runtime.driver import ContainerSpec, Mount, Network, ProcessSpec
from kleene.runtime.jail_params import Adjustments, adjustments
from kleene.runtime.oci_spec import EtcFile, Host, capabilities, container, process, rlimits
from kleene.runtime.options import Device, Options
from kleene.runtime.programs import permitted_capabilities
from kleene.runtime.users import Identity

GOLDEN = Path(__file__).parents[2] / "golden" / "oci"

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["bpf"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
            "excludes": {"caps": ["CAP_SYS_ADMIN"]},
        },
    ],
}
ALL = permitted_capabilities("CapPrm:\t000001ffffffffff\n")
HOST = Host(
    init=Path("/usr/bin/catatonit"),
    machine="x86_64",
    profile=PROFILE,
    unified=False,
    capabilities=ALL,
    open_files=1048576,
    core=-1,
    oom_score_adj=0,
)
SPEC = ContainerSpec(
    "0123456789ab", Path("/data/container/0123456789ab"), "web", Network("none"), "ipnet"
)
FILES = tuple(
    EtcFile(Path(f"/run/bundle/{name}"), f"/etc/{name}")
    for name in ("resolv.conf", "hosts", "hostname")
)
CONTAINERS: dict[str, tuple[ContainerSpec, Host]] = {
    "plain": (SPEC, HOST),
    "host-network": (replace(SPEC, network=Network("host"), network_driver="host"), HOST),
    "vnet-unified": (
        replace(
            SPEC,
            network=Network("namespace", Path("/run/netns/kleene-x")),
            network_driver="vnet",
        ),
        replace(HOST, unified=True, open_files=20000, oom_score_adj=200),
    ),
    "mounts-and-parameters": (
        replace(
            SPEC,
            mounts=(
                Mount(Path("/data/volume/db"), "/var/lib/db"),
                Mount(Path("/srv/www"), "/www", read_only=True),
            ),
            jail_params={
                "host.hostname": "db.example",
                "host.domainname": "nis",
                "allow.raw_sockets": "true",
                "allow.reserved_ports": "false",
            },
        ),
        HOST,
    ),
}
PROCESSES: dict[str, tuple[ProcessSpec, Identity]] = {
    "process-root": (ProcessSpec(["sh", "-c", "true"]), Identity(0, 0, (), "/root")),
    "process-user": (
        ProcessSpec(["id"], env=["HOME=/elsewhere", "A=b=c"], cwd="/srv", user="ann"),
        Identity(1000, 1000, (33, 44), "/home/ann"),
    ),
    "process-terminal": (
        ProcessSpec(["sh"], env=["PATH=/bin"], terminal=True, rows=50, columns=132),
        Identity(0, 0, (), "/root"),
    ),
}


def check(name: str, document: dict[str, Any]) -> None:
    """Compare with the golden file; ``GOLDEN=write`` in the environment writes it instead."""
    path = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(json.dumps(document, indent=2) + "\n")
    assert document == json.loads(path.read_text())


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name: str) -> None:
    spec, host = CONTAINERS[name]
    adjusted = adjustments(spec.jail_params)
    group = "/kleene-abc123/0123456789ab"
    document = container(spec, adjusted, host, cgroup=group, files=FILES, with_32_bit=False)
    check(name, document)


@pytest.mark.parametrize("name", PROCESSES)
def test_processes(name: str) -> None:
    spec, identity = PROCESSES[name]
    bounding = capabilities("ipnet", Adjustments(), ALL)
    check(name, process(spec, identity, bounding, rlimits(HOST)))


def test_nothing_is_granted_that_the_daemon_does_not_have() -> None:
    held = frozenset({"CAP_CHOWN", "CAP_SYS_ADMIN"})
    assert capabilities("vnet", Adjustments(), held) == ["CAP_CHOWN"]


def test_a_privileged_container_has_all_that_the_daemon_has() -> None:
    everything = Options(privileged=True, cap_drop=["ALL"])
    spec = replace(SPEC, options=everything)
    assert capabilities("ipnet", Adjustments(), {"CAP_CHOWN"}, everything) == ["CAP_CHOWN"]
    linux = container(spec, Adjustments(), HOST, cgroup="/x")["linux"]
    assert "seccomp" not in linux
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []


def test_options_of_a_container() -> None:
    options = Options(
        no_new_privileges=True, seccomp=False, shm_size=4096, sysctls={"net.core.somaxconn": "9"}
    )
    node = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3}
    given = devices.Given([node], [{"allow": True, "access": "r"}])
    spec = replace(SPEC, options=options)
    made = container(spec, Adjustments(), HOST, cgroup="/x", given=given)
    assert made["process"]["noNewPrivileges"]
    assert "seccomp" not in made["linux"]
    assert made["linux"]["sysctl"]["net.core.somaxconn"] == "9"
    assert made["linux"]["devices"] == [node]
    assert made["linux"]["resources"]["devices"][-1] == {"allow": True, "access": "r"}
    (shm,) = (m for m in made["mounts"] if m["destination"] == "/dev/shm")
    assert "size=4096" in shm["options"]
    started = process(ProcessSpec(["x"]), Identity(0, 0, (), "/"), [], [], no_new=True)
    assert started["noNewPrivileges"]


def test_devices_of_the_host() -> None:
    (node,) = devices.given(Options(devices=[Device("/dev/null", "/dev/x", "r")])).nodes
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/x", "c", 1, 3)
    assert {n["path"] for n in devices.given(Options(privileged=True)).nodes} >= {"/dev/null"}
    for wrong in (Device("null", "/x"), Device("/dev/../x", "/x"), Device("/dev/null", "/x", "q")):
        with pytest.raises(InvalidInput, match="device '"):
            devices.check(wrong)
    with pytest.raises(InvalidInput, match="is not a device of the host"):
        devices.given(Options(devices=[Device("/etc/hosts", "/x")]))


@pytest.mark.parametrize(
    "name", ["vm.swappiness", "kernel.hostname", "net", "net.a=b", "net..a", "", "net.a\nb"]
)
def test_parameters_that_would_be_the_hosts(name: str) -> None:
    sysctls.check("net.core.somaxconn", "1")
    sysctls.check("kernel.shmmax", "1")
    with pytest.raises(InvalidInput, match="kernel parameter"):
        sysctls.check(name, "1")


def test_root_without_privileges() -> None:
    assert capabilities("vnet", Adjustments(bare=True), ALL) == []


@pytest.mark.parametrize(
    ("daemon", "expected"), [(-1, (1024, 524288)), (20000, (1024, 20000)), (512, (512, 512))]
)
def test_limits_stay_below_the_daemons(daemon: int, expected: tuple[int, int]) -> None:
    limits = {r["type"]: (r["soft"], r["hard"]) for r in rlimits(replace(HOST, open_files=daemon))}
    assert limits["RLIMIT_NOFILE"] == expected


def test_a_host_stack_is_not_tuned() -> None:
    document = container(CONTAINERS["host-network"][0], Adjustments(), HOST, cgroup="/x")
    assert document["linux"]["sysctl"] == {}
    assert "network" not in [n["type"] for n in document["linux"]["namespaces"]]
