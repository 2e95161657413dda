"""What is measured: a class a row. A row prepares a tool, measures it once a round, and tidies up."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from bench.tools import BASE, Tool

STEPS = 20
STAGES = 4
SMALL_FILES = 20_000
LARGE_FILE = 512 << 20
UNCHANGED_FILES = 100_000
DETACHED = 20
PRESENT = 100


class Row:
    """One line of the table.

    Attributes:
        title: what the line is called.
        unit: of what :meth:`measure` returns: seconds or bytes.
        most: the rounds that it is measured in at most.
    """

    title: ClassVar[str]
    unit: ClassVar[Literal["s", "B"]] = "s"
    most: ClassVar[int] = 1000

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def prepare(self, tool: Tool) -> None:
        """Before the first round."""
        return

    def measure(self, tool: Tool, number: int) -> float:
        """In round ``number``: the seconds or bytes that it took."""
        raise NotImplementedError

    def tidy(self, tool: Tool) -> None:
        """After the last round."""
        return

    def context(self, tool: Tool, last: str = "") -> Path:
        """A build context of :data:`STEPS` small steps; ``last`` makes the last one differ."""
        directory = self.scratch / f"context-{tool.name.replace(' ', '-')}"
        directory.mkdir(exist_ok=True)
        steps = [f"RUN echo {number} > /step-{number}" for number in range(1, STEPS)]
        lines = [f"FROM {BASE}", *steps, f"RUN echo {last or STEPS} > /step-{STEPS}", ""]
        (directory / "Dockerfile").write_text("\n".join(lines))
        return directory


def seconds(action: Callable[[], None]) -> float:
    """How long an action takes, by the wall clock."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class BuildAll(Row):
    title = f"build of {STEPS} small RUN steps, no cache"

    def measure(self, tool: Tool, number: int) -> float:
        context = self.context(tool)
        return seconds(lambda: tool.build(context, "steps", cache=False))


class BuildChanged(Row):
    title = "the same after a change in the last step"

    def prepare(self, tool: Tool) -> None:
        tool.build(self.context(tool), "steps", cache=True)

    def measure(self, tool: Tool, number: int) -> float:
        context = self.context(tool, last=f"changed-{number}")
        return seconds(lambda: tool.build(context, "steps", cache=True))


class BuildSame(Row):
    title = "the same with nothing changed"

    def prepare(self, tool: Tool) -> None:
        tool.build(self.context(tool), "steps", cache=True)

    def measure(self, tool: Tool, number: int) -> float:
        context = self.context(tool)
        return seconds(lambda: tool.build(context, "steps", cache=True))


class CopySmall(Row):
    """The first round reads every file; what a tool remembers of them serves the others."""

    title = f"COPY of {SMALL_FILES:,} small files, no cache"
    most = 2  # a round of all tools takes minutes

    def prepare(self, tool: Tool) -> None:
        write_small_files(self._files(tool))

    def measure(self, tool: Tool, number: int) -> float:
        context = self._files(tool).parent
        (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY files /files\n")
        return seconds(lambda: tool.build(context, "copied", cache=False))

    def tidy(self, tool: Tool) -> None:
        shutil.rmtree(self._files(tool).parent)

    def _files(self, tool: Tool) -> Path:
        return self.scratch / f"copy-{tool.name.replace(' ', '-')}" / "files"


class CopyAgain(CopySmall):
    """What is edited most is a file or two: the others were copied a moment ago."""

    title = f"COPY of {SMALL_FILES:,} small files, one changed"
    most = 3

    def prepare(self, tool: Tool) -> None:
        super().prepare(tool)
        self.measure(tool, -1)

    def measure(self, tool: Tool, number: int) -> float:
        files = self._files(tool)
        (files.parent / "Dockerfile").write_text(f"FROM {BASE}\nCOPY files /files\n")
        (files / "changed").write_text(f"{number}")
        return seconds(lambda: tool.build(files.parent, "copied-again", cache=True))


class CopyLarge(CopySmall):
    title = f"COPY of one {LARGE_FILE >> 20} MiB file, no cache"

    def prepare(self, tool: Tool) -> None:
        write_large_file(self._files(tool))


class CopyFrom(CopySmall):
    """The stage that has the files comes from the cache; every round has another destination."""

    title = f"COPY --from of {SMALL_FILES:,} small files of a cached stage"

    def prepare(self, tool: Tool) -> None:
        super().prepare(tool)
        self.measure(tool, -1)

    def measure(self, tool: Tool, number: int) -> float:
        context = self._files(tool).parent
        stage = f"FROM {BASE} AS files\nCOPY files /files\n"
        (context / "Dockerfile").write_text(
            f"{stage}FROM {BASE}\nCOPY --from=files /files /copied-{number}\n"
        )
        return seconds(lambda: tool.build(context, "copied-from", cache=True))


class ContextSame(Row):
    """All tools read the same context. The files are not of just now when the first of them looks."""

    title = f"rebuild from an unchanged context of {UNCHANGED_FILES:,} files"
    most = 1  # to prepare it takes some tools minutes

    def prepare(self, tool: Tool) -> None:
        context = self._context()
        if not context.exists():
            write_files(context / "files", UNCHANGED_FILES, lambda number: b"%d" % number)
            (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY files /files\n")
            time.sleep(3)
        tool.build(context, "unchanged", cache=True)

    def measure(self, tool: Tool, number: int) -> float:
        return seconds(lambda: tool.build(self._context(), "unchanged", cache=True))

    def _context(self) -> Path:
        return self.scratch / "unchanged"


class BuildStages(Row):
    title = f"{STEPS} RUN steps in {STAGES} independent stages, no cache"

    def measure(self, tool: Tool, number: int) -> float:
        directory = self.scratch / f"stages-{tool.name.replace(' ', '-')}"
        directory.mkdir(exist_ok=True)
        (directory / "Dockerfile").write_text(_stages())
        return seconds(lambda: tool.build(directory, "stages", cache=False))


def _stages() -> str:
    """A Dockerfile whose last stage takes a file of each of the others."""
    lines: list[str] = []
    for stage in range(STAGES):
        lines.append(f"FROM {BASE} AS stage{stage}")
        lines.extend(f"RUN echo {stage} {n} > /step-{n}" for n in range(STEPS // STAGES))
    lines.append(f"FROM {BASE}")
    lines.extend(f"COPY --from=stage{stage} /step-0 /from-{stage}" for stage in range(STAGES))
    return "\n".join([*lines, ""])


def write_small_files(directory: Path) -> None:
    """Make :data:`SMALL_FILES` files of 200 to 2200 bytes."""
    write_files(directory, SMALL_FILES, lambda number: os.urandom(200 + number % 100 * 20))


def write_files(directory: Path, count: int, content: Callable[[int], bytes]) -> None:
    """Make files in directories of a hundred."""
    for number in range(count):
        if number % 100 == 0:
            (directory / str(number)).mkdir(parents=True)
        path = directory / str(number - number % 100) / str(number)
        path.write_bytes(content(number))


def write_large_file(directory: Path) -> None:
    """Make one file of :data:`LARGE_FILE` bytes that cannot be compressed."""
    directory.mkdir(parents=True)
    with (directory / "large").open("wb") as file:
        for _ in range(LARGE_FILE >> 20):
            file.write(os.urandom(1 << 20))


class RunHost(Row):
    title = "`run --rm … true`, host network"

    def measure(self, tool: Tool, number: int) -> float:
        return seconds(lambda: tool.run(bridge=False))


class RunBridge(Row):
    title = "`run --rm … true`, bridge"

    def measure(self, tool: Tool, number: int) -> float:
        return seconds(lambda: tool.run(bridge=True))


class Detached(Row):
    title = f"{DETACHED} detached containers started and removed"

    def measure(self, tool: Tool, number: int) -> float:
        names = [f"detached-{index}" for index in range(DETACHED)]

        def start_and_remove() -> None:
            for name in names:
                tool.start_detached(name)
            tool.remove(names)

        return seconds(start_and_remove)


class Listing(Row):
    title = f"`ls` with {PRESENT} containers present"

    def prepare(self, tool: Tool) -> None:
        for name in self._names():
            tool.create(name)

    def measure(self, tool: Tool, number: int) -> float:
        return seconds(tool.list_all)

    def tidy(self, tool: Tool) -> None:
        tool.remove(self._names())

    def _names(self) -> list[str]:
        return [f"listed-{index}" for index in range(PRESENT)]


class Disk(Row):
    title = f"disk used by {DETACHED} running containers of one image"
    unit = "B"
    most = 1

    def measure(self, tool: Tool, number: int) -> float:
        names = [f"disk-{index}" for index in range(DETACHED)]
        before = _settled(tool)
        for name in names:
            tool.start_detached(name)
        used = _settled(tool) - before
        tool.remove(names)
        return used


def _settled(tool: Tool) -> int:
    """What a tool's storage takes once what was removed before is gone: btrfs does that in the background."""
    seen = [tool.disk()]
    while len(seen) < 3 or len(set(seen[-3:])) > 1:
        time.sleep(1)
        seen.append(tool.disk())
    return seen[-1]


ROWS: list[type[Row]] = [
    BuildAll,
    BuildChanged,
    BuildSame,
    BuildStages,
    CopySmall,
    CopyAgain,
    CopyLarge,
    CopyFrom,
    ContextSame,
    RunHost,
    RunBridge,
    Detached,
    Listing,
    Disk,
]
