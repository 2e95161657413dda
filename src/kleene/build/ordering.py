"""Events of stages that are built at the same time, told in the order of the plan.

Owned by one build. The first stage that is not finished is told as it goes; what the others say is held
back until it is their turn. A stage that has said much waits for its turn, so memory stays bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kleene.build.events import Emit, Event, OutputWritten

HELD = 1024 * 1024
"""Bytes of output that are held back for a stage before it has to wait."""

_EVENT = 200  # bytes that an event counts beside its output


class InOrder:
    """Hands events on, stage by stage.

    Args:
        stages: indexes, in the order in which they are told.
    """

    def __init__(self, emit: Emit, stages: Sequence[int]) -> None:
        self._emit = emit
        self._left = list(stages)
        self._held: dict[int, list[Event]] = {stage: [] for stage in stages}
        self._size = dict.fromkeys(stages, 0)
        self._finished: set[int] = set()
        self._changed = asyncio.Condition()

    def of(self, stage: int) -> Emit:
        """Takes the events of one stage."""

        async def emit(event: Event) -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: self._may_speak(stage))
                if self._left[0] == stage:
                    await self._emit(event)
                else:
                    self._hold(stage, event)

        return emit

    async def finish(self, stage: int) -> None:
        """A stage has nothing more to say."""
        async with self._changed:
            self._finished.add(stage)
            while self._left and self._left[0] in self._finished:
                self._left.pop(0)
                if self._left:
                    await self._tell(self._left[0])
            self._changed.notify_all()

    async def stop_at(self, stage: int) -> None:
        """The build ends because of this stage: tell what the others have said, and that of this one last."""
        async with self._changed:
            for other in self._left:
                if other != stage:
                    await self._tell(other)
            await self._tell(stage)

    def _may_speak(self, stage: int) -> bool:
        return self._left[0] == stage or self._size[stage] < HELD

    def _hold(self, stage: int, event: Event) -> None:
        self._held[stage].append(event)
        self._size[stage] += _EVENT + (len(event.data) if isinstance(event, OutputWritten) else 0)

    async def _tell(self, stage: int) -> None:
        held, self._held[stage] = self._held[stage], []
        self._size[stage] = 0
        for event in held:
            await self._emit(event)
