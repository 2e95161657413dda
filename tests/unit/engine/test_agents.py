"""Handing an SSH agent on: what is said arrives, and the socket looks as it was asked for."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from kleene.engine.agents import forwarded
from kleene.errors import HostUnavailable


async def _upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data.upper())
    writer.close()


async def test_both_sides_hear_each_other(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(_upper, tmp_path / "agent")
    async with server, forwarded(str(tmp_path / "agent"), tmp_path, 0o640, -1, -1) as directory:
        assert stat.S_IMODE((directory / "agent").stat().st_mode) == 0o640
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(directory / "agent")
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"HELLO"
            writer.close()
    assert not directory.exists()


async def test_no_connection_outlasts_the_step(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(_upper, tmp_path / "agent")
    async with server:
        async with forwarded(str(tmp_path / "agent"), tmp_path, 0o600, -1, -1) as directory:
            reader, writer = await asyncio.open_unix_connection(directory / "agent")
            writer.write(b"x")
            assert await reader.readexactly(1) == b"X"
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="does not answer"):
        async with forwarded(str(tmp_path / "absent"), tmp_path, 0o600, -1, -1):
            pass
