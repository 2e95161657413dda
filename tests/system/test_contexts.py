"""Contexts that are no directory of the daemon's host: uploaded, piped, fetched. A daemon on TCP."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import randrange
from typing import Any

import pytest

from kleene.client.operations import JsonClient
from kleene.contexts.manifest import encode
from tests.support import baseline
from tests.support.daemon import Daemon, Result, wait_until
from tests.support.gitserver import Repository, served
from tests.system.conftest import add_tiny

pytestmark = pytest.mark.slow

SEE = "RUN find /c -mindepth 1 | sort | while read f; do echo \"saw $(stat -c '%n %a' $f)\"; done\n"


class TcpDaemon(Daemon):
    """A daemon that also listens on the loopback; contexts of at most 64 MiB."""

    def config(self) -> str:
        while not self.port:
            # Not one that the kernel gives to connections: somebody's may have it before the daemon does.
            with contextlib.suppress(OSError):
                port = randrange(20_000, 32_000)
                socket.create_server(("127.0.0.1", port)).close()
                self.port = port
        return super().config() + "context_max_size: 64M\n"

    @property
    def tcp(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def daemon(host: None, tiny_archive: Path) -> Iterator[TcpDaemon]:
    daemon = TcpDaemon()
    with baseline.shared(*daemon.marks):
        try:
            daemon.start()
            add_tiny(daemon, tiny_archive)
            yield daemon
        finally:
            daemon.destroy()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def remote(daemon: TcpDaemon, tmp_path: Path) -> Callable[..., Result]:
    """Runs ``klee`` as on another machine, with a cache of its own."""

    def klee(*arguments: str | Path, check: bool = True, stdin: bytes = b"") -> Result:
        done = subprocess.run(
            [*daemon.command()[:1], "--host", daemon.tcp, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert not check or done.returncode == 0, f"{out}{err}\n{daemon.log[-3000:]}"
        return Result(done.returncode, out, err)

    return klee


def saw(built: Result) -> list[str]:
    return [line[4:] for line in built.stdout.splitlines() if line.startswith("saw ")]


def received(daemon: Daemon) -> set[str]:
    """Digests of the contents that the daemon has."""
    return {path.name for path in (daemon.root / "contexts/blobs").glob("*/*")}


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# --- Uploads


def test_a_directory_is_uploaded_and_then_only_what_changed(
    daemon: TcpDaemon, context: Path, remote: Callable[..., Result]
) -> None:
    (context / "Dockerfile").write_text(f"FROM tiny\nCOPY . /c\n{SEE}")
    (context / ".dockerignore").write_text("*.log\nDockerfile\ndeep\n!deep/kept\n")
    (context / "program").write_bytes(b"run" * 100_000)
    (context / "program").chmod(0o755)
    (context / "noise.log").write_text("noise")
    (context / "deep").mkdir(0o750)
    (context / "deep/kept").write_text("kept")
    (context / "deep/lost").write_text("lost")
    (context / "link").symlink_to("program")
    (context / "empty").mkdir()
    os.utime(context / "program", (1_000_000_000, 1_000_000_000))
    local = daemon.klee("build", "-t", "local", context)
    expected = [
        "/c/.dockerignore 644",
        "/c/deep 750",
        "/c/deep/kept 644",
        "/c/empty 755",
        "/c/link 777",
        "/c/program 755",
    ]
    assert saw(local) == expected

    before = received(daemon)
    built = remote("build", "--explain", "-t", "far", context)
    # What is alike has the same key, wherever it comes from.
    assert built.stdout.count("cached snapshot") == 2, built.stdout
    sent = received(daemon) - before
    assert len(sent) == 4  # the Dockerfile, the rules, 'program', 'deep/kept'
    assert daemon.klee("run", "-q", "--rm", "far", "stat", "-c", "%Y", "/c/program").stdout == (
        "1000000000\n"
    )

    (context / "deep/kept").write_text("changed")
    assert "not cached: the files changed" in remote("build", "--explain", context).stdout
    assert len(received(daemon) - before - sent) == 1
    count = len(received(daemon))
    assert remote("build", context).stdout.count("cached snapshot") == 2
    assert len(received(daemon)) == count


def test_uploaded_contexts_are_counted_and_pruned(
    daemon: TcpDaemon, context: Path, remote: Callable[..., Result]
) -> None:
    (context / "Dockerfile").write_text("FROM tiny\nCOPY data /c\n")
    (context / "data").write_bytes(os.urandom(300_000))
    remote("build", context)
    store = daemon.root / "contexts"

    def kept() -> dict[str, Any]:
        kinds = json.loads(daemon.klee("df", "--format", "json").stdout)["kinds"]
        found: dict[str, Any] = next(kind for kind in kinds if kind["kind"] == "build contexts")
        return found

    def on_disk() -> int:
        paths = [*store.glob("blobs/*/*"), *store.glob("lists/*"), *store.glob("trees/**/*")]
        return sum(p.lstat().st_blocks * 512 for p in paths)

    assert (
        kept()["own"] == on_disk() > 600_000
    )  # what was sent, and the directory that was made of it
    assert kept()["prunable"] == 0  # the upload may go on
    for path in store.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    assert kept()["prunable"] == kept()["own"]
    shown = daemon.klee("build", "prune", stdin="n\n", check=False).stdout
    assert "context" in shown and "contents" in shown
    plan = JsonClient(f"http://{daemon.socket}").builds.prune_plan(filters=["until=1d"])
    assert plan["bytes"] == on_disk()
    gone = daemon.klee("build", "prune", "-f", "--filter", "until=1d").stdout.split()
    assert {each["id"] for each in plan["objects"]} == set(gone)
    assert on_disk() == 0
    assert kept()["count"] == 0
    assert remote("build", context).stdout.count("cached snapshot") == 1  # it is sent again


def test_limits_hold_without_another_build(daemon: TcpDaemon) -> None:
    """What is too old goes after an upload that no build follows."""
    JsonClient(f"http://{daemon.socket}").contexts.offer(encode("x", 0o755, []))
    old = daemon.root / "contexts/blobs/00" / ("0" * 64)
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    daemon.restart()
    JsonClient(f"http://{daemon.socket}").contexts.offer(encode("y", 0o755, []))
    wait_until(lambda: not old.exists(), "what is too old is kept")


def test_an_upload_goes_on_where_it_broke_off(
    daemon: TcpDaemon, context: Path, remote: Callable[..., Result], tmp_path: Path
) -> None:
    (context / "Dockerfile").write_text("FROM tiny\nCOPY big /c\nRUN md5sum /c\n")
    (context / "big").write_bytes(os.urandom(24 << 20))
    assert daemon.port is not None
    with CutOff(daemon.port, 8 << 20) as proxy:
        done = subprocess.run(
            [*daemon.command()[:1], "--host", f"http://127.0.0.1:{proxy.port}", "build", context],
            capture_output=True,
            timeout=120,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr + daemon.log[-2000:]
    assert proxy.cut
    # Not all of it went twice.
    assert proxy.forwarded < 30 << 20
    expected = subprocess.run(["md5sum", context / "big"], capture_output=True, text=True)
    assert expected.stdout.split()[0] in done.stdout


class CutOff:
    """Stands before a daemon and cuts the connection that has sent so much, once."""

    def __init__(self, port: int, limit: int) -> None:
        self._target = port
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.cut = False
        self.forwarded = 0

    def __enter__(self) -> CutOff:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._start(self._copy, near, far, True)
                self._start(self._copy, far, near, False)

    def _copy(self, source: socket.socket, target: socket.socket, out: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                passed += len(data) if out else 0
                self.forwarded += len(data) if out else 0
                if passed > self._limit and not self.cut:
                    self.cut = True
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_what_cannot_be_uploaded_is_said_on_the_client(
    context: Path, remote: Callable[..., Result], daemon: TcpDaemon
) -> None:
    missing = remote("build", context / "none", check=False)
    assert (missing.status, "does not exist" in missing.stderr) == (1, True)
    (context / "Dockerfil").write_text("FROM tiny\n")
    unnamed = remote("build", context, check=False)
    assert f"'Dockerfile' is not in the build context '{context}'" in unnamed.stderr
    assert "Dockerfil" in unnamed.stderr.partition("hint")[2]
    (context / "Dockerfile").write_text("FROM tiny\nCOPY big /\n")
    with (context / "big").open("wb") as file:
        file.truncate(65 << 20)
    large = remote("build", context, check=False)
    assert "the build context is too large" in large.stderr
    assert "context_max_size" in large.stderr
    (context / "big").unlink()
    (context / "Dockerfile").write_text("FROM tiny\nCOPY leads-out /\n")
    (context / "leads-out").symlink_to("/etc/passwd")
    outside = remote("build", context, check=False)
    assert "'leads-out' leads out of the build context" in outside.stderr


def test_the_user_decides_whether_a_directory_is_sent(
    daemon: TcpDaemon, context: Path, remote: Callable[..., Result]
) -> None:
    (context / "Dockerfile").write_text("FROM tiny\nCOPY file /c\nRUN cat /c\n")
    (context / "file").write_text("unsent-4711")
    before = received(daemon)
    assert "unsent-4711" in remote("build", "--no-upload", context).stdout
    assert received(daemon) == before
    assert "unsent-4711" in daemon.klee("build", "--upload", "--no-cache", context).stdout
    assert len(received(daemon) - before) == 2


# --- Standard input


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "gzip"])
def test_an_archive_on_standard_input(
    remote: Callable[..., Result], compress: Callable[[bytes], bytes]
) -> None:
    files = {"sub/D": f"FROM tiny\nCOPY d /c\n{SEE}".encode(), "d/x": b"x", "d/y/z": b"z"}
    built = remote("build", "--no-cache", "-f", "sub/D", "-", stdin=compress(tar_of(files)))
    assert saw(built) == ["/c/x 644", "/c/y 755", "/c/y/z 644"]


def test_a_dockerfile_on_standard_input(
    daemon: TcpDaemon, context: Path, remote: Callable[..., Result]
) -> None:
    assert "alone" in remote("build", "-", stdin=b"FROM tiny\nRUN echo alone\n").stdout
    (context / "file").write_text("with-context")
    text = b"FROM tiny\nCOPY file /c\nRUN cat /c\n"
    assert "with-context" in remote("build", "-f", "-", context, stdin=text).stdout
    both = remote("build", "-f", "-", "-", stdin=text, check=False)
    assert (both.status, "cannot both be standard input" in both.stderr) == (2, True)
    empty = remote("build", "-", check=False)
    assert "standard input is empty" in empty.stderr
    none = remote("build", "-", stdin=b"FROM tiny\nCOPY file /\n", check=False)
    assert "Dockerfile:2:" in none.stderr
    assert "'file' is not in the build context" in none.stderr
    byte = remote("build", "-", stdin=b"FROM tiny\nRUN \xff\n", check=False)
    assert "Dockerfile:2:5: byte 0xff is not valid UTF-8" in byte.stderr


def test_archives_that_are_refused(remote: Callable[..., Result], daemon: TcpDaemon) -> None:
    good = tar_of({"Dockerfile": b"FROM tiny\nCOPY big /\n", "big": b"x" * 100_000})
    for data, message in (
        (tar_of({"../x": b""}), "cannot be trusted: '../x'"),
        (good[:5000], "truncated or damaged"),
        (gzip.compress(good)[:-30], "truncated or damaged"),
        (bytes(1024), "is empty"),
        (gzip.compress(tar_of({"zero": bytes(65 << 20)})), "too large"),
        (gzip.compress(b"no tar"), "is not a tar archive"),
    ):
        failed = remote("build", "-", stdin=data, check=False)
        assert failed.status == 1
        assert message in failed.stderr, failed.stderr
    assert not list((daemon.root / "contexts/trees").glob("*.tmp"))


# --- From a server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server over ``www`` in the test's directory."""
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if self.path == "/broken.tar":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(tar_of({"Dockerfile": b"x" * 20_000})[:10_000])
            else:
                super().do_GET()

    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_contexts_of_a_server(daemon: TcpDaemon, server: str, tmp_path: Path) -> None:
    files = {"Dockerfile": b"FROM tiny\nCOPY x /c\nRUN cat /c\n", "x": b"from-the-server\n"}
    (tmp_path / "www/c.tar.gz").write_bytes(gzip.compress(tar_of(files)))
    (tmp_path / "www/D").write_bytes(b"FROM tiny\nRUN echo a-file-alone\n")
    (tmp_path / "www/noise").write_bytes(os.urandom(2 << 20))
    assert "from-the-server" in daemon.klee("build", f"{server}/c.tar.gz").stdout
    assert "a-file-alone" in daemon.klee("build", f"{server}/D").stdout
    for path, message in (
        ("none", "does not exist: the server answers 404"),
        ("noise", "is neither a tar archive nor a Dockerfile"),
        ("broken.tar", "bytes are missing"),
    ):
        failed = daemon.klee("build", f"{server}/{path}", check=False)
        assert failed.status == 1
        assert message in failed.stderr, failed.stderr
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    unreachable = daemon.klee("build", f"http://127.0.0.1:{port}/c.tar", check=False)
    assert "cannot be reached: connection refused" in unreachable.stderr


def test_git_repositories(daemon: TcpDaemon, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit(Dockerfile="FROM tiny\nCOPY x /c\nRUN cat /c\n", x="first\n")
    repository.git("tag", "v1")
    repository.commit(x="second\n", sub__Dockerfile="FROM tiny\nRUN echo below\nCOPY . /\n")
    (repository.tree / "out").symlink_to("/etc")
    repository.commit(x="third\n")
    with served(tmp_path, smart=True) as url:
        there = f"{url}/repo.git"
        assert "third" in daemon.klee("build", there).stdout
        assert "first" in daemon.klee("build", f"{there}#v1").stdout
        assert "below" in daemon.klee("build", "--no-cache", f"{there}#main:sub").stdout
        for fragment, message in (
            ("#none", "none"),
            ("#:../sub", "is not a directory of the repository"),
            ("#:out", "out"),
        ):
            failed = daemon.klee("build", f"{there}{fragment}", check=False)
            assert (failed.status, message in failed.stderr) == (1, True), failed.stderr
    trees = daemon.root / "contexts/trees"
    assert not list(trees.glob("*.tmp"))
