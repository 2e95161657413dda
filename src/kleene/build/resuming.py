"""How much of an earlier build can be taken over when it is resumed. Pure.

Steps are compared by what is written in the Dockerfile, not by their keys: a file of the context that
changed meanwhile does not begin a resumed build anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kleene.build.stage_plan import StagePlan
from kleene.build.steps import Step
from kleene.errors import InvalidInput
from kleene.metadata.images import InstructionRecord


@dataclass(frozen=True)
class TakenOver:
    """What is taken over for one stage.

    Attributes:
        steps: what came of its first steps, one by one.
        snapshot: of the state after them.
        key: of that state; ``""`` if no other build can come to it: it was made by hand, or by half a step.
        container: id of the container whose files are that state instead; ``""`` if there is none.
    """

    steps: tuple[InstructionRecord, ...]
    snapshot: str
    key: str
    container: str = ""


@dataclass(frozen=True)
class Resumption:
    """The build to go on with.

    Attributes:
        name: what the user calls it.
        records: its steps.
        present: those of their snapshots that were not pruned.
        snapshot: the state to go on from, if the user named one; ``""`` is the last good one of each stage.
        container: id of a container that was cloned from that state and has the files to go on with.
    """

    name: str
    records: tuple[InstructionRecord, ...] = field(repr=False)
    present: frozenset[str] = field(repr=False)
    snapshot: str = ""
    container: str = ""

    def of(self, plan: StagePlan) -> TakenOver | None:
        """What of a stage is taken over; ``None``: nothing.

        Raises:
            InvalidInput: a step before the state that the user named is written otherwise now.
        """
        index = plan.node.stage.index
        records = [record for record in self.records if record.stage == index]
        good = records[: _same(plan.steps, records)]
        count = self._steps_before(records)
        if count is not None:
            return self._named(good, records, count)
        if plan.node.stage.given is not None:
            return None  # steps that come see it as it is now, as they see the context
        while good and good[-1].snapshot_id not in self.present:
            good.pop()
        if not good:
            return None
        return TakenOver(tuple(good), good[-1].snapshot_id or "", good[-1].key)

    def _steps_before(self, records: Sequence[InstructionRecord]) -> int | None:
        """How many steps lead to the state that the user named; ``None``: it is of no step of these."""
        for count, record in enumerate(records):
            if record.failed and record.snapshot_id == self.snapshot != "":
                return count  # half of this step is in that state, so it is taken once more
            if not record.failed and (record.snapshot_id or record.before) == self.snapshot != "":
                return count + 1
        return None

    def _named(
        self, good: Sequence[InstructionRecord], records: Sequence[InstructionRecord], count: int
    ) -> TakenOver:
        if count > len(good):
            raise InvalidInput(
                f"step {records[len(good)].position} of '{self.name}' is written otherwise now",
                hint="resume from a state before it, or build without --resume",
            )
        taken = tuple(good[:count])
        made_so = taken and (taken[-1].snapshot_id or taken[-1].before) == self.snapshot
        key = taken[-1].key if made_so and not self.container else ""
        return TakenOver(taken, self.snapshot, key, self.container)


def _same(steps: Sequence[Step], records: Sequence[InstructionRecord]) -> int:
    """How many steps at the beginning are the same."""
    count = 0
    for step, record in zip(steps, records, strict=False):
        if step.text != record.text or record.failed:
            break
        count += 1
    return count
