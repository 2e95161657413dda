"""Fetching base archives: from files and servers, with progress, and with errors that say what to do."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.build.events import Event, OutputWritten, ProgressMade
from kleene.engine import base_images, download
from kleene.errors import HostUnavailable, InvalidInput, KleeneError, NotFound

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sets owners")


def make_archive(size: int = 3_000_000) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("etc/os-release", b"ID=test\n"), ("data", os.urandom(size))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        device = tarfile.TarInfo("dev/null")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    return gzip.compress(buffer.getvalue(), 1)


ARCHIVE = make_archive()


class Handler(http.server.BaseHTTPRequestHandler):
    """A server of one archive, in several states of health."""

    stalled = threading.Event()
    released = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.answer(302, b"", Location="/base.tar.gz")
        elif self.path == "/moved-to-file":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif self.path == "/base.tar.gz":
            self.answer(200, ARCHIVE)
        elif self.path == "/short":
            self.answer(200, ARCHIVE[:100_000], **{"Content-Length": str(len(ARCHIVE))})
        elif self.path == "/page":
            self.answer(200, b"<html>Not an archive</html>")
        elif self.path == "/stalls":
            self.answer(200, ARCHIVE[:100_000], **{"Content-Length": str(len(ARCHIVE))})
            self.wfile.flush()
            self.stalled.set()
            self.released.wait(20)
        else:
            self.answer(404 if self.path == "/none" else 503, b"")

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        Handler.released.set()
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


async def fetch(target: Path, url: str) -> list[Event]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    await base_images.fetch(target, url, emit)
    return events


@pytest.mark.parametrize("path", ["/base.tar.gz", "/moved"])
async def test_from_a_server(server: str, target: Path, path: str) -> None:
    events = await fetch(target, server + path)
    assert (target / "etc/os-release").read_bytes() == b"ID=test\n"
    assert ProgressMade("fetch", len(ARCHIVE), len(ARCHIVE)) in events
    assert events[-1] == OutputWritten(
        b"extracted 3 entries, 3000008 bytes; left out 1 device nodes, which the runtime makes\n"
    )


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "{}"])
async def test_from_a_file(tmp_path: Path, target: Path, form: str) -> None:
    archive = tmp_path / "base image"
    archive.write_bytes(ARCHIVE)
    url = form.format(archive).replace(" ", "%20" if form != "{}" else " ")
    events = await fetch(target, url)
    assert (target / "data").stat().st_size == 3_000_000
    assert ProgressMade("fetch", len(ARCHIVE), len(ARCHIVE)) in events


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("{server}/none", NotFound, "does not exist: the server answers 404"),
        ("{server}/ill", HostUnavailable, "the server answers 503"),
        ("{server}/short", HostUnavailable, "broke off: .* bytes are missing"),
        ("{server}/page", InvalidInput, "is not a tar archive"),
        ("{server}/moved-to-file", HostUnavailable, "cannot be fetched|cannot be reached"),
        ("{server}/a b\n", KleeneError, "."),
        ("http://user:secret@127.0.0.1:1/x", KleeneError, "'http://127.0.0.1:1/x' "),
        ("http://name.invalid/base.tar", HostUnavailable, "cannot be reached"),
        ("ftp://host/base.tar", InvalidInput, "not a URL that can be fetched"),
        ("base.tar", InvalidInput, "not a URL that can be fetched"),
        ("file://otherhost/base.tar", InvalidInput, "not a URL that can be fetched"),
        ("file:///no/such/file", NotFound, "archive '/no/such/file' does not exist"),
        ("file:///etc", InvalidInput, "archive '/etc' is not a regular file"),
        ("file:///%00", InvalidInput, "null byte"),
        ("http://[::1/x", InvalidInput, "not a URL that can be fetched"),
        ("http://127.0.0.1:port/", InvalidInput, "not a URL that can be fetched"),
    ],
)
async def test_errors(
    server: str, target: Path, url: str, kind: type[KleeneError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        await fetch(target, url.format(server=server))
    assert "secret" not in caught.value.message


async def test_refused_connection(target: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/x"
        with pytest.raises(HostUnavailable, match="cannot be reached: connection refused"):
            await fetch(target, url)


async def test_named_pipe_does_not_block(tmp_path: Path, target: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a regular file"):
        await fetch(target, f"file://{tmp_path}/pipe")


async def test_server_that_says_nothing_is_given_up(
    server: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    Handler.released.clear()
    with pytest.raises(HostUnavailable, match="broke off: timed out"):
        await fetch(target, f"{server}/stalls")


async def test_cancelled_fetch_stops_whatever_the_server_does(server: str, target: Path) -> None:
    Handler.stalled.clear()
    Handler.released.clear()
    fetching = asyncio.create_task(fetch(target, f"{server}/stalls"))
    await asyncio.to_thread(Handler.stalled.wait)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(download.TIMEOUT / 2):
            await fetching


async def test_host_files(target: Path) -> None:
    (target / "etc").symlink_to("/private")
    await base_images.copy_host_files(target, dns=True, localtime=False)
    assert b"nameserver" in (target / "private/resolv.conf").read_bytes()
    assert not (target / "private/localtime").exists()


def test_stub_resolver_is_replaced_by_what_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {
        "/etc/resolv.conf": b"nameserver 127.0.0.53\n",
        str(base_images._STUB_RESOLVER): b"nameserver 192.0.2.1\n",
    }
    monkeypatch.setattr(base_images, "_read", lambda path: contents.get(str(path), b""))
    assert base_images._resolv_conf() == b"nameserver 192.0.2.1\n"


@pytest.mark.parametrize("program", ["usr/bin/apt-get", "sbin/apk", "usr/bin/dnf"])
def test_update_commands(target: Path, program: str) -> None:
    assert base_images.update_commands(target) is None
    (target / program).parent.mkdir(parents=True)
    (target / program).write_text("")
    commands = base_images.update_commands(target)
    assert commands
    assert all(isinstance(word, str) for command in commands for word in command)
