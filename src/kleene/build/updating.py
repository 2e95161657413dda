"""COPY onto an earlier result of itself: a clone of that, changed where the files have changed.

Where the state before, the instruction and all else are the same, what a COPY made of other files has most of
what it is to make now. That and the difference of the two lists of files give the same state as a copy of all
of them, at the cost of what changed. Owns the clone of the state before, while the block lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from kleene.build import copying, reasons
from kleene.build.selection import Earlier, Selection
from kleene.build.steps import CopyStep, Step, WorkdirStep
from kleene.build.workshop import State, Workshop
from kleene.metadata.images import SnapshotRecord


@dataclass(frozen=True)
class Result:
    """A snapshot to start from, and what is to be done to its files."""

    snapshot: SnapshotRecord
    earlier: Earlier


@contextlib.asynccontextmanager
async def earlier_result(
    shop: Workshop,
    state: State,
    step: Step | None,
    taken: Selection,
    inputs: reasons.Inputs,
    directories: Sequence[WorkdirStep],
) -> AsyncIterator[Result | None]:
    """The result to start from, if there is one that saves work.

    Args:
        state: before the step.
        taken: the files that it takes.
        inputs: what the state after it is made of.
        directories: that WORKDIR named, to be made before the step.
    """
    # Where clones depend on what they were made from, that could not go as long as these are there.
    independent = shop.storage.capabilities.independent_clones
    found = None
    if independent and type(step) is CopyStep and not step.files and taken.is_large:
        found = _last_used(shop, state, inputs)
    if found is None or state.snapshot is None or not isinstance(step, CopyStep):
        yield None
        return
    async with shop.origins.writable(state.snapshot) as before:
        for directory in directories:
            await asyncio.to_thread(copying.make_workdir, before, directory)
        listed = shop.images.manifest(found.manifest or "")
        delta = await taken.delta(listed, before, step.destination) if listed else None
        yield None if delta is None else Result(found, Earlier(before, delta))


def _last_used(shop: Workshop, state: State, inputs: reasons.Inputs) -> SnapshotRecord | None:
    """The result that was used last, of those that differ in nothing but the files."""
    before = state.snapshot.id if state.snapshot else ""
    for record in shop.images.following(state.key):
        same = reasons.only_files_differ(inputs, record.inputs)
        # States of one key may differ: that of a build without the cache is another.
        if same and shop.images.was_made_on(before, record.id):
            return record
    return None
