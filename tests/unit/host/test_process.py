"""Child processes: what they are given, what they return, and that none stays behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kleene.errors import CommandFailed, HostUnavailable
from kleene.host import process


def python(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


def running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    deadline = asyncio.get_running_loop().time() + 10
    while running(pid) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return not running(pid)


async def test_outputs_and_status() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    completed = await process.run(python(code))
    assert (completed.status, completed.stdout, completed.stderr) == (3, b"out\n", b"err\n")
    with pytest.raises(CommandFailed, match=r"exit status 3\): err"):
        completed.check()


async def test_environment_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLEENE_SECRET", "x")
    code = "import os; print('KLEENE_SECRET' in os.environ, os.environ['LC_ALL'], os.environ['A'])"
    assert (await process.run(python(code), env={"A": "b"})).stdout == b"False C b\n"


async def test_input_and_descriptors() -> None:
    read, write = os.pipe()
    try:
        code = f"import sys, os; os.write({write}, sys.stdin.buffer.read()); os.fstat({read})"
        completed = await process.run(python(code), stdin=b"fed", pass_fds=[write])
        assert os.read(read, 10) == b"fed"
        assert b"Bad file descriptor" in completed.stderr
    finally:
        os.close(read)
        os.close(write)


async def test_missing_program_is_named() -> None:
    with pytest.raises(HostUnavailable, match="'no-such-program' is not installed"):
        await process.run(["no-such-program"])


async def test_time_limit_kills_the_whole_group() -> None:
    code = (
        "import os, subprocess, sys, time; p = subprocess.Popen(['sleep', '60']);"
        "sys.stderr.write(str(p.pid)); open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    )
    read, write = os.pipe()
    try:
        with pytest.raises(HostUnavailable, match="did not finish"):
            await process.run(
                [*python(code), f"/proc/self/fd/{write}"], pass_fds=[write], timeout=0.5
            )
        assert await gone(int(os.read(read, 20)))
    finally:
        os.close(read)
        os.close(write)


async def test_stream_hands_on_output_and_keeps_the_end() -> None:
    seen = b""

    async def take(data: bytes) -> None:
        nonlocal seen
        seen += data

    code = "import sys; print('x' * 40000, flush=True); print('end', file=sys.stderr); sys.exit(1)"
    completed = await process.stream(python(code), take)
    assert len(seen) == 40005
    assert completed.status == 1
    assert completed.stderr.endswith(b"end\n")
    assert len(completed.stderr) == 16 * 1024


async def test_stream_kills_the_child_when_nobody_listens() -> None:
    pids: list[int] = []

    async def refuse(data: bytes) -> None:
        pids.append(int(data))
        raise ConnectionError

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(ConnectionError):
        await process.stream(python(code), refuse)
    assert await gone(pids[0])


async def test_output_is_bounded() -> None:
    with pytest.raises(HostUnavailable, match="said more than 100000 bytes"):
        await process.run(python("while True: print('x' * 9999)"), most=100_000)
    found = await process.run(python("import sys; print(1); sys.exit('2')"), most=100)
    assert (found.status, found.stdout, found.stderr) == (1, b"1\n", b"2\n")
