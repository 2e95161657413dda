"""``kill -9`` in the middle of everything at once: what was acknowledged is there, and all of it is whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, unused_network, wait_until
from tests.support.rootfs import write_tar

pytestmark = pytest.mark.slow

DOCKERFILE = """\
FROM tiny AS one
RUN --mount=type=cache,target=/cache echo 1 > /cache/x && sleep 0.1 && echo one > /one
FROM tiny AS two
RUN --mount=type=tmpfs,target=/t sleep 0.1 && echo two > /two
FROM tiny
COPY --from=one /one /
COPY --from=two /two /
RUN --mount=type=bind,from=one,target=/from cat /from/one > /three
"""


@dataclass(frozen=True)
class Work:
    """A command, and where what it makes is listed: a table, a column and its value there."""

    command: tuple[str | Path, ...]
    table: str = ""
    column: str = "name"
    value: str = ""
    stdin: Path | None = None
    gone: bool = False


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context, and two archives."""
    home = tmp_path_factory.mktemp("files")
    (home / "Dockerfile").write_text(DOCKERFILE)
    content = {f"data/{number}": bytes(64 * 1024) for number in range(60)}
    write_tar(home / "base.tar", content)
    write_tar(home / "volume.tar", content)
    return home


def works(files: Path, subnets: str, n: int) -> list[Work]:
    """All that is done at once, the ``n``-th time."""
    fetch = ("image", "create", "-t", f"base:{n}", "fetch", f"file://{files}/base.tar")
    return [
        Work(
            ("network", "create", "--subnet", f"{subnets}.{n * 16}/28", f"net{n}"),
            *("networks", "name", f"net{n}"),
        ),
        Work(fetch, "images", "tag", f"{n}"),
        Work(("build", "--no-cache", "-t", f"built:b{n}", files), "images", "tag", f"b{n}"),
        Work(("commit", "box", f"box:c{n}"), "images", "tag", f"c{n}"),
        Work(("volume", "create", "--quota", "64M", f"new{n}"), "volumes", "name", f"new{n}"),
        Work(
            ("volume", "import", f"filled{n}"),
            *("volumes", "name", f"filled{n}", files / "volume.tar"),
        ),
        Work(("volume", "snapshot", "data", f"s{n}"), "volume_snapshots", "name", f"s{n}"),
        Work(("volume", "restore", "old", "first")),
        Work(("volume", "clone", "old", f"clone{n}"), "volumes", "name", f"clone{n}"),
        Work(
            ("secret", "create", f"secret{n}", files / "Dockerfile"),
            "secrets",
            "name",
            f"secret{n}",
        ),
        Work(
            ("config", "create", f"config{n}", files / "Dockerfile"),
            "configs",
            "name",
            f"config{n}",
        ),
        Work(("create", "--name", f"made{n}", "tiny"), "containers", "name", f"made{n}"),
        Work(("rmc", "-f", f"up{n}"), "containers", "name", f"up{n}", gone=True),
        Work(("rmv", f"spare{n}"), "volumes", "name", f"spare{n}", gone=True),
        Work(("image", "rm", f"spare:spare{n}"), "images", "tag", f"spare{n}", gone=True),
    ]


def prepare(daemon: Daemon, n: int) -> None:
    """What the ``n``-th time takes away."""
    daemon.klee("run", "-d", "--name", f"up{n}", "-m", "data:/d", "tiny", "sleep", "600")
    daemon.klee("volume", "create", f"spare{n}")
    daemon.klee("commit", "box", f"spare:spare{n}")


def assert_whole(daemon: Daemon) -> None:
    """All that is on disk is in the metadata and the other way round, and nothing is on its way."""
    for table in ("images", "containers", "volumes", "volume_snapshots", "build_caches"):
        odd = daemon.rows(f"SELECT state FROM {table}") - {"ready", "removed"}
        assert not odd, (table, odd)
    on_disk = set(daemon.datasets())
    images = {name for name in on_disk if name.startswith("image/")}
    snapshots = daemon.rows("SELECT 'image/' || image_id || '@' || id FROM snapshots")
    assert snapshots == {name for name in images if "@" in name}
    assert images - snapshots <= daemon.rows("SELECT 'image/' || id FROM images")
    others = daemon.rows("SELECT dataset FROM containers UNION SELECT dataset FROM volumes")
    others |= daemon.rows("SELECT 'cache/' || id FROM build_caches")
    kept = daemon.rows("SELECT dataset || '@' || id FROM volume_snapshots")
    kept |= daemon.rows("SELECT dataset FROM volume_snapshots")
    assert others | kept == on_disk - images
    assert "is not in the metadata" not in daemon.log
    assert "Traceback" not in daemon.log


def test_everything_at_once(new_daemon: Callable[..., Daemon], files: Path) -> None:
    daemon = new_daemon()
    subnets = unused_network()
    for name in ("data", "old"):
        daemon.klee("volume", "create", name)
    daemon.klee("volume", "snapshot", "old", "first")
    daemon.klee("run", "-d", "--name", "box", "-m", "data:/d", "tiny", "sleep", "600")
    for n, enough in enumerate((2, 6, 10, 13)):
        prepare(daemon, n)
        running = [(work, start(daemon, work)) for work in works(files, subnets, n)]
        wait_until(partial(ended, running, enough), "nothing is done")
        daemon.kill()
        done = [work for work, client in running if not client.wait(30)]
        daemon.start()
        assert_whole(daemon)
        for work in done:
            if work.table:
                found = daemon.rows(f"SELECT {work.column} FROM {work.table}")
                assert (work.value in found) != work.gone, work
        assert "box" in daemon.klee("lsc").stdout
    for work in works(files, subnets, 7):
        if not work.gone and not work.stdin:
            daemon.klee(*work.command)
    assert_whole(daemon)


def start(daemon: Daemon, work: Work) -> subprocess.Popen[bytes]:
    """Start a command."""
    with (work.stdin or Path("/dev/null")).open("rb") as stdin:
        return subprocess.Popen(
            daemon.command(*work.command),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def ended(running: list[tuple[Work, subprocess.Popen[bytes]]], enough: int) -> bool:
    """Whether as many commands as are ``enough`` have ended."""
    return sum(client.poll() is not None for _, client in running) >= enough
