"""Secrets and configs: what containers are given in memory, and what nobody else ever sees."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, mounts_below

pytestmark = pytest.mark.slow

RUN = Path("/run/kleene")


@pytest.fixture
def clean(daemon: Daemon) -> Iterator[None]:
    yield
    for kind in ("c", "v"):
        for name in daemon.klee(f"ls{kind}", *(["-a"] if kind == "c" else []), "-q").stdout.split():
            daemon.klee(f"rm{kind}", *(["-f"] if kind == "c" else []), name)
    for kind in ("secret", "config"):
        for name in daemon.klee(kind, "ls", "-q").stdout.split():
            daemon.klee(kind, "rm", name)


def files_in_memory(daemon: Daemon) -> list[Path]:
    return mounts_below(RUN / daemon.marks[1])


@pytest.mark.usefixtures("clean")
def test_what_a_container_is_given(daemon: Daemon, tmp_path: Path) -> None:
    value = secrets.token_hex(16)
    daemon.klee("secret", "create", "--label", "team=db", "password", stdin=value)
    (tmp_path / "conf").write_text("a = 1\n")
    daemon.klee("config", "create", "app.conf", tmp_path / "conf")
    given = (
        *("--secret", "password"),
        *("--secret", "password:/etc/deep/pw:0440"),
        *("--secret", "source=password,target=/pw,mode=0600,uid=7,gid=8"),
        *("--config", "app.conf"),
        *("--config", "app.conf:/etc/app.conf"),
    )
    daemon.klee("run", "-d", "--name", "web", *given, "tiny", "sleep", "600")
    look = "stat -c '%n %u %g %a' /run/secrets/password /etc/deep/pw /pw /app.conf"
    listing = daemon.klee("exec", "-q", "web", "sh", "-c", look).stdout.splitlines()
    assert listing == [
        "/run/secrets/password 0 0 400",
        "/etc/deep/pw 0 0 440",
        "/pw 7 8 600",
        "/app.conf 0 0 444",
    ]
    read = "cat /run/secrets/password /etc/deep/pw /pw; cat /app.conf /etc/app.conf"
    assert daemon.klee("exec", "-q", "web", "sh", "-c", read).stdout == value * 3 + "a = 1\n" * 2
    kinds = daemon.klee("exec", "-q", "web", "grep", " /run/secrets/password ", "/proc/mounts")
    assert " tmpfs ro," in kinds.stdout
    for write in ("echo x > /run/secrets/password", "echo x > /app.conf"):
        refused = daemon.klee("exec", "web", "sh", "-c", write, check=False)
        assert "Read-only file system" in refused.stdout + refused.stderr

    # Nobody else is told.
    shown = [
        daemon.klee(*words).stdout
        for words in (
            ("secret", "ls"),
            ("secret", "ls", "--format", "json"),
            ("secret", "inspect", "password"),
            ("isc", "web"),
            ("lsc", "--format", "json"),
        )
    ]
    assert json.loads(shown[2]) == json.loads(shown[2]) | {
        "name": "password",
        "labels": {"team": "db"},
        "containers": ["web"],
    }
    assert not any(value in text for text in (*shown, daemon.log))

    # In use; the daemon's death changes nothing; a stop takes it out of memory, a start brings it back.
    for kind, name in (("secret", "password"), ("config", "app.conf")):
        used = daemon.klee(kind, "rm", name, check=False)
        assert f"{kind} '{name}' is used by container 'web'" in used.stderr
    daemon.restart()
    assert daemon.klee("exec", "-q", "web", "cat", "/pw").stdout == value
    assert len(files_in_memory(daemon)) == 1
    daemon.klee("stop", "web")
    assert files_in_memory(daemon) == []
    daemon.klee("start", "-d", "web")
    assert daemon.klee("exec", "-q", "web", "cat", "/pw").stdout == value
    daemon.klee("stop", "web")
    daemon.klee("container", "update", "--secret", "password:/other", "web")
    daemon.klee("start", "-d", "web")
    assert daemon.klee("exec", "-q", "web", "cat", "/other").stdout == value
    assert daemon.klee("exec", "-q", "web", "cat", "/pw").stdout == ""


@pytest.mark.usefixtures("clean")
def test_the_containers_user_can_read_its_secrets(daemon: Daemon) -> None:
    daemon.klee("secret", "create", "key", stdin="for you")
    read = ("run", "-q", "--rm", "--secret", "key", "-u", "1000:2000", "tiny")
    assert daemon.klee(*read, "cat", "/run/secrets/key").stdout == "for you"
    owner = daemon.klee(*read, "stat", "-c", "%u %g %a", "/run/secrets/key").stdout
    assert owner == "1000 2000 400\n"


@pytest.mark.usefixtures("clean")
def test_bad_input(daemon: Daemon, tmp_path: Path) -> None:
    daemon.klee("secret", "create", "key", stdin="x")
    (tmp_path / "big").write_bytes(b"x" * 600_000)
    for words, said in (
        (("secret", "create", "key"), "secret 'key' exists already"),
        (("secret", "create", "a/b"), "secret name 'a/b' is not valid"),
        (("secret", "create", "big", tmp_path / "big"), "has more than 512 KiB"),
        (("secret", "create", "x", tmp_path / "none"), "cannot be read: no such file"),
        (("secret", "inspect", "none"), "no such secret: 'none'"),
        (("config", "rm", "none"), "no such config: 'none'"),
        (("run", "--secret", "none", "tiny", "true"), "no such secret: 'none'"),
        (("run", "--secret", "key:rel", "tiny", "true"), "'rel' is not an absolute path"),
        (("run", "--secret", "key:/x:9", "tiny", "true"), "mode '9'"),
        (("run", "--secret", "key", "--secret", "key", "tiny", "true"), "the place of two"),
    ):
        done = daemon.klee(*words, check=False)
        assert (done.status, said in done.stderr) in ((1, True), (2, True)), done.stderr
    assert daemon.klee("lsc", "-aq").stdout == ""


def test_nothing_of_a_secret_reaches_the_disk(new_daemon: Callable[..., Daemon]) -> None:
    daemon = new_daemon(pool_size="1G")
    value = "Zq" + secrets.token_hex(24)
    daemon.klee("secret", "create", "password", stdin=value)
    key = daemon.root / "secrets.key"
    assert (key.stat().st_mode & 0o7777, key.stat().st_uid, key.stat().st_size) == (0o600, 0, 32)
    given = ("--secret", "password", "--secret", "password:/deep/place")
    # Nor does it leave the memory by what a container reads: only that may write it down.
    read = "cat /run/secrets/password /deep/place > /dev/null; sleep 600"
    daemon.klee("run", "-d", "--name", "web", *given, "tiny", "sh", "-c", read)
    daemon.kill()  # as in a crash: nothing is tidied up
    os.sync()
    assert not found_in(daemon.root, value.encode())
    assert not found_in(daemon.root, key.read_bytes(), but=key)
    daemon.start()

    # A key that others can read, or that is another one, is refused, and the error tells no more than that.
    daemon.klee("stop", "web")
    key.chmod(0o644)
    refused = daemon.klee("start", "web", check=False)
    assert "is not root's alone (mode 0644)" in refused.stderr
    assert "chmod 600" in refused.stderr
    key.chmod(0o600)
    kept = key.read_bytes()
    key.write_bytes(os.urandom(32))
    wrong = daemon.klee("start", "web", check=False)
    assert "secret 'password' cannot be decrypted with the key" in wrong.stderr
    key.unlink()
    gone = daemon.klee("secret", "create", "more", check=False, stdin="x")
    assert "cannot be read: no such file" in gone.stderr
    key.write_bytes(kept)
    key.chmod(0o600)
    daemon.klee("start", "-d", "web")
    assert daemon.klee("exec", "-q", "web", "cat", "/deep/place").stdout == value
    assert value not in daemon.log


def found_in(root: Path, data: bytes, but: Path | None = None) -> list[Path]:
    """The files below a data directory with ``data`` in them: the database, the pool's raw image."""
    files = [path for path in root.iterdir() if path.is_file() and path != but]
    files += [path for path in (root / "runtime").rglob("*") if path.is_file()]
    assert any(path.suffix == ".btrfs" for path in files)
    return [path for path in files if holds(path, data)]


def holds(path: Path, data: bytes) -> bool:
    """Whether a file has ``data`` in it; holes are passed over."""
    with path.open("rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return False
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            tail = b""
            while at < end and (piece := os.pread(file.fileno(), min(1 << 24, end - at), at)):
                if data in tail + piece:
                    return True
                tail, at = piece[-len(data) :], at + len(piece)
    return False
