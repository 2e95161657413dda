"""The daemon as a service: it tells its manager how it goes, and takes over its configuration on SIGHUP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certify
from tests.support.daemon import BIN, Daemon, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield bound


class Noisy:
    """A container that writes numbers: 2000 at once, then without end when it is told to."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told = daemon.home / "told"
        self._told.mkdir()
        script = (
            "i=0; while [ ! -e /told/end ]; do i=$((i+1)); echo $i;"
            "[ $i != 2000 ] || while [ ! -e /told/go ]; do sleep 0.05; done; done; sleep 600"
        )
        run = ["run", "-d", "--name", "noisy", "-m", f"{self._told}:/told", "tiny"]
        started = daemon.klee(*run, "sh", "-c", script)
        self._kept = next((daemon.root / "runtime" / "kept" / started.id).iterdir())
        self._inodes: set[int] = set()

    def lines(self) -> list[int]:
        shown = self._daemon.klee("logs", "--tail", "all", "noisy").stdout
        return [int(line) for line in shown.split()]

    def go_on(self) -> None:
        (self._told / "go").touch()

    def end(self) -> None:
        (self._told / "end").touch()

    @property
    def begun_anew(self) -> bool:
        """Whether the log was begun anew some times, as seen by asking often."""
        self._inodes.add((self._kept / "log").stat().st_ino)
        return len(self._inodes) > 3

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(self.files().values())

    def files(self) -> dict[int, int]:
        """The size of each of its files, by its inode: a file has two names."""
        found = (path.stat() for path in self._kept.glob("log*"))
        return {status.st_ino: status.st_size for status in found}


def test_service(manager: socket.socket, new_daemon: Callable[[], Daemon]) -> None:
    daemon = new_daemon()
    assert manager.recv(64) == b"READY=1"
    running = daemon.klee("run", "-d", "--name", "kept", "tiny", "sleep", "600")

    def reload(change: str) -> None:
        assert daemon.process is not None
        config = daemon.home / "config.yaml"
        config.write_text(config.read_text() + change)
        daemon.process.send_signal(signal.SIGHUP)
        assert manager.recv(64).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(64) == b"READY=1"

    file = daemon.home / "json.log"
    reload(f"log: file\nlog_format: json\nlog_file: {file}\nlog_level: debug\nstorage: btrfs\n")
    lines = read(file)
    assert "'storage' has changed: that takes effect at the next start" in lines
    assert lines[-1] == "the configuration was read again"

    reload("log_levl: info\n")
    wait_until(lambda: "the configuration stays" in read(file)[-1], "the mistake is not told")
    assert "unknown key 'log_levl'; did you mean 'log_level'?" in read(file)[-1]

    config = daemon.home / "config.yaml"
    config.write_text(config.read_text().replace("log_levl: info\n", ""))
    reload("container_log_size: 100000\ncontainer_log_files: 4\n")
    noisy = Noisy(daemon)
    wait_until(lambda: noisy.lines() == list(range(1, 2001)), "what is within bounds is lost")

    assert daemon.stop() == 0
    assert manager.recv(64) == b"STOPPING=1"
    noisy.go_on()
    wait_until(lambda: noisy.begun_anew, "nobody bounds the log")
    assert noisy.size() < 3 * 4 * 100_000
    daemon.configuration = "container_log_size: 100000\ncontainer_log_files: 4\n"
    daemon.start()
    assert running.id in daemon.klee("lsc", "-q").stdout
    noisy.end()
    wait_until(lambda: len(noisy.files()) <= 4, "files that are too many stay")
    written = noisy.lines()
    assert written == sorted(set(written)), "in order, and none twice"


def test_both_sides_tell_what_they_are(daemon: Daemon) -> None:
    version: Any = json.loads(daemon.klee("version", "--format", "json").stdout)
    assert version["klee"]["api_version"] == version["kleened"]["api_version"]
    assert version["kleened"]["platform"].startswith("Linux ")
    text = daemon.klee("info").stdout
    for part in ("klee: 0.", f"host: http://{daemon.socket}", "storage: ", "runtime: ", "probed:"):
        assert part in text
    info: Any = json.loads(daemon.klee("info", "--format", "json").stdout)
    assert info["probed"]["nftables"] == "ok"


def test_names_that_are_almost_right(daemon: Daemon) -> None:
    daemon.klee("create", "--name", "web-server", "tiny", "true")
    said = daemon.klee("isc", "web-sevrer", check=False).stderr
    assert "no such container: 'web-sevrer'" in said
    assert "hint: did you mean 'web-server'?" in said
    assert "did you mean 'tiny'?" in daemon.klee("isi", "tyni", check=False).stderr
    daemon.klee("rmc", "web-server")


def test_tls_and_certificates_of_clients(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = certify(tmp_path / "ours"), certify(tmp_path / "theirs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = f"    tlscert: {ours}/server.pem\n    tlskey: {ours}/server.key\n"
    strict = f"{own}    tlsverify: true\n    tlscacert: {ours}/ca.pem\n"
    plain, asking = f"https://{daemon.home}/tls.sock", f"https://{daemon.home}/asking.sock"
    tcp = f"https://127.0.0.1:{port}"
    daemon.sockets = (
        f"  - address: {plain}\n{own}  - address: {asking}\n{strict}  - address: {tcp}\n{strict}"
    )
    daemon.restart()
    trust = ["--tlscacert", f"{ours}/ca.pem"]
    shown = ["--tlscert", f"{ours}/client.pem", "--tlskey", f"{ours}/client.key"]
    foreign = ["--tlscert", f"{theirs}/client.pem", "--tlskey", f"{theirs}/client.key"]

    def klee(host: str, *options: str) -> subprocess.CompletedProcess[str]:
        klee = [str(BIN / "klee"), "--host", host, *options]
        argv = [*klee, "run", "-q", "--rm", "tiny", "echo", "in"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    for host in (tcp, asking):
        assert klee(host, *trust, *shown).stdout == "in\n"
        for options in (trust, [*trust, *foreign]):
            refused = klee(host, *options)
            assert refused.returncode == 1
            assert "certificate" in refused.stderr, refused.stderr
    assert klee(plain, *trust).stdout == "in\n"
    untrusted = klee(plain)
    assert (untrusted.returncode, untrusted.stdout) == (1, "")
    assert "certificate" in untrusted.stderr
    assert "hint: " in untrusted.stderr
    assert klee(plain, "--no-tlsverify").stdout == "in\n"
    for name, value in {"CACERT": "ca.pem", "CERT": "client.pem", "KEY": "client.key"}.items():
        monkeypatch.setenv(f"KLEE_TLS_{name}", f"{ours}/{value}")
    assert klee(tcp).stdout == "in\n"


def read(file: Path) -> list[str]:
    """The messages in a log of JSON lines."""
    return [json.loads(line)["message"] for line in file.read_text().splitlines()]
