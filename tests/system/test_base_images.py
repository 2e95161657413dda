"""``fetch-auto`` for real: the host's own distribution, from the host's own package sources."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from kleene.build.events import Event, OutputWritten
from kleene.engine import base_images, bootstrap
from kleene.errors import HostUnavailable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a system as root"),
]


def mounts_below(path: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(path) in line]


def chroot(root: Path, *command: str) -> str:
    """Run a command in the image; output and errors together."""
    return subprocess.run(
        ["unshare", "--mount", "chroot", root, *command],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        text=True,
    ).stdout


async def test_fetch_auto(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    written = b""

    async def emit(event: Event) -> None:
        nonlocal written
        assert isinstance(event, OutputWritten)
        written += event.data

    name = await base_images.fetch_auto(root, emit)
    await base_images.copy_host_files(root, dns=True, localtime=True)
    release = bootstrap.read_release()
    assert name == release.name
    assert b"Setting up apt" in written
    assert release.codename in chroot(root, "cat", "/etc/os-release")
    assert "is set to manually" not in chroot(root, "dpkg", "--audit")
    assert not mounts_below(tmp_path)
    names = {path.name for path in (root / "etc/apt/sources.list.d").iterdir()}
    assert names == {f"{release.distribution}.sources"}
    updated = chroot(root, "apt-get", "update")
    assert "Err:" not in updated
    assert "W:" not in updated
    assert "Inst" not in chroot(root, "apt-get", "--simulate", "upgrade")
    chroot(root, "apt-get", "install", "-y", "--no-install-recommends", "hello")
    assert "Hello, world!" in chroot(root, "hello")
    assert not list((root / "var/cache/apt/archives").glob("*.deb"))


async def test_cancelling_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    begun = asyncio.Event()

    async def emit(event: Event) -> None:
        if isinstance(event, OutputWritten) and b"apt-get update" in event.data:
            begun.set()

    making = asyncio.create_task(base_images.fetch_auto(root, emit))
    await begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not mounts_below(tmp_path)
    deadline = asyncio.get_running_loop().time() + 10
    while users(root) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert not users(root)


def users(root: Path) -> list[str]:
    """Processes that name ``root`` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(root) in command:
            found.append(command)
    return found


async def test_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def emit(event: Event) -> None:
        pass

    monkeypatch.setattr(bootstrap, "_which", lambda program: False)
    with pytest.raises(HostUnavailable, match="neither 'mmdebstrap' nor 'debootstrap'") as caught:
        await base_images.fetch_auto(tmp_path, emit)
    assert caught.value.hint == "apt-get install mmdebstrap"


async def test_failing_tool_shows_its_output(tmp_path: Path) -> None:
    (tmp_path / "not-empty").write_text("")
    written = b""

    async def emit(event: Event) -> None:
        nonlocal written
        assert isinstance(event, OutputWritten)
        written += event.data

    with pytest.raises(HostUnavailable, match="failed with exit status") as caught:
        await base_images.fetch_auto(tmp_path, emit)
    assert b"not empty" in written
    assert "not empty" in (caught.value.details or "")
