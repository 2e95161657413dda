"""``make bench``: the same builds and the same containers with Kleene, Docker, podman and buildah.

The tools take turns, round by round, so that a slow minute of the machine hits all of them. The result goes
to the terminal and to ``bench/results.md``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.support.rootfs import write_tar

from bench import isolation, report
from bench.kleene import Kleene
from bench.raw import LIMITS, Raw
from bench.report import Cell, Line
from bench.rows import ROWS, Row
from bench.tools import Buildah, Docker, DockerBuildKit, Failed, Missing, Podman, Tool

RESULTS = Path(__file__).parent / "results.md"


def attempt(cell: Cell, action: Callable[[], None]) -> None:
    """Do ``action`` unless the cell is lost already; note in it why it failed."""
    if cell.reason:
        return
    try:
        action()
    except (Missing, Failed) as error:
        cell.reason = str(error).replace("\n", " / ")


def take(cell: Cell, row: Row, tool: Tool, number: int) -> None:
    """One measurement, into its cell. What was written before is on the disk: nobody pays for another."""
    os.sync()
    cell.values.append(row.measure(tool, number))


def note_version(versions: list[str], tool: Tool) -> None:
    """Start a tool and note its version."""
    versions.append(f"{tool.name}: {tool.start()}")


def measure(row: Row, tools: Sequence[Tool], rounds: int, lost: dict[str, str]) -> Line:
    """Measure one row with every tool, taking turns."""
    print(f"bench: {row.title}", file=sys.stderr, flush=True)
    cells = {tool.name: Cell(reason=lost.get(tool.name, "")) for tool in tools}
    for tool in tools:
        attempt(cells[tool.name], partial(row.prepare, tool))
    for number in range(min(rounds, row.most)):
        turn = number % len(tools)
        for tool in [*tools[turn:], *tools[:turn]]:
            attempt(cells[tool.name], partial(take, cells[tool.name], row, tool, number))
    for tool in tools:
        attempt(cells[tool.name], partial(row.tidy, tool))
    return Line(row.title, row.unit, cells)


def start(tools: Sequence[Tool], base: Path, stack: ExitStack) -> tuple[dict[str, str], list[str]]:
    """Start every tool and give it the base image; returns why some are lost, and the versions."""
    lost: dict[str, str] = {}
    versions: list[str] = []
    for tool in tools:
        print(f"bench: starting {tool.name}", file=sys.stderr, flush=True)
        cell = Cell()
        stack.callback(tool.stop)
        attempt(cell, partial(note_version, versions, tool))
        attempt(cell, partial(tool.import_base, base))
        if cell.reason:
            lost[tool.name] = cell.reason
    return lost, versions


def raw_limits(directory: Path, base: Path, rounds: int) -> list[Line]:
    """Measure the bare parts."""
    raw = Raw(directory, base)
    try:
        return [
            Line(title, "s", {"raw": Cell([limit(raw, number) for number in range(rounds)])})
            for title, limit in LIMITS
        ]
    finally:
        raw.close()


def tools_in(directory: Path, names: Sequence[str]) -> list[Tool]:
    """The tools that were asked for, each with a directory of its own."""
    own = [directory / name for name in ("kleene", "kleene-runc", "docker", "podman", "buildah")]
    for each in own:
        each.mkdir()
    kleene, with_runc, docker_, podman, buildah = own
    docker = Docker(docker_)
    known: list[Tool] = [
        Kleene(kleene),
        Kleene(with_runc, "kleene with runc", oci_runtime="runc"),
        docker,
        DockerBuildKit(docker),
        Podman(podman),
        Buildah(buildah),
    ]
    return [tool for tool in known if not names or tool.name.split()[0] in names]


def run(directory: Path, arguments: argparse.Namespace) -> str:
    """The whole bench, as Markdown."""
    base = write_tar(directory / "base.tar")
    tools = tools_in(directory, arguments.tools)
    rows = [row(directory) for row in ROWS if arguments.rows in row.title]
    with ExitStack() as stack:
        lost, versions = start(tools, base, stack)
        lines = [measure(row, tools, arguments.rounds, lost) for row in rows]
    raw = raw_limits(directory / "raw", base, max(arguments.rounds, 5))
    return "\n".join(
        [
            f"Medians of {arguments.rounds} rounds, of 2 for copies and large contexts; in brackets, how "
            "many times Kleene's.",
            "",
            report.table(lines, [tool.name for tool in tools]),
            report.limits(raw),
            f"Measured on {report.machine()}. {'; '.join(versions)}.",
            "",
        ]
    )


def main() -> int:
    """Parse the command line, run the bench in namespaces of its own, write the result."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--rows", default="", help="only rows whose title has this text")
    parser.add_argument("--tools", nargs="*", default=[], help="only these tools")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: bench/results.md")
    arguments = parser.parse_args()
    isolation.enter()
    directory = Path(tempfile.mkdtemp(prefix="kleene-bench-", dir="/var/tmp"))
    try:
        with isolation.cgroups_kept():
            result = run(directory, arguments)
    finally:
        isolation.unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)
    arguments.output.write_text(result)
    print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
