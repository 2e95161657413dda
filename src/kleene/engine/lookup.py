"""From what a user typed to the record that is meant: names, ids and their unique prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from kleene import names
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.metadata.containers import ContainerRecord, ContainerStore
from kleene.metadata.images import ImageRecord, ImageStore, SnapshotRecord
from kleene.metadata.networks import NetworkRecord, NetworkStore


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Found = TypeVar("Found", bound=_Identified)


def unknown(kind: str, text: str, known: Iterable[str], list_command: str) -> NotFound:
    """That there is no object ``text``, with the one of ``known`` that may have been meant."""
    near = names.nearest(text, known)
    remedy = f"did you mean '{near}'?" if near else f"list what there is: {list_command}"
    return NotFound(f"no such {kind}: '{text}'", hint=remedy)


def _by_prefix(
    kind: str,
    text: str,
    search: Callable[[str], Sequence[Found]],
    known: Callable[[], Iterable[str]],
    list_command: str,
) -> Found:
    found = search(text) if names.is_id_prefix(text) else []
    exact = [record for record in found if record.id == text]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise Conflict(
            f"{kind} '{text}' is ambiguous",
            hint=f"write more of the id: {', '.join(sorted(map(_described, found))[:10])}",
        )
    raise unknown(kind, text, known(), list_command)


def _described(record: _Identified) -> str:
    """An id, and the name that people know the object by."""
    name, tag = getattr(record, "name", None), getattr(record, "tag", None)
    called = f"{name}:{tag}" if name and tag else name
    return f"{record.id} ({called})" if called else record.id


def container(store: ContainerStore, text: str) -> ContainerRecord:
    """The container of this name, id or unique prefix.

    Raises:
        NotFound: there is none.
        Conflict: several ids begin so.
    """
    named = store.by_name(text)
    return named or _by_prefix(
        "container", text, store.by_prefix, lambda: [r.name for r in store.ready()], "klee lsc -a"
    )


def network(store: NetworkStore, text: str) -> NetworkRecord:
    """The network of this name, id or unique prefix; errors as for :func:`container`."""
    named = store.by_name(text)
    return named or _by_prefix(
        "network",
        text,
        store.by_prefix,
        lambda: [r.name for r in store.networks.where()],
        "klee lsn; or make one: klee network create NAME",
    )


def image(store: ImageStore, text: str) -> tuple[ImageRecord, SnapshotRecord]:
    """The image and the snapshot that ``ID|NAME[:TAG][@SNAPSHOT]`` means.

    Raises:
        InvalidInput: not an image reference.
        NotFound: there is no such image, tag or snapshot.
        Conflict: several ids begin so.
    """
    reference = names.parse_image_reference(text)
    record = _image(store, reference)
    if reference.snapshot is None:
        assert record.snapshot is not None
        found = store.snapshots.get(record.snapshot)
        assert found is not None
        return record, found
    return record, _snapshot(store, record, reference.snapshot)


def whole_image(store: ImageStore, text: str) -> ImageRecord:
    """The image that ``ID|NAME[:TAG]`` means, where one of its states will not do.

    Raises:
        InvalidInput: a snapshot is named, or it is no image reference.
        NotFound, Conflict: see :func:`image`.
    """
    record, _ = image(store, text)
    if "@" in text:
        raise InvalidInput(
            f"'{text}' is one state of an image, and this is done to an image as a whole",
            hint="leave '@' and what follows out; to make an image of the state: FROM IMAGE@SNAPSHOT",
        )
    return record


def _image(store: ImageStore, reference: names.ImageReference) -> ImageRecord:
    name, tag = reference.name, reference.tag
    named = store.by_nametag(name, tag or names.DEFAULT_TAG)
    if named is not None:
        return named
    if tag is None and names.is_id_prefix(name) and store.by_prefix(name):
        return _by_prefix("image", name, store.by_prefix, list, "klee lsi")
    tags = sorted(r.tag for r in store.ready() if r.name == name and r.tag is not None)
    if tags:
        raise NotFound(
            f"no such image: '{reference.nametag}'",
            hint=f"'{name}' has other tags: {', '.join(tags[:10])}",
        )
    near = names.nearest(name, {r.name for r in store.ready() if r.name})
    raise NotFound(
        f"no such image: '{reference.nametag}'",
        hint=f"did you mean '{near}'?"
        if near
        else "list what there is with 'klee lsi', or make one with 'klee build' or 'klee image create'",
    )


def _snapshot(store: ImageStore, record: ImageRecord, prefix: str) -> SnapshotRecord:
    steps = store.instructions(record.id)
    own = {s for i in steps for s in (i.snapshot_id, i.before)} | {record.snapshot}
    found = names.candidates(prefix, [s for s in own if s is not None])
    subject = f"{record.name}:{record.tag}" if record.name else record.id
    if len(found) == 1:
        snapshot = store.snapshots.get(found[0])
        if snapshot is None:
            raise NotFound(
                f"snapshot '@{found[0]}' of image '{subject}' was pruned",
                hint=f"see which are kept: klee image history {subject}",
            )
        return snapshot
    if found:
        raise Conflict(
            f"snapshot '@{prefix}' of image '{subject}' is ambiguous",
            hint=f"write more of the id: {', '.join(found[:10])}",
        )
    raise NotFound(
        f"no such snapshot: '@{prefix}' of image '{subject}'",
        hint=f"list its snapshots: klee image inspect {subject}",
    )


def environment(lines: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` lines as a mapping; later ones win.

    Raises:
        InvalidInput: a line has no name or no ``=``.
    """
    result: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name or "\0" in line:
            raise InvalidInput(
                f"environment variable '{line}' is not valid", hint="write NAME=VALUE"
            )
        result[name] = value
    return result


def merge_environment(*layers: Sequence[str]) -> list[str]:
    """``NAME=VALUE`` lines of several layers, a later one winning; the order of first mention."""
    merged: dict[str, str] = {}
    for layer in layers:
        merged.update(environment(layer))
    return [f"{name}={value}" for name, value in merged.items()]
