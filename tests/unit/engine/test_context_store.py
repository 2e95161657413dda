"""Contexts of clients on disk: what is missing, what is refused, what goes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import struct
import tarfile
import time
from pathlib import Path

import pytest

from kleene.contexts.manifest import Item, decode, encode
from kleene.engine.context_store import ContextLimits, ContextStore
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.host.threads import Stop
from kleene.schemas.constants import BLOB_HEADER
from kleene.storage import files_space
from kleene.storage.driver import Files

BIG = 10**9


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(path: str, data: bytes, mode: int = 0o644) -> Item:
    return Item(path, "f", mode, 10**18, len(data), sha(data))


def frame(data: bytes, start: int = 0, digest: str = "", cut: int | None = None) -> bytes:
    head = struct.pack(BLOB_HEADER, bytes.fromhex(digest or sha(data)), start, len(data) - start)
    return head + data[start:cut]


class Store(ContextStore):
    def take(self, *frames: bytes) -> None:
        self.blobs.receive(io.BytesIO(b"".join(frames)), self.limits.size)

    def ask(self, *items: Item, mode: int = 0o755) -> tuple[str, dict[str, int]]:
        offer = self.offer(io.BytesIO(encode("here", mode, items)))
        return offer.id, offer.missing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s", ContextLimits(size=BIG, entries=10, kept=BIG))


def test_a_context_is_what_the_client_listed(store: Store) -> None:
    items = (
        Item("d", "d", 0o500, 10**18),
        file("d/x", b"same", 0o755),
        file("d/y", b"same", 0o4600),
        Item("l", "l", 0o777, 10**18, 0, "/etc/passwd"),
    )
    context, missing = store.ask(*items, mode=0o711)
    assert missing == {sha(b"same"): 0}
    store.take(frame(b"same"))
    assert store.ask(*items, mode=0o711) == (context, {})
    with store.opened(context) as tree:
        assert store.make(context, Stop()) == "here"
        found = {path.name: path.lstat() for path in (tree, *tree.rglob("*"))}
        assert (tree / "d/x").read_bytes() == b"same"
        assert (tree / "l").readlink() == Path("/etc/passwd")
    modes = [stat.S_IMODE(found[name].st_mode) for name in (context, "d", "x", "y")]
    assert modes == [0o711, 0o500, 0o755, 0o4600]
    assert {found[name].st_mtime for name in ("d", "x", "y", "l")} == {10**9}
    assert found["x"].st_ino != found["y"].st_ino


def test_what_has_come_of_a_content_is_not_sent_again(store: Store, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with pytest.raises(InvalidInput, match="breaks off"):
        store.take(frame(b"small"), frame(data, cut=2_000_000))
    context, missing = store.ask(file("big", data), file("small", b"small"))
    assert missing == {sha(data): 2_000_000}
    half = tmp_path / "s/trees/left.tmp"
    half.mkdir()
    again = Store(tmp_path / "s", store.limits)  # as after a restart: what was half-made goes
    assert not half.exists()
    assert again.ask(file("big", data))[1] == {sha(data): 2_000_000}
    with pytest.raises(Conflict, match="wrong place"):
        again.take(frame(data, start=2_500_000))
    again.take(frame(data, start=2_000_000))
    assert again.ask(file("big", data))[1] == {}
    with again.opened(context) as tree:
        again.make(context, Stop())
        assert (tree / "big").read_bytes() == data


def test_contents_that_are_not_what_they_are_called(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="changed while it was sent"):
        store.take(frame(b"changed", digest=sha(b"x")))
    with pytest.raises(InvalidInput, match="breaks off"):
        store.take(b"short")
    with pytest.raises(InvalidInput, match="more than"):
        store.take(struct.pack(BLOB_HEADER, bytes(32), 0, BIG + 1))
    assert store.ask(file("x", b"x"))[1] == {sha(b"x"): 0}
    store.take(frame(b"x"))
    store.blobs.path(sha(b"x")).write_bytes(b"y")  # as after a power cut
    assert Store(tmp_path / "s", store.limits).ask(file("x", b"x"))[1] == {sha(b"x"): 0}


def test_contexts_that_are_not_there(store: Store) -> None:
    for name in ("../blobs", "x" * 32, ""):
        with pytest.raises(InvalidInput, match="no id"):
            store.make(name, Stop())
    with pytest.raises(NotFound, match="no build context"):
        store.make("0" * 32, Stop())
    context, _ = store.ask(file("x", b"never sent"))
    with pytest.raises(Conflict, match="not all files"):
        store.make(context, Stop())
    assert not list((store.blobs.path(sha(b"")).parents[2] / "trees").iterdir())


def test_the_oldest_go_first_and_what_is_used_stays(tmp_path: Path) -> None:
    limits = ContextLimits(size=BIG, entries=10, kept=25_000, age=1000)
    store = Store(tmp_path / "s", limits)
    context, _ = store.ask(file("0", b"0" * 10_000))
    for number in range(4):
        data = b"%d" % number * 10_000
        store.take(frame(data))
        moment = time.time() - 500 + number * 100
        os.utime(store.blobs.path(sha(data)), (moment, moment))
    there = [store.blobs.path(sha(b"%d" % number * 10_000)) for number in range(4)]
    store.prune()
    assert all(path.exists() for path in there)  # they may be part of an upload that goes on
    store.limits = dataclasses.replace(limits, young=0)
    store.prune()
    assert [path.exists() for path in there] == [False, False, True, True]
    with store.opened(context) as tree:
        tree.mkdir()
        os.utime(tree, (1, 1))
        store.prune()
        assert tree.exists()
    os.utime(tree, (1, 1))
    store.prune()
    assert not tree.exists()


def test_a_list_that_lies_about_a_size_takes_nothing_away_and_gets_nothing(store: Store) -> None:
    data = b"x" * 1000
    honest, _ = store.ask(file("x", data))
    store.take(frame(data))
    lie = Item("x", "f", 0o644, 10**18, 0, sha(data))
    with pytest.raises(InvalidInput, match="not the size"):
        store.ask(lie)
    assert store.ask(file("x", data)) == (honest, {})
    other = b"y" * 1000  # told before its content was there
    context, _ = store.ask(Item("y", "f", 0o644, 10**18, 0, sha(other)))
    store.take(frame(other))
    with pytest.raises(Conflict, match="not the size"):
        store.make(context, Stop())


def test_an_archive_does_not_take_the_place_of_a_list(store: Store) -> None:
    trojan = io.BytesIO()
    with tarfile.open(fileobj=trojan, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("evil"))
    items = file("x", b"x")
    context = decode(io.BytesIO(encode("", 0o755, [items])), entries=1, size=1).id
    store.extract(context, io.BytesIO(trojan.getvalue()))  # the id can be told from the files
    with store.opened(context), pytest.raises(Conflict, match="another context of this id"):
        store.ask(items)
    assert store.ask(items)[0] == context
    store.take(frame(b"x"))
    with pytest.raises(Conflict, match="already"):
        store.extract(context, io.BytesIO(trojan.getvalue()))
    with store.opened(context) as tree:
        store.make(context, Stop())
        assert [path.name for path in tree.iterdir()] == ["x"]


def test_two_archives_of_one_id_do_not_harm_each_other(store: Store) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    token = "0" * 32

    class Second(io.BytesIO):
        """While the first is read, another one comes and breaks off."""

        def read(self, size: int | None = -1, /) -> bytes:
            if not self.tell():
                with pytest.raises(InvalidInput):
                    store.extract(token, io.BytesIO(b"none"))
            return super().read(size)

    store.extract(token, Second(content.getvalue()))
    with store.opened(token) as tree:
        assert [path.name for path in tree.iterdir()] == ["x"]


def test_what_a_kill_left_goes(store: Store, tmp_path: Path) -> None:
    store.take(frame(b"x"))
    left = [
        tmp_path / "s/parts" / f"{sha(b'y')}.12345678",
        store.blobs.path(sha(b"x")).with_suffix(".gone"),
        tmp_path / "s/lists/x.gone",
    ]
    for path in left:
        path.write_bytes(b"z")
    again = Store(tmp_path / "s", store.limits)
    assert not any(path.exists() for path in left)
    assert again.ask(file("x", b"x"))[1] == {}


def test_what_is_kept_is_told_and_goes_exactly(store: Store, tmp_path: Path) -> None:
    context, _ = store.ask(file("a", b"a" * 5000), file("b", b"b" * 100))
    store.take(frame(b"a" * 5000), frame(b"b" * 100))
    store.make(context, Stop())
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    store.extract("0" * 32, io.BytesIO(content.getvalue()))
    told = {each.id: each for each in store.stored()}
    assert told.keys() == {context, "0" * 32, "recent-contents"}
    assert told[context].name == "here" and told["0" * 32].name == "an archive"
    assert not any(each.idle for each in told.values())
    assert store.discard(None) == []
    for path in (tmp_path / "s").rglob("*"):
        os.utime(path, (1000, 1000))
    os.utime(store.blobs.path(sha(b"b" * 100)))
    told = {each.id: each for each in store.stored()}
    assert told.keys() == {context, "0" * 32, "contents", "recent-contents"}
    assert store.discard(None, before=1000) == []
    before = on_disk(tmp_path)
    groups = [
        [Files(path) for path in told[each].paths] for each in ("0" * 32, "contents", context)
    ]
    held = [usage.exclusive for usage in files_space.measure(groups, lambda: None)]
    with store.opened(context):
        os.utime(tmp_path / "s/trees" / context, (1000, 1000))
        assert set(store.discard(None)) == {"0" * 32, "contents"}
    assert before - on_disk(tmp_path) == held[0] + held[1] > 5000
    os.utime(tmp_path / "s/trees" / context, (1000, 1000))
    assert store.discard([context, "x"]) == [context]
    assert before - on_disk(tmp_path) == sum(held)


def on_disk(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))
