"""Which stages of a build can be begun. Pure; lives as long as the build."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from kleene.build.stages import StageNode


class Schedule:
    """The stages that are left, in the order of the plan, in which each comes after those that it needs.

    Of the stages that can be begun, the first in that order is: so the output of stages that is told in
    order never waits for a stage that waits for room to run.

    Args:
        limit: how many stages are in work at a time.
    """

    def __init__(self, nodes: Sequence[StageNode], limit: int) -> None:
        self._order = [node.stage.index for node in nodes]
        self._places = {index: place for place, index in enumerate(self._order)}
        needs = {node.stage.index: {stage.index for _, stage in node.needs()} for node in nodes}
        self._missing = {index: len(found) for index, found in needs.items()}
        self._needed_by: dict[int, list[int]] = {index: [] for index in self._order}
        for index, found in needs.items():
            for needed in found:
                self._needed_by[needed].append(index)
        self._ready = [self._places[index] for index in self._order if not needs[index]]
        self._free = limit

    def begin(self) -> list[int]:
        """Indexes of the stages to begin now; they count as begun."""
        begun = []
        while self._ready and self._free > 0:
            begun.append(self._order[heapq.heappop(self._ready)])
            self._free -= 1
        return begun

    def finish(self, index: int) -> None:
        """A stage that was begun is done."""
        self._free += 1
        for other in self._needed_by[index]:
            self._missing[other] -= 1
            if not self._missing[other]:
                heapq.heappush(self._ready, self._places[other])
