"""The result as Markdown: medians, and how many times Kleene's each one is."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Cell:
    """The measurements of one tool in one row, or why there are none."""

    values: list[float] = field(default_factory=list)
    reason: str = ""

    @property
    def median(self) -> float | None:
        """The median, if there is one."""
        return statistics.median(self.values) if self.values and not self.reason else None


@dataclass
class Line:
    """A row of the table with its cells by the tool's name."""

    title: str
    unit: Literal["s", "B"]
    cells: dict[str, Cell]


def quantity(value: float, unit: Literal["s", "B"]) -> str:
    """A measurement for people: milliseconds or seconds, kilobytes or megabytes."""
    if unit == "B":
        return f"{value / 1e6:.1f} MB" if abs(value) >= 1e6 else f"{value / 1e3:.0f} kB"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.0f} ms" if value >= 0.01 else f"{value * 1e3:.2f} ms"


def cell_text(line: Line, name: str, against: str) -> str:
    """``105 ms (1.7×)``: the median and its ratio to Kleene's."""
    cell, reference = line.cells[name], line.cells.get(against, Cell()).median
    if cell.median is None:
        return "n/a"
    text = quantity(cell.median, line.unit)
    if name == against or not reference or reference <= 0:
        return text
    return f"{text} ({cell.median / reference:.1f}×)"


def table(lines: Sequence[Line], names: Sequence[str], against: str = "kleene") -> str:
    """The Markdown table, with the reasons for what is not available below it."""
    out = ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for line in lines:
        cells = [cell_text(line, name, against) for name in names]
        out.append(f"| {line.title} | " + " | ".join(cells) + " |")
    reasons = {
        f"- n/a for {name}: {cell.reason}"
        for line in lines
        for name, cell in line.cells.items()
        if cell.reason
    }
    return "\n".join([*out, "", *sorted(reasons)]).rstrip() + "\n"


def limits(lines: Sequence[Line]) -> str:
    """The raw limits: a line each, without ratios."""
    out = ["| limit | |", "| --- | ---: |"]
    for line in lines:
        cell = line.cells["raw"]
        value = "n/a" if cell.median is None else quantity(cell.median, line.unit)
        out.append(f"| {line.title} | {value} |")
    return "\n".join(out) + "\n"


def machine() -> str:
    """What it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory; {release}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
