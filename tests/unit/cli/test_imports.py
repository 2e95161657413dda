"""What a command imports: that is most of the time it takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.unit.client.scripted import Peer, ScriptedDaemon

DEAR = (
    *("msgspec", "rich", "asyncio", "litestar", "h11", "wsproto", "yaml"),
    *("httpx", "pydantic", "websockets", "uvicorn"),
)
DEAR_TO_LISTS = (*DEAR, "hashlib", "ssl", "urllib.parse", "pathlib", "secrets")


def _imported(*arguments: str) -> set[str]:
    script = (
        "import sys\nfrom kleene.cli.main import run\n"
        "status = run(sys.argv[1:])\n"
        "print(*sorted(sys.modules), file=sys.stderr)\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


MOST = 100
"""How many modules a listing may import: of the standard library, of click and of Kleene."""


def test_a_listing_imports_few_modules(daemon: ScriptedDaemon) -> None:
    daemon.answer("GET", "/containers/list?all=false", [])
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = _imported("--host", daemon.host, "lsc") - set(bare.stdout.split())
    assert len(imported) <= MOST, sorted(imported)


@pytest.mark.parametrize("command", ["lsc", "lsi", "rmc x", "stop x", "isc x"])
def test_simple_commands_import_little(daemon: ScriptedDaemon, command: str) -> None:
    daemon.answer("GET", "/containers/list?all=false", [])
    daemon.answer("GET", "/images/list", [])
    daemon.answer("GET", "/containers/x/inspect", {})
    daemon.answer("DELETE", "/containers/x", {"id": "x"})
    daemon.answer("POST", "/containers/x/stop", {"id": "x"})
    assert _imported("--host", daemon.host, *command.split()).isdisjoint(DEAR_TO_LISTS)


def test_run_imports_nothing_dear(daemon: ScriptedDaemon) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("closing", exit_code=0)
        peer.receive()

    daemon.answer("POST", "/containers/create", {"id": "c"}, 201)
    daemon.answer("POST", "/exec/create", {"id": "e"}, 201)
    daemon.stream("/exec/start", script)
    assert _imported("--host", daemon.host, "run", "-q", "image").isdisjoint(DEAR)


def test_plain_build_imports_nothing_dear(daemon: ScriptedDaemon) -> None:
    def script(peer: Peer, config: Any) -> None:
        peer.tell("starting", data="i")
        peer.tell("closing", data="i")
        peer.receive()

    daemon.stream("/images/build", script)
    assert _imported("--host", daemon.host, "build", ".").isdisjoint(DEAR)
