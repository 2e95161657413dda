"""Git over SSH, and steps with an SSH agent, against a real sshd and a real ssh-agent."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import baseline
from tests.support.daemon import Daemon, Result
from tests.support.gitserver import Repository
from tests.support.sshserver import SshServer, make_key, public, ssh_agent, ssh_server
from tests.system.conftest import add_tiny

pytestmark = pytest.mark.slow

Build = Callable[..., Result]

PROGRAMS = ("git", "ssh", "ssh-add")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(host: None, tiny_archive: Path, server: SshServer) -> Iterator[Daemon]:
    """A daemon that trusts the server."""
    daemon = Daemon()
    known = daemon.home / "known_hosts"
    known.write_text(server.known_hosts)
    daemon.configuration = f"ssh_known_hosts: {known}\n"
    with baseline.shared(*daemon.marks):
        try:
            daemon.start()
            add_tiny(daemon, tiny_archive)
            yield daemon
        finally:
            daemon.destroy()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("git"))
    repository.commit(README="over ssh\n")
    return repository


@pytest.fixture
def build(daemon: Daemon, tmp_path: Path) -> Build:
    def build(text: str, *options: str, check: bool = True) -> Result:
        (tmp_path / "Dockerfile").write_text(text)
        argv: list[str | Path] = ["build", "-t", "made", *options, tmp_path]
        built = daemon.klee(*argv, check=False)
        assert built.status == 0 or not check, built.stdout + built.stderr
        return built

    return build


def test_add_fetches_over_ssh_with_an_agent_or_a_key(
    build: Build, daemon: Daemon, server: SshServer, repository: Repository, tmp_path: Path
) -> None:
    url = server.url(repository.bare)
    text = f"FROM tiny\nADD {url} /src\n"

    def read() -> str:
        return daemon.klee("run", "-q", "--rm", "made", "cat", "/src/README").stdout

    refused = build(text, check=False)
    assert "Dockerfile:2:1: git repository" in refused.stderr
    assert "Permission denied" in refused.stderr
    assert "--ssh default" in refused.stderr
    with ssh_agent(tmp_path, server.keys["ed25519"]) as agent:
        build(text, "--ssh", f"default={agent}")
        assert read() == "over ssh\n"
    build(text, "--no-cache", "--ssh", f"default={server.keys['rsa']}")
    assert "ssh2: RSA SHA256:" in server.log.read_text()
    stranger = make_key(tmp_path / "stranger")
    both = f"default={stranger},{server.keys['ecdsa']}"
    build(text, "--no-cache", "--ssh", both)
    assert "ssh2: ECDSA SHA256:" in server.log.read_text()
    assert "Permission denied" in build(text, "--ssh", f"default={stranger}", check=False).stderr
    assert not list(Path("/tmp").glob("klee-agent-*"))


def test_a_server_that_is_not_known_gets_nothing(
    build: Build, daemon: Daemon, server: SshServer, repository: Repository
) -> None:
    known = daemon.home / "known_hosts"
    known.write_text("")
    key = server.keys["ed25519"]
    try:
        failed = build(
            f"FROM tiny\nADD {server.url(repository.bare)} /src\n",
            "--ssh",
            f"default={key}",
            check=False,
        )
    finally:
        known.write_text(server.known_hosts)
    assert "Host key verification failed" in failed.stderr
    assert "ssh_known_hosts" in failed.stderr


def test_a_context_is_fetched_over_ssh(daemon: Daemon, server: SshServer, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit(Dockerfile="FROM tiny\nCOPY file /file\n", file="of the repository\n")
    with ssh_agent(tmp_path, server.keys["rsa"]) as agent:
        url = server.url(repository.bare)
        daemon.klee("build", "-t", "context", "--ssh", f"default={agent}", url)
    read = daemon.klee("run", "-q", "--rm", "context", "cat", "/file").stdout
    assert read == "of the repository\n"


def test_a_step_logs_in_with_the_agent_that_it_is_lent(
    build: Build, server: SshServer, repository: Repository, tmp_path: Path
) -> None:
    _with_libraries(tmp_path / "programs")
    (tmp_path / "known").write_text(server.known_hosts)
    text = (
        "FROM tiny\nCOPY programs /\nCOPY known /etc/ssh/ssh_known_hosts\n"
        "RUN --mount=type=ssh set -e; ssh-add -L; "
        f"git clone -q {server.url(repository.bare)} /cloned; cat /cloned/README\n"
        "RUN test -z $SSH_AUTH_SOCK\n"
    )
    key = server.keys["ed25519"]
    with ssh_agent(tmp_path, key) as agent:
        built = build(text, "--ssh", f"default={agent}")
    assert public(key).split()[1] in built.stdout
    assert "over ssh" in built.stdout
    built = build(text, "--no-cache", "--ssh", f"default={server.keys['rsa']}")
    assert public(server.keys["rsa"]).split()[1] in built.stdout
    assert "over ssh" in built.stdout


def test_keys_that_cannot_be_used_are_refused(build: Build, tmp_path: Path) -> None:
    secret = make_key(tmp_path / "encrypted", password="secret word")
    old = make_key(tmp_path / "old", "rsa", password="secret word", form="PEM")
    (tmp_path / "text").write_text("no key\n")
    for path, reason, hint in (
        (secret, "is encrypted", f"ssh-add {secret}"),
        (old, "is encrypted", f"ssh-add {old}"),
        (
            tmp_path / "text",
            "is neither the socket of an SSH agent nor a private key",
            "--ssh NAME",
        ),
        (tmp_path / "absent", "no such file", "--ssh NAME"),
    ):
        failed = build("FROM tiny\n", "--ssh", f"default={path}", check=False)
        assert failed.status == 1
        assert reason in failed.stderr
        assert hint in failed.stderr


def _with_libraries(directory: Path) -> None:
    """Copies of the host's programs, with the libraries that they are linked to, for a root of busybox."""
    (directory / "usr/bin").mkdir(parents=True)
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program is not None
        shutil.copy2(program, directory / "usr/bin" / name)
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            target = directory / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.realpath(library), target)
    # What ssh looks the user up with.
    for library in Path("/lib").glob("*-linux-gnu/libnss_files.so.2"):
        target = directory / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(library), target)
