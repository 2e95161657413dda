"""What ``klee build`` sends for ``--secret``, ``--ssh`` and ``--allow``."""

from __future__ import annotations

import base64
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest

from kleene.cli.grants import grants
from kleene.errors import InvalidInput


def read(
    environ: dict[str, str] | None = None, local: bool = True, **options: Any
) -> dict[str, Any]:
    defaults: dict[str, Any] = {"secret": (), "ssh": (), "allow": ()}
    with contextlib.ExitStack() as undo:
        return grants(defaults | options, environ or {}, undo, local=local)


def test_secrets_come_from_files_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0\xff")
    given = (
        f"id=a,src={path}",
        "id=b,env=B",
        "type=env,id=C",
        "id=D",
        f"type=file,id=e,source={path}",
    )
    found = read({"B": "1", "C": "2", "D": "3"}, secret=given)["secrets"]
    data = {name: base64.b64decode(secret["data"]) for name, secret in found.items()}
    assert data == {"a": b"\0\xff", "b": b"1", "C": b"2", "D": b"3", "e": b"\0\xff"}


@pytest.mark.parametrize(
    "text",
    ["", "id=a,src=/absent", "id=a,env=ABSENT", "src=/x", "id=a,src=/x,env=y", "id=a,x=1", "a"],
)
def test_secrets_that_cannot_be_given(text: str) -> None:
    with pytest.raises(InvalidInput):
        read(secret=(text,))


def test_agents(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        found = read({"SSH_AUTH_SOCK": str(path)}, ssh=("default", f"other={path}"))
    assert found["ssh"] == {"default": str(path), "other": str(path)}
    key = tmp_path / "key"
    key.write_text("private")
    wrong: list[tuple[str, dict[str, str]]] = [("default", {}), (f"a={key}", {}), ("a=/absent", {})]
    for given, environ in wrong:
        with pytest.raises(InvalidInput):
            read(environ, ssh=(given,))
    with pytest.raises(InvalidInput, match="needs kleened on this host"):
        read({"SSH_AUTH_SOCK": str(path)}, local=False, ssh=("default",))
