"""Symbolic modes, as chmod(1) reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kleene.build.modes import applied, is_symbolic


@pytest.mark.parametrize(
    "mode",
    [
        "u=rwX,go=rX",
        "a+x",
        "+x",
        "go-rwx",
        "g=u",
        "u+s,g+s",
        "+t",
        "u=rw,g=r,o=",
        "ug+rw-x",
        "a=,u+r",
        "o=g",
    ],
)
@pytest.mark.parametrize("bits", [0o644, 0o755, 0o600, 0o000, 0o4711, 0o777])
def test_the_same_as_chmod(tmp_path: Path, mode: str, bits: int) -> None:
    assert is_symbolic(mode)
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.touch()
    directory.mkdir()
    for path in (file, directory):
        path.chmod(bits)
        old = path.stat().st_mode
        subprocess.run(["sh", "-c", f"umask 0; chmod {mode} {path}"], check=True)
        wanted = path.stat().st_mode & 0o7777
        path.chmod(0o700)
        # chmod(1) of GNU leaves the set-id bits of directories; those of files are what is compared.
        mask = 0o7777 if path == file else 0o1777
        assert applied(mode, old) & mask == wanted & mask, oct(wanted)


@pytest.mark.parametrize("text", ["", "x", "u", "rwx", "u=z", "u+x,", "0644", "u+rw;", "u=gr"])
def test_what_is_no_symbolic_mode(text: str) -> None:
    assert not is_symbolic(text)
