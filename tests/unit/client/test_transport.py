"""Requests over unix sockets and TLS, and what is said when they fail."""

from __future__ import annotations

import grp
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kleene.client.api import Client
from kleene.client.failures import DaemonFault, DaemonUnreachable
from kleene.client.operations import JsonClient
from kleene.client.transport import Tls
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.schemas.containers import ContainerConfig
from tests.unit.client.scripted import Asked, ScriptedDaemon

IMAGE = {
    "id": "0123456789ab",
    "name": "web",
    "tag": "latest",
    "dataset": "image/0123456789ab",
    "created": "2024-01-01T00:00:00Z",
    "cmd": [],
    "env": [],
    "user": "",
    "instructions": [["FROM x", ""]],
}


def test_requests_share_a_connection(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, JsonClient(daemon.host) as client:
        daemon.answer("GET", "/images/list", [IMAGE])
        daemon.answer("DELETE", "/images/lib%2Fweb:1", {"id": "0123456789ab"})
        daemon.answer("POST", "/networks/connect", b"", status=204)
        assert client.images.list() == [IMAGE]
        assert client.images.remove("lib/web:1") == "0123456789ab"
        client.networks.connect({"network": "n", "container": "c"})
        assert daemon.connections == 1
        assert daemon.requests[-1].body == {"network": "n", "container": "c"}


def test_connection_that_the_daemon_ended_is_replaced(tmp_path: Path) -> None:
    with JsonClient(f"http://{tmp_path}/s") as client:
        with ScriptedDaemon(tmp_path / "s") as daemon:
            daemon.answer("GET", "/images/list", [])
            client.images.list()
        (tmp_path / "s").unlink()
        with ScriptedDaemon(tmp_path / "s") as daemon:
            daemon.answer("GET", "/images/list", [IMAGE])
            assert client.images.list() == [IMAGE]


def test_typed_client_gives_and_takes_wire_types(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, Client(daemon.host) as client:
        daemon.answer("GET", "/images/web/inspect", IMAGE)
        daemon.answer("POST", "/containers/create", {"id": "c" * 12}, status=201)
        image = client.images.inspect("web")
        assert (image.name, image.instructions) == ("web", [["FROM x", ""]])
        assert client.containers.create(ContainerConfig(image="web", persist=True)) == "c" * 12
        assert daemon.requests[-1].body["persist"] is True


def test_typed_client_tells_of_an_answer_of_another_shape(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, Client(daemon.host) as client:
        daemon.answer("GET", "/images/list", [{"id": 7}])
        with pytest.raises(DaemonFault, match="another shape"):
            client.images.list()


def test_work_is_done_between_request_and_answer(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, JsonClient(daemon.host) as client:
        daemon.answer("POST", "/containers/create", {"id": "c" * 12}, status=201)
        done: list[int] = []
        client.containers.create({"image": "x"}, meanwhile=lambda: done.append(1))
        assert done == [1]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(304, Conflict), (400, InvalidInput), (404, NotFound), (409, Conflict), (500, DaemonFault)],
)
def test_status_decides_the_error(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    answer = {"message": "no", "hint": "do", "details": "more"}
    with ScriptedDaemon(tmp_path / "s") as daemon, JsonClient(daemon.host) as client:
        daemon.answer("POST", "/containers/x/stop", answer, status=status)
        with pytest.raises(kind) as failed:
            client.containers.stop("x")
    if status != 304:
        assert vars(failed.value) == answer


def test_error_id_leads_to_the_log(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, JsonClient(daemon.host) as client:
        daemon.answer("GET", "/info", {"message": "a bug", "error_id": "abc123"}, status=500)
        with pytest.raises(DaemonFault) as failed:
            client.info()
    assert "abc123" in (failed.value.hint or "")


@pytest.mark.parametrize("status", [200, 404])
def test_answer_that_is_not_json(tmp_path: Path, status: int) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon, JsonClient(daemon.host) as client:
        daemon.answer("GET", "/images/list", b"<html>", status=status)
        with pytest.raises(DaemonFault, match="not a Kleene daemon"):
            client.images.list()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as failed:
        JsonClient(f"http://{tmp_path}/none").info()
    assert f"'{tmp_path}/none'" in failed.value.message
    assert "kleened" in (failed.value.hint or "")


def test_socket_of_a_dead_daemon(tmp_path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "s"))
    with pytest.raises(DaemonUnreachable, match="no daemon listens"):
        JsonClient(f"http://{tmp_path}/s").info()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which takes root")
def test_no_permission_names_the_group_to_join() -> None:
    directory = tempfile.mkdtemp()  # below a path that everyone may enter, unlike tmp_path
    try:
        Path(directory).chmod(0o755)
        with ScriptedDaemon(Path(directory) / "s") as daemon:
            os.chown(f"{directory}/s", 0, grp.getgrnam("daemon").gr_gid)
            Path(directory, "s").chmod(0o660)
            script = (
                "import grp, os, sys, kleene.cli.listing, kleene.client.operations\n"
                "from kleene.cli.main import run\n"
                "os.setgroups([]); os.setuid(65534)\n"
                "sys.exit(run(sys.argv[1:]))"
            )
            done = subprocess.run(
                [sys.executable, "-c", script, "--host", daemon.host, "lsc"],
                capture_output=True,
                text=True,
            )
        assert done.returncode == 1
        assert f"no permission to use the socket '{directory}/s'" in done.stderr
        assert "group 'daemon'" in done.stderr
        assert "sudo" in done.stderr
    finally:
        Path(directory, "s").unlink(missing_ok=True)
        Path(directory).rmdir()


def test_daemon_that_hangs_up(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    thread = threading.Thread(target=lambda: listener.accept()[0].close())
    thread.start()
    with pytest.raises(DaemonUnreachable, match="closed the connection"):
        JsonClient(f"http://{tmp_path}/s").info()
    thread.join()
    listener.close()


def test_daemon_that_does_not_answer(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with pytest.raises(DaemonUnreachable, match="in time"):
        JsonClient(f"http://{tmp_path}/s", timeout=0.05).info()
    listener.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", b""])
def test_who_answers_early_and_reads_no_more_is_heeded(tmp_path: Path, answer: bytes) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    done = threading.Event()
    full = threading.Event()

    def refuse() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            full.wait(5)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            done.wait(30)

    def endless() -> Iterator[bytes]:
        while True:
            threading.Timer(0.1, full.set).start()  # the socket takes no more by then
            yield bytes(1 << 20)

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(Conflict if answer else DaemonUnreachable):
        JsonClient(f"http://{tmp_path}/s").contexts.send_archive("a" * 32, endless())
    done.set()
    thread.join()
    listener.close()


def test_something_else_answers(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def greet() -> None:
        with listener.accept()[0] as connection:
            connection.sendall(b"220 mail ready\r\n\r\n")
            connection.recv(65536)

    thread = threading.Thread(target=greet)
    thread.start()
    with pytest.raises(DaemonFault, match="not a Kleene daemon"):
        JsonClient(f"http://{tmp_path}/s").info()
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost``, signed by itself, and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            f" -keyout {path}.key -out {path}.crt"
        ).split(),
        check=True,
        capture_output=True,
    )
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path


def _server_side(certificate: Path, *, ask_client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_certificates_on_both_sides(tmp_path: Path, certificate: Path) -> None:
    pem = str(certificate)
    with ScriptedDaemon(tmp_path, _server_side(certificate, ask_client=True)) as daemon:
        daemon.answer("GET", "/images/list", [IMAGE])
        client = JsonClient(daemon.host, tls=Tls(cacert=pem, cert=pem))
        assert client.images.list() == [IMAGE]
        assert daemon.requests == [Asked("GET", "/images/list", None)]
        client.close()


def test_unknown_authority_is_refused_unless_told_otherwise(
    tmp_path: Path, certificate: Path
) -> None:
    with ScriptedDaemon(tmp_path, _server_side(certificate)) as daemon:
        daemon.answer("GET", "/images/list", [])
        with pytest.raises(DaemonUnreachable, match="is not trusted") as failed:
            JsonClient(daemon.host).images.list()
        assert "--tlscacert" in (failed.value.hint or "")
        with JsonClient(daemon.host, tls=Tls(verify=False)) as client:
            assert client.images.list() == []


def test_tls_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot load the TLS files"):
        JsonClient("https:///s", tls=Tls(cacert=str(tmp_path / "none"))).info()
    with pytest.raises(InvalidInput, match="--tlskey needs --tlscert"):
        JsonClient("https:///s", tls=Tls(key="k")).info()


def test_plain_server_where_tls_is_expected(tmp_path: Path) -> None:
    with ScriptedDaemon(tmp_path / "s") as daemon:
        host = daemon.host.replace("http:", "https:")
        with pytest.raises(DaemonUnreachable, match="TLS"):
            JsonClient(host, tls=Tls(verify=False)).info()
