"""The runtime as a program: what of the host it sees, for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.host import process
from kleene.runtime.program import Program
from tests.support.required import require

pytestmark = pytest.mark.slow


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def test_a_program_sees_a_directory_empty_that_others_see_whole(tmp_path: Path) -> None:
    require("oci", os.geteuid() == 0, "mount namespaces need root")
    (tmp_path / "file").touch()

    async def seen(program: Program) -> bytes:
        with program.ready() as words:
            return (await process.run([*words, "-A", str(tmp_path)])).check().stdout

    assert await seen(Program("/bin/ls", unseen=tmp_path)) == b""
    assert await seen(Program("/bin/ls")) == b"file\n"
    assert str(tmp_path) not in mounts()
