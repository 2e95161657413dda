"""Which stages of a build can be begun. Pure; lives as long as the build."""

from __future__ import annotations

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
        self._needs = {
            node.stage.index: {stage.index for _, stage in node.needs()} for node in nodes
        }
        self._left = [node.stage.index for node in nodes]
        self._limit = limit
        self._running: set[int] = set()
        self._done: set[int] = set()

    def begin(self) -> list[int]:
        """Indexes of the stages to begin now; they count as begun."""
        ready = [index for index in self._left if self._needs[index] <= self._done]
        begun = ready[: self._limit - len(self._running)]
        self._left = [index for index in self._left if index not in begun]
        self._running.update(begun)
        return begun

    def finish(self, index: int) -> None:
        """A stage that was begun is done."""
        self._running.remove(index)
        self._done.add(index)
