"""The files of a container's /etc that tell it of the network: resolv.conf, hosts, hostname.

Written into the container's bundle and mounted read-write over what the image has, as Docker does, so that
nothing of the host gets into an image. A file needs one to be mounted on: where the image has none, an empty
one is made, inside its root, and removed with the container if it is still empty. Where the image has
something else of that name, such as a directory, nothing is mounted.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from kleene.host import inroot
from kleene.runtime.oci_spec import EtcFile
from kleene.runtime.options import NO_OPTIONS, Options

_FALLBACK = ("1.1.1.1", "8.8.8.8")
_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")  # systemd-resolved.service(8)
_ENTRIES = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_NAMES = ("resolv.conf", "hosts", "hostname")


def resolv_conf(host: str, upstream: str, *, own_stack: bool) -> str:
    """A container's resolv.conf(5).

    Args:
        host: the host's file.
        upstream: what the host's local resolver itself asks; empty if there is none.
        own_stack: the container has a loopback interface of its own, where no resolver of the host listens.
    """
    if not own_stack:
        return host
    for text in (host, upstream):
        lines = [line for line in text.splitlines() if not _is_local_server(line)]
        if any(line.split()[:1] == ["nameserver"] for line in lines):
            return "\n".join(lines) + "\n"
    kept = [line for line in host.splitlines() if line.split()[:1] != ["nameserver"]]
    return "\n".join([*kept, *(f"nameserver {a}" for a in _FALLBACK)]) + "\n"


def _is_local_server(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        return ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False


def hosts(host: str, hostname: str, *, own_stack: bool) -> str:
    """A container's hosts(5): its own name; those of the host if it shares the host's stack."""
    known = _ENTRIES if own_stack else host
    if known and not known.endswith("\n"):
        known += "\n"
    named = any(hostname in line.partition("#")[0].split()[1:] for line in known.splitlines())
    return known if named else f"{known}127.0.1.1\t{hostname}\n"


def with_options(text: str, options: Options) -> str:
    """A resolv.conf(5) in which what the options name is theirs alone; nothing else in it is changed."""
    servers = [f"nameserver {address}" for address in options.dns]
    # A lone dot is how Docker's users ask for no domain at all.
    domains = [name for name in options.dns_search if name != "."]
    replaced: dict[str, list[str]] = {}
    if options.dns_search:
        replaced |= {"domain": [], "search": [f"search {' '.join(domains)}"] if domains else []}
    if servers:
        replaced["nameserver"] = servers
    if options.dns_options:
        replaced["options"] = [f"options {' '.join(options.dns_options)}"]
    if not replaced:
        return text
    kept = [line for line in text.splitlines() if (line.split() or [""])[0] not in replaced]
    return "\n".join([*kept, *(line for lines in replaced.values() for line in lines)]) + "\n"


def write(
    bundle: Path, hostname: str, options: Options = NO_OPTIONS, *, own_stack: bool
) -> list[EtcFile]:
    """Write the files into the bundle."""
    servers = resolv_conf(_read("/etc/resolv.conf"), _read(_UPSTREAM), own_stack=own_stack)
    known = hosts(_read("/etc/hosts"), hostname, own_stack=own_stack)
    contents = (
        with_options(servers, options),
        known + "".join(f"{address}\t{name}\n" for name, address in options.hosts),
        f"{hostname}\n",
    )
    files = [EtcFile(bundle / name, f"/etc/{name}") for name in _NAMES]
    for file, content in zip(files, contents, strict=True):
        file.source.write_text(content)
        file.source.chmod(0o644)
    return files


def _read(path: str | Path) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""


def make_mountpoints(rootfs: Path, files: Iterable[EtcFile]) -> tuple[list[EtcFile], list[str]]:
    """The files that can be mounted, and what had to be made for that: paths in the root, parents first."""
    mountable: list[EtcFile] = []
    made: list[str] = []
    for file in files:
        with contextlib.suppress(OSError):
            if _make_file(rootfs, file.destination, made):
                mountable.append(file)
    return mountable, made


def _make_file(rootfs: Path, path: str, made: list[str]) -> bool:
    """Whether there is a regular file at ``path`` now; links are followed inside the root."""
    try:
        return stat.S_ISREG(inroot.stat(rootfs, path).st_mode)
    except FileNotFoundError:
        pass
    made += inroot.make_dirs(rootfs, _target_directory(rootfs, path))
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    os.close(inroot.open_in_root(rootfs, path, flags, 0o644))
    made.append(path)
    return True


def _target_directory(rootfs: Path, path: str) -> str:
    """The directory that a missing file belongs in: that of the link's target, if ``path`` is a link."""
    directory, name = path.rsplit("/", 1)
    try:
        parent = inroot.open_in_root(rootfs, directory, inroot.O_PATH)
    except FileNotFoundError:
        return directory
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return directory
        raise
    finally:
        os.close(parent)
    return (target if target.startswith("/") else f"{directory}/{target}").rsplit("/", 1)[0]


def remove_mountpoints(rootfs: Path, made: Sequence[str]) -> None:
    """Remove what :func:`make_mountpoints` made, as far as it is still empty."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            inroot.remove_empty(rootfs, path)
