"""What TAB offers: commands, options, and the names of objects that the daemon has just now."""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from kleene.cli import completion
from kleene.cli.main import root
from tests.support.daemon import BIN, wait_until
from tests.support.required import require
from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import ScriptedDaemon

CONTAINERS = [
    {"id": "a" * 12, "name": "web", "image_name": "site", "image_id": "b" * 12, "running": True},
    {"id": "c" * 12, "name": "worker", "image_name": "", "image_id": "b" * 12, "running": False},
    {"id": "d" * 12, "name": "db", "image_name": "", "image_id": "b" * 12, "running": False},
]


@pytest.fixture(autouse=True)
def _objects(daemon: ScriptedDaemon) -> None:
    for begin in ("", "w", "we", "d"):
        begun = f"&filter=name%3D%5E{begin}" if begin else ""
        found = [each for each in CONTAINERS if str(each["name"]).startswith(begin)]
        daemon.answer("GET", f"/containers/list?all=true{begun}", found)
    images = [{"id": "b" * 12, "name": "site", "tag": "1", "created": "x"}]
    images.append({"id": "e" * 12, "name": "", "tag": "", "created": "x"})
    daemon.answer("GET", "/images/list", images)
    daemon.answer("GET", "/networks/list?filter=name%3D%5El", [{"name": "lan", "type": "loopback"}])
    daemon.answer("GET", "/volumes/list?filter=name%3D%5Ed", [{"name": "data", "created": "x"}])


def offered(host: str, line: str) -> list[str]:
    """What completes the last word of ``line``."""
    *words, incomplete = line.split(" ")
    completing = ShellComplete(root, {}, "klee", completion.VARIABLE)
    return [each.value for each in completing.get_completions(["--host", host, *words], incomplete)]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("sto", ["stop"]),
        ("stop w", ["web", "worker"]),
        ("stop web w", ["worker"]),
        ("container inspect ", ["web", "worker", "db"]),
        ("exec -it d", ["db"]),
        ("run ", ["site:1", "e" * 12]),
        ("build --from s", ["site:1"]),
        ("run -n l", ["lan"]),
        ("network connect l", ["lan"]),
        ("rmv d", ["data"]),
        ("run -m d", ["data:"]),
        ("run --driver i", ["ipnet"]),
        ("lsc --q", ["--quiet"]),
    ],
)
def test_offers(daemon: ScriptedDaemon, line: str, wanted: list[str]) -> None:
    assert offered(daemon.host, line) == wanted


def test_daemon_that_is_away_is_no_matter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert offered(f"http://{tmp_path}/nobody", "stop w") == []
    assert offered("nonsense", "stop w") == []
    assert capfd.readouterr() == ("", "")


def test_daemon_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "_PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        began = time.monotonic()
        assert offered(f"http://{tmp_path}/mute", "stop w") == []
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_of_their_shells(klee: Klee, shell: str) -> None:
    script = klee("completion", shell).out
    assert f"_KLEE_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PREPARE = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u -D; ", "fish": ""}


@pytest.mark.parametrize("shell", START)
def test_tab_completes_names_of_containers_and_images(
    klee: Klee, daemon: ScriptedDaemon, tmp_path: Path, shell: str
) -> None:
    """Typed at a terminal: ``klee stop we``, TAB, enter; and an image, whose name has a colon in it."""
    require(shell, shutil.which(shell) is not None, f"'{shell}' is not installed")
    daemon.answer("POST", "/containers/web/stop", {"id": "a" * 12})
    daemon.answer("DELETE", "/images/site:1", {"id": "b" * 12})
    script = tmp_path / "completion"
    script.write_text(klee("completion", shell).out)
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "KLEE_HOST": daemon.host, "HOME": str(tmp_path)}
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell, START[shell], environment | {"TERM": "vt100"})
    try:
        with io.FileIO(terminal, "r+b") as keys:
            keys.write(f"{PREPARE[shell]}. {script}; echo rea''dy\n".encode())
            seen(keys, b"ready\r")
            for typed, listed, completed in (
                (
                    b"klee stop we\t",
                    "/containers/list?all=true&filter=name%3D%5Ewe",
                    "/containers/web/stop",
                ),
                (b"klee rmi si\t", "/images/list", "/images/site:1"),
            ):
                keys.write(typed)
                wait_for(daemon, listed)
                keys.write(b"\n")
                wait_for(daemon, completed)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def seen(terminal: io.FileIO, text: bytes) -> None:
    """Read what a shell writes until ``text`` is in it."""
    read = b""
    while text not in read:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, f"it says only {read!r}"
        read += terminal.read(4096)


def wait_for(daemon: ScriptedDaemon, target: str) -> None:
    """Wait until the daemon has been asked."""
    wait_until(lambda: any(r.target == target for r in daemon.requests), f"nobody asked {target}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(klee: Klee, daemon: ScriptedDaemon, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(klee("completion", "bash").out)
    words = "COMP_WORDS=(klee stop w); COMP_CWORD=2"
    typed = f'. {script}; {words}; _klee_completion klee; echo "${{COMPREPLY[@]}}"'
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "KLEE_HOST": daemon.host}
    done = subprocess.run(
        ["bash", "-c", typed], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "web worker\n", done.stderr
