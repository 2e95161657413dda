"""What the kernel's files of both versions of control groups come to."""

from __future__ import annotations

import os
from pathlib import Path

from kleene.runtime import usage


def write(directory: Path, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)
    return directory


def test_version_1(tmp_path: Path) -> None:
    write(tmp_path / "cpuacct", cpuacct__usage="2500000000\n")
    write(
        tmp_path / "memory",
        memory__usage_in_bytes="5000\n",
        memory__limit_in_bytes="9223372036854771712\n",
        memory__stat="cache 1\ntotal_inactive_file 1000\n",
    )
    write(tmp_path / "pids", pids__current="3\n")
    blocks = "8:0 Read 4096\n8:0 Write 10\n8:16 Read 4\n8:0 Total 4110\nTotal 4110\n"
    write(tmp_path / "blkio", blkio__throttle__io_service_bytes=blocks)
    found = usage.read(lambda name: tmp_path / name, os.getpid(), unified=False)
    assert (found.cpu, found.memory, found.memory_limit) == (2_500_000_000, 4000, 0)
    assert (found.pids, found.read, found.written) == (3, 4100, 10)
    assert (found.received, found.sent) == (None, None)  # the same stack as ours


def test_version_2(tmp_path: Path) -> None:
    group = write(
        tmp_path,
        cpu__stat="usage_usec 1500000\nuser_usec 1000000\n",
        memory__current="5000\n",
        memory__max="1048576\n",
        memory__stat="anon 1\ninactive_file 6000\n",
        pids__current="2\n",
        io__stat="8:0 rbytes=4096 wbytes=7 rios=1\n254:0 rbytes=1 wbytes=0\n",
    )
    found = usage.read(lambda _: group, 0, unified=True)
    assert (found.cpu, found.memory, found.memory_limit) == (1_500_000_000, 0, 1048576)
    assert (found.pids, found.read, found.written) == (2, 4097, 7)
    (group / "memory.max").write_text("max\n")
    assert usage.read(lambda _: group, 0, unified=True).memory_limit == 0


def test_a_controller_that_the_host_has_not() -> None:
    found = usage.read(lambda _: None, 0, unified=False)
    assert (found.cpu, found.memory, found.pids, found.read) == (0, 0, 0, 0)
