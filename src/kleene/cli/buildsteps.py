"""What is known of a build while it is shown: its steps, which of them run, the end of their output."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections import deque
from typing import Any

import click

from kleene.cli.output import printable

# Lines kept to be shown if a step fails, characters kept of a line.
_KEPT, _LONGEST = 50, 4096


class Step:
    """A step that has begun."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.number: int = event["number"]
        self.total: int = event["total"]
        self.stage: str = event.get("stage_name") or ""
        self.instruction = printable(event["instruction"])
        self.begun = time.monotonic()
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._open_line = ""
        self._decoder = getincrementaldecoder("utf-8")("replace")

    @property
    def title(self) -> str:
        """``3/7 [stage] RUN make``."""
        stage = f"[{printable(self.stage)}] " if self.stage else ""
        return f"{self.number}/{self.total} {stage}{self.instruction}"

    @property
    def seconds(self) -> float:
        """How long it has run by now."""
        return time.monotonic() - self.begun

    def add(self, data: bytes) -> None:
        """Note what it wrote."""
        text = self._open_line + self._decoder.decode(data)
        *lines, rest = text.split("\n")
        self._open_line = rest[-_LONGEST:]
        self._lines.extend(visible(line[-_LONGEST:]) for line in lines[-_KEPT:])

    def tail(self, count: int) -> list[str]:
        """The last lines that are not empty."""
        lines = [line for line in (*self._lines, visible(self._open_line)) if line]
        return lines[-count:] if count > 0 else []


class Steps:
    """All steps of a build, by number.

    Attributes:
        running: those that are in work, in the order in which they began.
        done, cached, made: how many are done, came from the cache, and made a snapshot.
        total: of all, once it is known.
    """

    def __init__(self) -> None:
        self.running: dict[int, Step] = {}
        self.begun = time.monotonic()
        self.total = self.done = self.cached = self.made = 0
        self._speaking = 0

    def start(self, event: dict[str, Any]) -> Step:
        """A step begins."""
        step = Step(event)
        self.total = step.total
        self.running[step.number] = step
        return step

    def finish(self, event: dict[str, Any]) -> Step | None:
        """A step is done; ``None`` if it never began."""
        step = self.running.pop(event["number"], None)
        if step is not None:
            self.done += 1
            self.cached += bool(event["cached"])
            self.made += bool(event["snapshot"]) and not event["cached"]
        return step

    def output_of(self, number: int) -> None:
        """What comes is the output of this step; 0: of none."""
        self._speaking = number

    def speaker(self) -> Step | None:
        """The step whose output comes: the one that was told, else the one that began last."""
        if self._speaking in self.running:
            return self.running[self._speaking]
        return next(reversed(self.running.values()), None) if not self._speaking else None

    def summary(self) -> str:
        """``2 of 7 steps cached, 3 snapshots made, 12.3 s``."""
        states = self.cached + self.made
        snapshots = f"{self.made} snapshot{'' if self.made == 1 else 's'} made"
        took = seconds(time.monotonic() - self.begun)
        return f"{self.cached} of {states} states cached, {snapshots}, {self.done} steps, {took}"


def seconds(number: float) -> str:
    """A length of time: ``1.5 s``, ``2:05 min``."""
    minutes, rest = divmod(number, 60)
    return f"{int(minutes)}:{int(rest):02} min" if minutes else f"{number:.1f} s"


def visible(line: str) -> str:
    """What a line leaves on a screen: after its last carriage return, without control characters."""
    kept = line.rstrip("\r").rpartition("\r")[2].expandtabs(4)
    return "".join(c for c in click.unstyle(kept) if c.isprintable())
