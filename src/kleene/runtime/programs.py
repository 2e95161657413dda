"""The programs that containers are made with: found, and the runtime tried, once in the daemon's life.

A runtime that is installed need not work on the host's control groups, so each candidate runs a trivial
container with the very specification that containers get. What is found here is kept by the driver.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kleene.errors import CommandFailed, HostUnavailable
from kleene.host import process
from kleene.runtime import oci_spec, oom
from kleene.runtime.cgroups import Cgroups
from kleene.runtime.driver import ContainerSpec, Network
from kleene.runtime.jail_params import Adjustments
from kleene.runtime.privileges import CAPABILITIES, RLIMITS
from kleene.runtime.program import Program, programs, search

_INIT = ("catatonit", "/usr/libexec/podman/catatonit", "/usr/libexec/catatonit/catatonit")
_PROFILE = Path("/usr/share/containers/seccomp.json")
_PACKAGES = {
    "conmon": "conmon",
    "catatonit": "catatonit",
    str(_PROFILE): "golang-github-containers-common",
}
_PROBE_TIMEOUT = 20.0

_MFD_EXEC = 0x10  # linux/memfd.h; since Linux 6.3


@dataclass(frozen=True)
class Programs:
    """What was found.

    Attributes:
        program: the runtime, valid while the daemon lives.
        name, version: of the runtime.
        conmon: path of the keeper.
        host: for :mod:`kleene.runtime.oci_spec`.
        tried: for each candidate, ``ok`` or why it does not work.
        memory: a file in memory that ``program`` is the path of.
    """

    program: Program
    name: str
    version: str
    conmon: str
    host: oci_spec.Host
    tried: dict[str, str]
    memory: int | None

    def close(self) -> None:
        """Close :attr:`memory`; the runtime cannot be started any more."""
        if self.memory is not None:
            os.close(self.memory)


async def find(scratch: Path, cgroups: Cgroups, runtimes: Sequence[str]) -> Programs:
    """Find the programs and try the runtimes.

    Args:
        scratch: an existing directory for the trial.
        runtimes: names of the candidates; the first that works is taken.

    Raises:
        HostUnavailable: names what is missing and the packages that have it, or why no runtime works.
    """
    conmon = search("conmon")
    init = next((p for name in _INIT if (p := search(name))), None)
    profile = _profile()
    have = {"conmon": conmon, "catatonit": init, str(_PROFILE): profile}
    missing = [name for name, found in have.items() if found is None]
    if conmon is None or init is None or profile is None:
        packages = " ".join(_PACKAGES[name] for name in missing)
        names = ", ".join(f"'{name}'" for name in missing)
        raise HostUnavailable(f"{names} not found", hint=f"apt-get install {packages}")
    host = _host(Path(init), profile, cgroups)
    tried: dict[str, str] = {}
    for name, program in _candidates(runtimes, tried):
        try:
            version = await _try(program, scratch, host, cgroups)
        except (CommandFailed, HostUnavailable, OSError) as error:
            tried[name] = _reason(error)
            continue
        tried[name] = "ok" if program.unseen is None else f"ok, if it does not see {program.unseen}"
        memory = _sealed(Path(program.path)) if name == "runc" else None
        if memory is not None:
            program = Program(f"/proc/{os.getpid()}/fd/{memory}")
        return Programs(program, name, version, conmon, host, tried, memory)
    raise HostUnavailable(
        "no container runtime works on this host",
        hint=f"apt-get install {' '.join(runtimes)}",
        details="\n".join(f"{name}: {reason}" for name, reason in tried.items()),
    )


def _candidates(runtimes: Sequence[str], tried: dict[str, str]) -> Iterator[tuple[str, Program]]:
    """The runtimes to try, one after the other; those that are not installed are noted in ``tried``."""
    for name in runtimes:
        if (found := search(name)) is None:
            tried[name] = "not installed"
            continue
        for program in programs(found, name):
            yield name, program


def _reason(error: CommandFailed | HostUnavailable | OSError) -> str:
    if isinstance(error, OSError):
        return str(error)
    return (error.details or error.message).splitlines()[-1]


async def _try(program: Program, scratch: Path, host: oci_spec.Host, cgroups: Cgroups) -> str:
    """Run a container that does nothing, in an empty root; the runtime's version.

    Raises:
        CommandFailed: it does not work.
    """
    with tempfile.TemporaryDirectory(prefix="probe-", dir=scratch) as name:
        bundle = Path(name)
        (bundle / "rootfs").mkdir()
        container = bundle.name
        spec = ContainerSpec(container, bundle / "rootfs", "probe", Network("none"), "disabled")
        config = oci_spec.container(
            spec,
            Adjustments(),
            host,
            cgroup=cgroups.path(container),
            with_32_bit=False,
            args=(oci_spec.INIT_IN_CONTAINER, "--version"),
        )
        (bundle / "config.json").write_text(json.dumps(config))
        state = ("--root", str(bundle / "state"))
        try:
            (await _call(program, *state, "run", "--bundle", name, container)).check()
        finally:
            await _call(program, *state, "delete", "--force", container)
            await cgroups.remove(container)
            cgroups.remove_parent()
    version = await process.run([program.path, "--version"])
    return version.check().stdout.decode(errors="replace").split("\n")[0].split()[-1]


async def _call(program: Program, *arguments: str) -> process.Completed:
    with program.ready() as words:
        return await process.run([*words, *arguments], timeout=_PROBE_TIMEOUT)


def _sealed(program: Path) -> int | None:
    """A copy in memory that nobody can write to any more (memfd_create(2), F_ADD_SEALS).

    runc makes such a copy of itself before it enters a container, lest the container change the program on
    the host's disk (CVE-2019-5736); started from one, it is spared the time.
    """
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        fd = _memory_file(program.name)
        with program.open("rb") as file:
            while os.sendfile(fd, file.fileno(), None, 1 << 30):
                pass
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        return fd
    return None


def _memory_file(name: str) -> int:
    if sys.platform != "linux":
        raise OSError("no memory files")
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_EXEC)
    except OSError:
        return os.memfd_create(name, flags)


def _host(init: Path, profile: dict[str, Any], cgroups: Cgroups) -> oci_spec.Host:
    def hard(limit: int) -> int:
        value = resource.getrlimit(limit)[1]
        return -1 if value == resource.RLIM_INFINITY else value

    capabilities = permitted_capabilities(Path("/proc/self/status").read_text())
    return oci_spec.Host(
        init=init,
        machine=os.uname().machine,
        profile=profile,
        unified=cgroups.unified,
        capabilities=capabilities,
        open_files=hard(resource.RLIMIT_NOFILE),
        core=hard(resource.RLIMIT_CORE),
        hard_limits={n: hard(getattr(resource, f"RLIMIT_{n.upper()}")) for n in RLIMITS},
        counts_swap=cgroups.counts_swap(),
        oom_score_adj=oom.adjustment(oom.own(), capabilities),
    )


def _profile() -> dict[str, Any] | None:
    try:
        profile: dict[str, Any] = json.loads(_PROFILE.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise HostUnavailable(
            f"'{_PROFILE}' is not valid JSON: {error}",
            hint=f"apt-get install --reinstall {_PACKAGES[str(_PROFILE)]}",
        ) from error
    return profile


def permitted_capabilities(status: str) -> frozenset[str]:
    """Names of the capabilities that ``/proc/PID/status`` (proc(5)) tells as permitted."""
    line = next(line for line in status.splitlines() if line.startswith("CapPrm:"))
    mask = int(line.split()[1], 16)
    return frozenset(f"CAP_{n}" for bit, n in enumerate(CAPABILITIES) if mask >> bit & 1)
