"""Making the file tree of a base image in an empty directory.

What was made until an error is left behind: the caller takes the directory away.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from kleene.build.events import Emit, OutputWritten, ProgressMade
from kleene.engine import bootstrap
from kleene.engine.download import Remote, open_url
from kleene.host import archive, inroot, oserrors
from kleene.host.threads import Stop, in_thread

_STUB_RESOLVER = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved(8) lists the servers that its stub on 127.0.0.53 asks."""

_UPDATES = {
    "/usr/bin/apt-get": [
        ["apt-get", "update"],
        [
            *("env", "DEBIAN_FRONTEND=noninteractive"),
            *("apt-get", "-y", "-o", "Dpkg::Options::=--force-confold", "upgrade"),
        ],
        ["apt-get", "clean"],
        ["find", "/var/lib/apt/lists", "-mindepth", "1", "-delete"],
    ],
    "/sbin/apk": [["apk", "upgrade", "--no-cache"]],
    "/usr/bin/dnf": [["dnf", "-y", "--refresh", "upgrade"], ["dnf", "clean", "all"]],
}


async def fetch_auto(target: Path, emit: Emit) -> str:
    """Make the userland of the host's own distribution and release from its package sources.

    With ``mmdebstrap`` all packages are the newest that the sources have.

    Returns:
        The image's name, such as ``Debian-12``.

    Raises:
        HostUnavailable: the distribution is not supported, a tool is missing, or it failed.
    """
    packages = await bootstrap.read_host()
    release = packages.release
    text = f"making {release.name} ({release.codename}, {packages.architecture}) from the host's sources\n"
    await emit(OutputWritten(text.encode()))
    try:
        await bootstrap.bootstrap(packages, target, emit)
    except OSError as error:
        raise oserrors.explain(error, f"base image '{release.name}' cannot be made") from error
    return release.name


async def fetch(target: Path, url: str, emit: Emit) -> None:
    """Extract the tar archive of a root file system, local or remote, into ``target``.

    Args:
        url: ``file://``, ``http://``, ``https://``, or an absolute path of the host.

    Raises:
        InvalidInput: not a URL, or not an archive that can be trusted.
        NotFound: nothing is there.
        HostUnavailable: the server cannot be reached, the transfer broke off, no space is left.
    """
    progress = _Progress()

    def work(stop: Stop) -> archive.Extracted:
        with open_url(url, stop.check) as remote:
            progress.begin(remote)
            return archive.extract(
                remote.stream, target, remote.name, lambda count: progress.add(count, stop)
            )

    async def report() -> None:
        if (event := progress.event()) is not None:
            await emit(event)

    extracted = await in_thread(work, watch=report)
    text = f"extracted {extracted.entries} entries, {extracted.size} bytes"
    if extracted.devices:
        text += f"; left out {extracted.devices} device nodes, which the runtime makes"
    await emit(OutputWritten(f"{text}\n".encode()))


class _Progress:
    """How far a fetch is: written by its thread, read by the event loop."""

    def __init__(self) -> None:
        self._done = 0
        self._total: int | None = None
        self._shown = 0

    def begin(self, remote: Remote) -> None:
        self._total = remote.total

    def add(self, count: int, stop: Stop) -> None:
        stop.check()
        self._done += count

    def event(self) -> ProgressMade | None:
        """What to report, if there is something new."""
        done = self._done
        if done == self._shown:
            return None
        self._shown = done
        return ProgressMade("fetch", done, self._total)


async def copy_host_files(target: Path, *, dns: bool, localtime: bool) -> None:
    """Give the image the host's name servers and time zone, as far as the host has them.

    Raises:
        HostUnavailable: they cannot be written.
    """
    files = {}
    if dns:
        files["/etc/resolv.conf"] = _resolv_conf()
    if localtime:
        files["/etc/localtime"] = _read(Path("/etc/localtime"))
    for path, data in files.items():
        if data:
            try:
                inroot.make_dirs(target, "/etc")
                inroot.write_file(target, path, data)
            except OSError as error:
                raise oserrors.explain(error, f"'{path}' cannot be written") from error


def update_commands(root: Path) -> list[list[str]] | None:
    """Commands that bring an image's packages up to date, to be run in a container of it one after the other.

    ``None`` if it has no package manager that is known. An image of :func:`fetch_auto` is up to date already.
    """
    for program, commands in _UPDATES.items():
        if inroot.exists(root, program):
            return commands
    return None


def _resolv_conf() -> bytes:
    """The host's; where it lists only its own stub, the servers behind that, which containers can reach."""
    data = _read(Path("/etc/resolv.conf"))
    servers = re.findall(rb"^nameserver\s+(\S+)", data, re.MULTILINE)
    if servers and all(server.startswith(b"127.") for server in servers):
        return _read(_STUB_RESOLVER) or data
    return data


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
