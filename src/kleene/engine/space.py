"""Space on disk: what every object holds, what pruning would free, and pruning of images and the build cache.

A prune is planned, shown, and then carried out on what was shown: objects that came meanwhile are not
touched, and what is in use by then stays.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kleene.engine import holdings, lookup
from kleene.engine.context_store import Stored
from kleene.engine.contexts import Contexts
from kleene.engine.core import Core, iso_time
from kleene.engine.filters import Words
from kleene.engine.holdings import NOTHING, Going, Holdings, Reference, State
from kleene.engine.images import Images
from kleene.engine.pruning import to_prune
from kleene.engine.times import parse_since
from kleene.errors import Conflict, NotFound
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.images import ImageRecord
from kleene.metadata.space import SpaceStore
from kleene.metadata.volumes import VolumeRecord
from kleene.schemas.filters import parse
from kleene.schemas.space import (
    HeldObject,
    ImageSize,
    KindUsage,
    PrunePlan,
    SnapshotSize,
    SystemUsage,
)
from kleene.storage.driver import Files, Part, Snapshot, Usage

_WIDTH = 60


@dataclass(frozen=True)
class Entry:
    """An object of which the space is not known yet; ``parts``: what goes with it alone."""

    shown: HeldObject
    parts: list[Part]
    going: Going = NOTHING


class Space:
    """What there is on disk, and prunes of what is made of snapshots."""

    def __init__(self, core: Core, images: Images, contexts: Contexts) -> None:
        self._core = core
        self._contexts = contexts
        self._images = images
        self._store = SpaceStore(core.database)
        self._one = asyncio.Lock()

    def holdings(self) -> Holdings:
        """What refers to what, now."""
        present = self._core.containers.present()
        return Holdings(
            images={record.id: record for record in self._core.images.images.where()},
            states={row[0]: State(*row) for row in self._store.states()},
            references=[Reference(*row) for row in self._store.references()],
            used_images=frozenset(c.image_id for c in present),
            used_states=frozenset(c.snapshot for c in present),
        )

    # --- What there is

    async def usage(self) -> SystemUsage:
        """All objects, and what pruning would free."""
        held, stored = self.holdings(), await self._contexts.stored()
        kinds, groups = await asyncio.to_thread(
            _kinds, held, self._containers(), self._volumes(), self.mounts(), stored
        )
        found = iter(await self.measure(groups))
        shown = {
            kind: [_measured(e.shown, next(found)) for e in entries]
            for kind, entries in kinds.items()
        }
        own, prunable = [next(found) for _ in kinds], [next(found) for _ in kinds]
        return SystemUsage(
            kinds=[
                KindUsage(
                    kind=kind,  # type: ignore[arg-type]
                    count=len(objects),
                    active=sum(not each.prunable for each in objects),
                    own=own[index].exclusive,
                    prunable=prunable[index].exclusive,
                    objects=objects,
                )
                for index, (kind, objects) in enumerate(shown.items())
            ],
            own=next(found).exclusive,
            prunable=next(found).exclusive,
            free=await self._core.platform.storage.pool_free(),
        )

    async def of_image(self, reference: str) -> ImageSize:
        """What one image holds, and each of its snapshots."""
        record, _ = lookup.image(self._core.images, reference)
        held = self.holdings()
        wanted = {r.snapshot for r in held.references if r.image == record.id} | {record.snapshot}
        states = [state for state in held.states.values() if state.id in wanted]
        alone = [[Snapshot(f"image/{s.image}", s.id)] for s in states]
        going = held.parts(Going(frozenset([record.id])))
        last = [part for part in (_part(held, record.snapshot),) if part is not None]
        # What of the last state goes is what its removal frees less what it frees without that state.
        rest = [part for part in going if part not in last and part != record.dataset]
        own, state, others, *found = await self.measure([going, last, rest, *alone])
        lost = own.exclusive - others.exclusive if going else 0
        return ImageSize(
            own=own.exclusive,
            shared=max(state.referenced - lost, 0),
            size=state.referenced,
            snapshots=[
                SnapshotSize(s.id, usage.exclusive, usage.referenced)
                for s, usage in zip(states, found, strict=True)
            ],
        )

    async def measure(self, groups: Sequence[Sequence[Part]]) -> list[Usage]:
        """What groups of datasets, snapshots and files hold: :meth:`StorageDriver.space`."""
        # Contexts may share blocks with images, and with one another.
        contexts = [part for each in await self._contexts.stored() for part in _files(each)]
        return (await self._core.platform.storage.space([*groups, contexts]))[:-1]

    def mounts(self) -> list[Entry]:
        """All caches of ``RUN --mount=type=cache``."""
        caches = self._images.caches
        return [
            Entry(
                _held("mount", r.id, r.name, r.used, prunable=not caches.in_use(r.id)), [r.dataset]
            )
            for r in self._core.caches.ready()
        ]

    def _containers(self) -> list[Entry]:
        return [_container(record) for record in self._core.containers.ready()]

    def _volumes(self) -> list[Entry]:
        used = {m.source for c in self._core.containers.present() for m in c.mounts}
        return [
            Entry(
                _held("volume", r.name, r.name, r.created, prunable=r.name not in used),
                self._volume_parts(r),
            )
            for r in self._core.volumes.ready()
        ]

    def _volume_parts(self, record: VolumeRecord) -> list[Part]:
        """A volume with its snapshots, wherever these lie."""
        snapshots = self._core.volumes.snapshots_of(record.name)
        datasets = sorted(self._core.volumes.datasets_of(record.name))
        return [*datasets, *(Snapshot(s.dataset, s.id) for s in snapshots)]

    # --- Prunes

    async def plan_images(self, *, every: bool, filters: Words = ()) -> PrunePlan:
        """What :meth:`prune_images` would take, and free."""
        held = self.holdings()
        return await self._plan(
            held, await asyncio.to_thread(_images_to_prune, held, every, filters)
        )

    async def plan_cache(self, *, every: bool, filters: Words = ()) -> PrunePlan:
        """What :meth:`prune_cache` would take, and free."""
        until = _limit(filters)
        held = self.holdings()
        entries = await asyncio.to_thread(_cache_to_prune, held, self.mounts(), every, until)
        contexts = [_context(each) for each in await self._contexts.stored(until)]
        return await self._plan(held, [*entries, *_prunable(contexts)])

    async def _plan(self, held: Holdings, entries: list[Entry]) -> PrunePlan:
        groups = [*(entry.parts for entry in entries), parts_of(held, entries)]
        *single, together = await self.measure(groups)
        objects = [_measured(e.shown, usage) for e, usage in zip(entries, single, strict=True)]
        return PrunePlan(objects, together.exclusive)

    async def prune_images(
        self, *, every: bool, filters: Words = (), only: Collection[str] | None = None
    ) -> list[str]:
        """Remove the images that no container uses: those without a name, or ``every``; their ids.

        Args:
            filters: by label, and by the time when they were made; see :func:`to_prune`.
            only: of those, the ones with these ids.
        """
        async with self._one:
            return await self._carry_out(_images_to_prune(self.holdings(), every, filters), only)

    async def prune_cache(
        self, *, every: bool, filters: Words = (), only: Collection[str] | None = None
    ) -> list[str]:
        """Remove snapshots of steps, failed builds, cache mounts and contexts that nothing uses; their ids.

        The states that images are stay, whatever their names. Without ``every`` the steps of named images
        stay too.

        Args:
            filters: by the time when they were used last.
            only: of those, the ones with these ids.
        """
        until = _limit(filters)
        async with self._one:
            entries = _cache_to_prune(self.holdings(), self.mounts(), every, until)
            gone = await self._carry_out(entries, only)
            return gone + await self._contexts.discard(only, until)

    async def _carry_out(self, entries: list[Entry], only: Collection[str] | None) -> list[str]:
        chosen = [entry for entry in entries if only is None or entry.shown.id in only]
        return await self.discard(chosen)

    async def discard(self, entries: Sequence[Entry]) -> list[str]:
        """Take images, snapshots and cache mounts away; the ids of what went: a mount taken by now stays."""
        gone = []
        await self._forget(together(entries))
        for entry in entries:
            if entry.shown.kind == "mount":
                try:
                    await self._images.caches.remove(entry.shown.id)
                except (Conflict, NotFound):
                    continue
            gone.append(entry.shown.id)
        return gone

    async def _forget(self, going: Going) -> None:
        """Take images and snapshots away, from sight first."""
        with self._core.database.transaction():
            for image in going.images:
                self._images.told("remove", image)
                self._core.images.hide(image)
            for snapshot in going.snapshots:
                self._store.doom(snapshot)
        await self._images.collect()
        await self.finish()

    async def finish(self) -> None:
        """Destroy the snapshots that are doomed: also those that an earlier daemon left."""
        doomed = [each for each in self._store.doomed() if each[0] not in self._core.frozen]
        for snapshot, dataset in doomed:
            await self._core.platform.storage.destroy_snapshot(Snapshot(dataset, snapshot))
            self._store.gone(snapshot)


def _images_to_prune(held: Holdings, every: bool, filters: Words) -> list[Entry]:
    unused = (record for record in held.unused if every or record.name is None)
    return [_image(held, record) for record in to_prune(unused, filters)]


def _kinds(
    held: Holdings,
    containers: list[Entry],
    volumes: list[Entry],
    mounts: list[Entry],
    contexts: Sequence[Stored],
) -> tuple[dict[str, list[Entry]], list[list[Part]]]:
    """All objects by their kind, and what is to be measured: each, each kind, its prune, all, all prunes."""
    kinds = {
        "images": [_image(held, r) for r in held.images.values() if r.state == "ready"],
        "containers": containers,
        "volumes": volumes,
        "build cache": [*_cache(held, every=True), *mounts],
        "build contexts": [_context(each) for each in contexts],
    }
    everything = [entry for entries in kinds.values() for entry in entries]
    groups = [
        *(entry.parts for entry in everything),
        *(parts_of(held, entries) for entries in kinds.values()),
        *(parts_of(held, _prunable(entries)) for entries in kinds.values()),
        parts_of(held, everything),
        parts_of(held, _prunable(everything)),
    ]
    return kinds, groups


def _cache_to_prune(held: Holdings, mounts: list[Entry], every: bool, until: float) -> list[Entry]:
    entries = [*_cache(held, every=every), *_prunable(mounts)]
    if until == math.inf:
        return entries
    return [entry for entry in entries if entry.shown.used < iso_time(until)]


def _cache(held: Holdings, *, every: bool) -> list[Entry]:
    """The build cache: failed builds that no container was made from, and steps."""
    failed = [_image(held, r) for r in held.leftovers if r.tag == holdings.FAILED]
    return [*failed, *(_state(held, state) for state in held.cache(every=every))]


def leftovers(held: Holdings, mounts: list[Entry]) -> list[Entry]:
    """All that builds left, that which retention counts: steps, failed builds, unused cache mounts, images
    without a name.
    """
    return [
        *_prunable(mounts),
        *(_image(held, record) for record in held.leftovers),
        *(_state(held, state) for state in held.cache(every=True)),
    ]


def _limit(filters: Words) -> float:
    """Before when what a prune of builds takes must have been used last, in seconds since the epoch."""
    wanted = parse("build", filters).get("until", ())
    return min((parse_since(each, time.time_ns()) / 1e9 for each in wanted), default=math.inf)


def _context(stored: Stored) -> Entry:
    shown = _held("context", stored.id, stored.name, iso_time(stored.used), prunable=stored.idle)
    return Entry(shown, _files(stored))


def _files(stored: Stored) -> list[Part]:
    return [Files(path) for path in stored.paths]


def _held(kind: str, name: str, shown: str, used: str, *, prunable: bool) -> HeldObject:
    return HeldObject(
        kind=kind,  # type: ignore[arg-type]
        id=name,
        name=shown,
        used=used,
        own=0,
        size=0,
        prunable=prunable,
    )


def _measured(shown: HeldObject, usage: Usage) -> HeldObject:
    shown.own, shown.size = usage.exclusive, usage.referenced
    return shown


def _image(held: Holdings, record: ImageRecord) -> Entry:
    going = Going(images=frozenset([record.id]))
    prunable = record.id not in held.used_images
    name = holdings.names_of(record)
    shown = _held("image", record.id, name, record.created, prunable=prunable)
    return Entry(shown, held.parts(going), going)


def _container(record: ContainerRecord) -> Entry:
    prunable = not record.running and not record.persist
    shown = _held("container", record.id, record.name, record.created, prunable=prunable)
    return Entry(shown, [record.dataset])


def _state(held: Holdings, state: State) -> Entry:
    going = Going(snapshots=frozenset([state.id]))
    step = held.steps.get(state.id)
    name = step.text[:_WIDTH] if step else ""
    shown = _held("snapshot", state.id, name, state.used, prunable=True)
    return Entry(shown, held.parts(going), going)


def _part(held: Holdings, snapshot: str | None) -> Snapshot | None:
    state = held.states.get(snapshot or "")
    return None if state is None else Snapshot(f"image/{state.image}", state.id)


def _prunable(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.shown.prunable]


def together(entries: Sequence[Entry]) -> Going:
    """All that goes when these go."""
    going = NOTHING
    for entry in entries:
        going |= entry.going
    return going


def parts_of(held: Holdings, entries: Sequence[Entry]) -> list[Part]:
    """What goes when all of these go: more than what goes with each, where several keep one thing."""
    plain = [part for entry in entries if entry.going == NOTHING for part in entry.parts]
    return [*plain, *held.parts(together(entries))]
