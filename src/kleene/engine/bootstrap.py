"""A base image from the package sources of a Debian or Ubuntu host, by ``mmdebstrap`` or ``debootstrap``.

The tool runs in mount and process namespaces of its own, which die with the daemon: whenever it is killed,
no mount, no process and no file but those in the target are left.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kleene.build.events import Emit, OutputWritten
from kleene.engine import apt_sources
from kleene.engine.apt_sources import PackageSource, Release
from kleene.errors import HostUnavailable
from kleene.host import inroot, process

HOST = Path("/")

_CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"),
)
_HOOKS = "usr/share/mmdebstrap/hooks/maybe-merged-usr"
_LOCAL_AUTHORITIES = "usr/local/share/ca-certificates"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")

# A build that the host's power loss ends is built again: nothing is won by a sync for every unpacked file.
_DPKG_OPTION = "force-unsafe-io"

# An image keeps no copy of what it has installed.
_KEEP_NO_PACKAGES = 'APT::Keep-Downloaded-Packages "false";'

# There is no init in a container that could run a service: policy-rc.d(8), status 101 forbids it.
_NO_SERVICES = b"#!/bin/sh\nexit 101\n"


@dataclass(frozen=True)
class HostPackages:
    """What the host knows about where its packages come from.

    Attributes:
        settings: lines of apt.conf(5).
    """

    release: Release
    architecture: str
    sources: list[PackageSource]
    settings: list[str]

    @property
    def suite(self) -> str:
        return apt_sources.main_suite(self.sources, self.release)

    @property
    def uses_https(self) -> bool:
        return any(uri.startswith("https") for source in self.sources for uri in source.uris)


async def read_host(host: Path = HOST) -> HostPackages:
    """Detect the release and its package sources.

    Raises:
        HostUnavailable: the distribution is not one that can be bootstrapped, or has no usable sources.
    """
    release = read_release(host)
    architecture = await _output(["dpkg", "--print-architecture"])
    dump = await _output(["apt-config", "dump"])
    with tempfile.NamedTemporaryFile("w", prefix="kleene-", suffix=".conf") as nothing:
        nothing.write('Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n')
        nothing.flush()
        defaults = await _output(["apt-config", "dump"], {"APT_CONFIG": nothing.name})
    sources = apt_sources.own_sources(
        read_sources(host), release, architecture, functools.partial(_origin, host)
    )
    if not sources:
        raise HostUnavailable(
            f"no package sources of {release.name} ({release.codename}) in /etc/apt",
            hint="add the distribution's own to /etc/apt/sources.list.d, or use: klee image create fetch URL",
        )
    return HostPackages(release, architecture, sources, apt_sources.settings(dump, defaults))


def read_release(host: Path = HOST) -> Release:
    """The host's distribution and release (os-release(5)).

    Raises:
        HostUnavailable: it is neither Debian nor Ubuntu, or does not tell its codename.
    """
    text = _read(host / "etc/os-release") or _read(host / "usr/lib/os-release")
    values = apt_sources.parse_os_release(text)
    distribution, codename = values.get("ID", ""), values.get("VERSION_CODENAME", "")
    if distribution not in ("debian", "ubuntu") or not re.fullmatch(r"[a-z]+", codename):
        name = values.get("PRETTY_NAME") or distribution or "unknown"
        raise HostUnavailable(
            f"base images of the host's system ('{name}') cannot be made from its packages",
            hint="fetch a root file system instead: klee image create -t NAME fetch URL",
        )
    version = re.sub(r"[^0-9.]", "", values.get("VERSION_ID", ""))
    return Release(distribution, codename, version)


def read_sources(host: Path = HOST) -> list[PackageSource]:
    """All package sources of the host, in apt's order."""
    apt = host / "etc/apt"
    found = apt_sources.parse_lines(_read(apt / "sources.list"))
    for file in sorted((apt / "sources.list.d").glob("*")):
        if file.suffix == ".list":
            found += apt_sources.parse_lines(_read(file))
        elif file.suffix == ".sources":
            found += apt_sources.parse_paragraphs(_read(file))
    return [_with_mirrors(host, source) for source in found]


def _with_mirrors(host: Path, source: PackageSource) -> PackageSource:
    """The source with the addresses of its mirror lists (apt-transport-mirror(1)) in place of the lists."""
    uris: list[str] = []
    for uri in source.uris:
        _, is_list, path = uri.partition("mirror+file:")
        if is_list:
            lines = _read(host / path.lstrip("/")).splitlines()
            uris += [line.split()[0] for line in lines if line.strip() and line[0] != "#"]
        else:
            uris.append(uri)
    return PackageSource(
        tuple(uris), source.suites, source.components, source.options, source.architectures
    )


def _origin(host: Path, uri: str, suite: str) -> str | None:
    name = apt_sources.index_file(uri, suite)
    for ending in ("InRelease", "Release"):
        text = _read(host / "var/lib/apt/lists" / f"{name}_{ending}", 64 * 1024)
        if found := re.search(r"^Origin: *(.*)$", text, re.MULTILINE):
            return found[1]
    return None


def _read(path: Path, limit: int = -1) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return ""


async def _output(argv: Sequence[str], env: dict[str, str] | None = None) -> str:
    return (await process.run(argv, env=env)).check().stdout.decode(errors="replace").strip()


async def bootstrap(packages: HostPackages, target: Path, emit: Emit) -> None:
    """Install the release's minimal system with apt into the empty directory ``target``.

    Raises:
        HostUnavailable: no tool is installed, or it failed; its output was emitted.
    """
    program = next((p for p in ("mmdebstrap", "debootstrap") if _which(p)), None)
    if program is None:
        raise HostUnavailable(
            "neither 'mmdebstrap' nor 'debootstrap' is installed", hint="apt-get install mmdebstrap"
        )
    with tempfile.TemporaryDirectory(prefix="kleene-") as scratch:
        if program == "mmdebstrap":
            argv = _mmdebstrap(packages, target, Path(scratch))
        else:
            argv = _debootstrap(packages, target)
        completed = await process.stream(
            [*_CONTAINED, *argv], lambda data: emit(OutputWritten(data)), env=_proxies(packages)
        )
    if completed.status != 0:
        raise HostUnavailable(
            f"'{program}' failed with exit status {completed.status}",
            hint="see its output; check that the host's own 'apt-get update' works",
            details=completed.stderr.decode(errors="replace")[-2000:],
        )
    _configure(packages, target)


def _which(program: str) -> bool:
    return (
        shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin") is not None
    )


def _mmdebstrap(packages: HostPackages, target: Path, scratch: Path) -> list[str]:
    sources = scratch / "host.sources"
    sources.write_text(_render(packages.sources))
    settings = scratch / "apt.conf"
    settings.write_text("\n".join([*_defaults(packages.settings), *packages.settings, ""]))
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--verbose"]
    argv += [f"--aptopt={settings}", f"--dpkgopt={_DPKG_OPTION}"]
    if (HOST / _HOOKS).is_dir():  # a merged /usr without the package that converts to one
        argv.append(f"--hook-dir=/{_HOOKS}")
    argv.append(f"--include={_included(packages)}")
    if packages.uses_https and any((HOST / _LOCAL_AUTHORITIES).glob("*.crt")):
        argv.append(f"--essential-hook=copy-in /{_LOCAL_AUTHORITIES} /usr/local/share")
    return [*argv, packages.suite, str(target), str(sources)]


def _debootstrap(packages: HostPackages, target: Path) -> list[str]:
    """Its one source is the first; the others come with the first ``apt-get update`` in the image."""
    first = next(source for source in packages.sources if packages.suite in source.suites)
    argv = ["debootstrap", "--variant=minbase", f"--components={','.join(first.components)}"]
    keyring = first.options.get("Signed-By", "")
    if keyring.startswith("/"):
        argv.append(f"--keyring={keyring}")
    argv.append(f"--include={_included(packages)}")
    return [*argv, packages.suite, str(target), first.uris[0]]


def _included(packages: HostPackages) -> str:
    """What is there beside the minimal set: ``klee exec CONTAINER ps`` is how people look around."""
    return ",".join(["procps", *(["ca-certificates"] if packages.uses_https else [])])


def _proxies(packages: HostPackages) -> dict[str, str]:
    """The daemon's own proxies; for debootstrap, which does not ask apt, those of apt."""
    found = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    for line in packages.settings:
        if match := re.fullmatch(r'Acquire::(https?)::Proxy "(http[^"]+)";', line, re.I):
            found.setdefault(f"{match[1].lower()}_proxy", match[2])
    return found


def _defaults(settings: list[str]) -> list[str]:
    """No descriptions in other languages, unless the host says which it wants."""
    said = any(line.startswith("Acquire::Languages") for line in settings)
    return [] if said else ['Acquire::Languages "none";']


def _render(sources: list[PackageSource]) -> str:
    return "\n".join(source.render() for source in sources)


def _configure(packages: HostPackages, root: Path) -> None:
    """Give the image the host's sources and settings, without its secrets, in place of the tool's files."""
    for directory in ("/etc/apt/sources.list.d", "/etc/apt/apt.conf.d", "/etc/dpkg/dpkg.cfg.d"):
        inroot.make_dirs(root, directory)
        for name in inroot.list_dir(root, directory):
            if directory.endswith("sources.list.d") or name == "99mmdebstrap":
                inroot.remove_file(root, f"{directory}/{name}")
    for path in ("/etc/apt/sources.list", "/etc/resolv.conf", "/etc/hostname"):
        inroot.remove_file(root, path)
    sources = [
        PackageSource(
            tuple(map(apt_sources.without_password, s.uris)), s.suites, s.components, s.options
        )
        for s in packages.sources
    ]
    name = f"/etc/apt/sources.list.d/{packages.release.distribution}.sources"
    inroot.write_file(root, name, _render(sources).encode())
    settings = apt_sources.for_image(packages.settings)
    lines = [*_defaults(settings), *settings, _KEEP_NO_PACKAGES, ""]
    inroot.write_file(root, "/etc/apt/apt.conf.d/90host", "\n".join(lines).encode())
    inroot.write_file(root, "/etc/dpkg/dpkg.cfg.d/unsafe-io", f"{_DPKG_OPTION}\n".encode())
    inroot.write_file(root, "/usr/sbin/policy-rc.d", _NO_SERVICES, 0o755)
    for path in _named_files(packages):
        _copy_missing(root, path)


def _named_files(packages: HostPackages) -> list[str]:
    """Files of the host that the sources and settings name: keyrings and certificate authorities."""
    keyrings = (source.options.get("Signed-By", "") for source in packages.sources)
    found = [word for text in keyrings if "\n" not in text for word in text.split()]
    for line in packages.settings:
        if match := re.fullmatch(r'Acquire::.*::CaInfo "([^"]+)";', line, re.IGNORECASE):
            found.append(match[1])
    return [path for path in found if path.startswith("/")]


def _copy_missing(root: Path, path: str) -> None:
    if not inroot.exists(root, path):
        with contextlib.suppress(OSError):
            data = (HOST / path.lstrip("/")).read_bytes()
            inroot.make_dirs(root, os.path.dirname(path))  # noqa: PTH120 - a path in the image
            inroot.write_file(root, path, data)
