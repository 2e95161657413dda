"""What happened in builds: the steps of an image, what changed between two states, which step wrote a file.

Reads snapshots through views that last as long as a request. What a step wrote is counted when somebody asks
for the first time, and kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from kleene.engine import lookup
from kleene.engine.core import Core
from kleene.engine.holdings import names_of
from kleene.errors import InvalidInput, KleeneError, NotFound
from kleene.host import inroot, oserrors
from kleene.metadata.images import ImageRecord, InstructionRecord, SnapshotRecord
from kleene.metadata.space import SpaceStore
from kleene.names import path_of_text, path_text
from kleene.schemas.history import Blame, HistoryStep, StateChange
from kleene.storage.compare import is_directory, signature
from kleene.storage.driver import Snapshot

Signature = tuple[int, ...] | None
Changes = list[StateChange]


@dataclass(frozen=True)
class StateBefore:
    """A state on the way to another one. ``image``, ``step``: the step that made it, if it is known."""

    snapshot: str
    image: str
    step: int


class History:
    """What is known of the states that images went through."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.images
        self._space = SpaceStore(core.database)

    # --- Steps

    async def steps(self, reference: str) -> list[HistoryStep]:
        """The steps of the build that made an image, the failed one among them."""
        record, _ = lookup.image(self._store, reference)
        steps = self._store.instructions(record.id)
        wanted = {s for step in steps for s in (step.snapshot_id, step.before) if s}
        present = self._store.present(wanted)
        return [await self._wire(step, present) for step in steps]

    async def _wire(self, step: InstructionRecord, present: set[str]) -> HistoryStep:
        return HistoryStep(
            number=step.position,
            instruction=step.text,
            snapshot=step.snapshot_id or "",
            before=step.before or "",
            kept=step.snapshot_id in present,
            failed=step.failed,
            cached=step.cached,
            reason=step.reason,
            seconds=step.seconds,
            size=await self._size(step, present),
            key=step.key,
            stage=step.stage,
            stage_name=step.stage_name,
            first_line=step.first_line,
            last_line=step.last_line,
            args=step.args,
            user=step.user,
            workdir=step.cwd,
            shell=step.shell,
            env=self._store.environment(step),
            mounts=step.mounts,
            network=step.network,
            insecure=step.insecure,
        )

    async def _size(self, step: InstructionRecord, present: set[str]) -> int | None:
        """Bytes of the files that a step wrote, whole."""
        if step.size is not None or step.snapshot_id not in present:
            return step.size
        if step.before is None or step.before not in present:
            return None
        changes = await self._changes(step.before, step.snapshot_id)
        size = sum(change.after or 0 for change in changes)
        self._store.set_size(step.image_id, step.position, size)
        return size

    # --- Differences

    async def diff(self, older: str, newer: str) -> Changes:
        """What differs between two states, ``IMAGE[@SNAPSHOT]``, by path."""
        _, one = lookup.image(self._store, older)
        _, other = lookup.image(self._store, newer)
        return sorted(await self._changes(one.id, other.id), key=lambda change: change.path)

    async def _changes(self, older: str, newer: str) -> Changes:
        one, other = self._located(older), self._located(newer)
        pasts = [[s.snapshot for s in self.chain(each)] for each in (older, newer)]
        related = older in pasts[1] or newer in pasts[0]
        shared = (self._store.snapshots.get(s) for s in pasts[1] if s in pasts[0])
        origin = next((Snapshot(s.dataset, s.id) for s in shared if s is not None), None)
        found = self._core.platform.storage.diff(one, other, related=related, origin=origin)
        return [StateChange(c.kind, path_text(c.path), c.before, c.after) async for c in found]

    def _located(self, snapshot: str) -> Snapshot:
        record = self._store.snapshots.get(snapshot)
        if record is None:
            raise NotFound(f"snapshot '@{snapshot}' was pruned", hint="build the image again")
        return Snapshot(record.dataset, record.id)

    def chain(self, snapshot: str, image: str = "") -> list[StateBefore]:
        """A state and those that it was made from, the newest first; pruned ones too.

        Args:
            image: the one whose steps are told, where several have the same.
        """
        states: dict[str, StateBefore] = {}
        next_: str | None = snapshot
        while next_ is not None and next_ not in states:
            found = self._space.step_to(next_, image)
            owner, number, before = found or ("", 0, None)
            states[next_] = StateBefore(next_, owner, number)
            image, next_ = owner or image, before
        return list(states.values())

    # --- Blame

    async def blame(self, reference: str, path: str) -> Blame:
        """Which step wrote what is at ``path``, or removed it.

        Args:
            path: as it is, or as the API tells it (:func:`kleene.names.path_text`).

        Raises:
            InvalidInput: the path is not absolute.
            NotFound: it was never there.
        """
        if not path.startswith("/") or "\0" in path:
            raise InvalidInput(f"path '{path}' is not absolute", hint="begin it with '/'")
        try:
            return await self._blame(reference, path)
        except NotFound:
            meant = path_of_text(path)
            if meant == path:
                raise
            return await self._blame(reference, meant)

    async def _blame(self, reference: str, path: str) -> Blame:
        record, snapshot = lookup.image(self._store, reference)
        chain = self.chain(snapshot.id, record.id)
        present = self._store.present({state.snapshot for state in chain})
        kept = [index for index, state in enumerate(chain) if state.snapshot in present]
        path, now = await self._resolve(snapshot, path)
        if now is None:
            return await self._who_removed(record, path, chain, kept)
        first = await self._first_with(chain, kept, path, now)
        return self._blamed(record, path, chain, kept, first, found=True)

    async def _first_with(
        self, chain: list[StateBefore], kept: list[int], path: str, now: Signature
    ) -> int:
        """The position among ``kept`` of the oldest state with the file as it is.

        A file that changed and changed back has another change time: so halving finds the place.
        """
        low, high = 0, len(kept)
        while high - low > 1:
            middle = (low + high) // 2
            same = await self._signature(chain[kept[middle]].snapshot, path) == now
            low, high = (middle, high) if same else (low, middle)
        return low

    async def _who_removed(
        self, record: ImageRecord, path: str, chain: list[StateBefore], kept: list[int]
    ) -> Blame:
        for position in range(1, len(kept)):
            if await self._signature(chain[kept[position]].snapshot, path) is not None:
                return self._blamed(record, path, chain, kept, position - 1, found=False)
        raise NotFound(
            f"'{path}' is not in image '{names_of(record) or record.id}', and never was",
            hint="paths begin with '/'; list a directory: klee run --rm IMAGE ls -la /DIRECTORY",
        )

    def _blamed(
        self,
        record: ImageRecord,
        path: str,
        chain: list[StateBefore],
        kept: list[int],
        position: int,
        *,
        found: bool,
    ) -> Blame:
        state = chain[kept[position]]
        step = self._store.step(state.image, state.step) if state.image else None
        older = kept[position + 1] if position + 1 < len(kept) else len(chain)
        earliest = chain[older - 1]
        made = self._made_in(state, record)
        return Blame(
            path=path_text(path),
            found=found,
            image=made.id,
            image_name=names_of(made),
            step=state.step,
            instruction=step.text if step else "",
            snapshot=state.snapshot,
            since=earliest.step if earliest.image == state.image else min(state.step, 1),
        )

    def _made_in(self, state: StateBefore, record: ImageRecord) -> ImageRecord:
        """The image whose build made a state; of a base image, that image."""
        owner = state.image
        if not owner:
            snapshot = self._store.snapshots.get(state.snapshot)
            owner = snapshot.image_id if snapshot else record.id
        return self._store.images.get(owner) or record

    async def _signature(self, snapshot: str, path: str) -> Signature:
        async with self._core.platform.storage.view(self._located(snapshot)) as root:
            return await asyncio.to_thread(_signature_of, root, path)

    async def _resolve(self, snapshot: SnapshotRecord, path: str) -> tuple[str, Signature]:
        """A path with the links on the way to it followed, and what is there."""
        async with self._core.platform.storage.view(self._located(snapshot.id)) as root:
            found = await asyncio.to_thread(_resolved, root, path)
            return found, await asyncio.to_thread(_signature_of, root, found)


def _resolved(root: Path, path: str) -> str:
    """``path`` without links on the way; as it is, if it does not lead to a directory's entry."""
    try:
        parent, name = inroot.split(path)
    except OSError as error:
        raise InvalidInput(
            f"path '{path}' does not name a file", hint="write its whole path"
        ) from error
    try:
        fd = inroot.open_in_root(root, parent, inroot.O_PATH | os.O_DIRECTORY)
    except OSError:
        return path
    with inroot.root_fd(root) as top, contextlib.ExitStack() as stack:
        stack.callback(os.close, fd)
        above = str(Path(f"/proc/self/fd/{top}").readlink())
        inside = str(Path(f"/proc/self/fd/{fd}").readlink())[len(above) :]
    return f"{inside}/{name}"


def _signature_of(root: Path, path: str) -> Signature:
    try:
        found = inroot.stat(root, path, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _explained(error, path) from error
    number = (found.st_ino,) if is_directory(found) else ()
    return (*number, *signature(found))


def _explained(error: OSError, path: str) -> KleeneError:
    return oserrors.explain(error, f"'{path}' in the image")
