"""A real ``sshd`` on the loopback interface and a real ``ssh-agent``, for tests: all of it in one directory.

Nothing of the host's own configuration is read or changed; who logs in is the user that runs the tests.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import wait_until
from tests.support.required import require

_SBIN = "/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class SshServer:
    """A server that lets in who has one of the keys.

    Attributes:
        known_hosts: a line for ``known_hosts``.
        keys: private keys by kind: ``ed25519``, ``rsa``, ``ecdsa``.
        log: file with what it says.
    """

    port: int
    known_hosts: str
    keys: dict[str, Path]
    log: Path

    def url(self, path: Path) -> str:
        """A repository there, as git names it."""
        return f"ssh://{self.login}:{self.port}{path}"

    @property
    def login(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1"


@contextlib.contextmanager
def ssh_server(directory: Path) -> Iterator[SshServer]:
    """Serve, as long as the block lasts; without OpenSSH the test is skipped."""
    program = shutil.which("sshd", path=_SBIN)
    require("ssh", program is not None, "there is no 'sshd': apt-get install openssh-server")
    require("ssh", shutil.which("ssh-agent") is not None, "there is no 'ssh-agent'")
    assert program is not None
    host, keys = make_key(directory / "host"), {}
    for kind in ("ed25519", "rsa", "ecdsa"):
        keys[kind] = make_key(directory / kind, kind)
    allowed = directory / "authorized"
    allowed.write_text("".join(public(key) for key in keys.values()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host}\nAuthorizedKeysFile {allowed}\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    log = directory / "sshd.log"
    with _privilege_separation(), log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", config],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(lambda: _answers(port), "sshd does not answer")
            yield SshServer(port, f"[127.0.0.1]:{port} {public(host)}", keys, log)
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def ssh_agent(directory: Path, *keys: Path) -> Iterator[Path]:
    """The socket of an agent with these keys."""
    path = directory / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        wait_until(path.exists, "ssh-agent does not listen")
        env = os.environ | {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", *keys], env=env, check=True, capture_output=True)
        yield path
    finally:
        process.terminate()
        process.wait(10)


def make_key(path: Path, kind: str = "ed25519", *, password: str = "", form: str = "") -> Path:
    """A new private key; ``form``: ``PEM`` for the old one."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", password, "-C", kind, "-f", str(path)]
    size = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run([*argv, *size, *(["-m", form] if form else [])], check=True)
    return path


def public(key: Path) -> str:
    """Its public part, as a line."""
    return Path(f"{key}.pub").read_text()


@contextlib.contextmanager
def _privilege_separation() -> Iterator[None]:
    """The empty directory that sshd wants; a host where it does not run has none."""
    path = Path("/run/sshd")
    made = not path.exists()
    path.mkdir(mode=0o755, exist_ok=True)
    try:
        yield
    finally:
        if made:
            path.rmdir()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
        return probe.recv(4) == b"SSH-"
    return False
