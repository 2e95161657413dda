"""COPY onto what it made before: the same as a copy of all, whatever changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kleene.build import selection
from kleene.build.context import Context
from kleene.build.manifests import Delta
from kleene.build.selection import Earlier
from kleene.errors import KleeneError
from kleene.host import inroot

NAMES = st.sampled_from(["a", "b", "c", "d"])
START = 1_700_000_000


class Node(NamedTuple):
    """What a directory has: ``kind`` is ``f``, ``l``, ``d``, or ``h``, one of the names of a common file."""

    kind: str
    text: str = ""
    mode: int = 0o755
    time: int = START
    below: dict[str, Node] | None = None


MODES, TIMES = st.sampled_from([0o644, 0o755, 0o600]), st.integers(START, START + 3)
TEXTS = st.sampled_from(["", "one", "two"])
LEAVES = st.one_of(
    st.builds(Node, st.just("f"), TEXTS, MODES, TIMES),
    st.builds(Node, st.just("h"), st.just("common"), st.just(0o644), st.just(START)),
    st.builds(Node, st.just("l"), st.sampled_from(["a", "/b", "../c"]), st.just(0), TIMES),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=4),
    lambda inner: st.dictionaries(
        NAMES,
        st.one_of(
            LEAVES,
            st.builds(
                Node, st.just("d"), st.just(""), st.sampled_from([0o755, 0o700]), TIMES, inner
            ),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


def write(tree: dict[str, Node], root: Path, common: Path) -> None:
    root.mkdir(exist_ok=True)
    for name, node in tree.items():
        path = root / name
        if node.kind == "d":
            write(node.below or {}, path, common)
        elif node.kind == "l":
            path.symlink_to(node.text)
        elif node.kind == "h":
            path.hardlink_to(common)
        else:
            path.write_text(node.text)
        if node.kind in "fd":
            path.chmod(node.mode)
        os.utime(path, (node.time, node.time), follow_symlinks=False)
    os.utime(root, (START, START))


def context(tree: dict[str, Node], at: Path) -> Path:
    """A context whose files are below ``files``."""
    at.mkdir()
    common = at / "common"
    common.write_text("common")
    os.utime(common, (START, START))
    write(tree, at / "files", common)
    return at


def listing(root: Path, to: str) -> dict[str, tuple[object, ...]]:
    """All that is there, with what can be seen of it."""
    first: dict[int, str] = {}
    destination = inroot.stat(root, to).st_ino if inroot.exists(root, to) else None
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = (
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        )
        link = first.setdefault(status.st_ino, name) if kind == stat.S_IFREG else name
        # A destination that was there before the COPY has the time of the last change in it.
        time = status.st_mtime_ns if status.st_ino != destination else None
        found[name] = (kind, stat.S_IMODE(status.st_mode), status.st_uid, content, link, time)
    return found


async def copy(source: Path, root: Path, to: str, earlier: Earlier | None = None) -> bytes:
    with Context.open(source) as opened:
        taken = await opened.select(["files"])
        await taken.copy_into(root, to, directory=to.endswith("/"), earlier=earlier)
        return await taken.manifest()


async def delta(source: Path, listed: bytes, before: Path, to: str) -> Delta | None:
    with Context.open(source) as opened:
        return await (await opened.select(["files"])).delta(listed, before, to)


async def both(tmp: Path, old: Path, new: Path, to: str) -> bool:
    """Compare a copy of all with a change of what was copied before; whether there was one."""
    whole, changed = tmp / "whole", tmp / "changed"
    shutil.copytree(tmp / "image", changed, symlinks=True)
    listed = await copy(old, changed, to)
    found = await delta(new, listed, tmp / "image", to)
    if found is None:
        return False
    await copy(new, changed, to, Earlier(tmp / "image", found))
    shutil.copytree(tmp / "image", whole, symlinks=True)
    await copy(new, whole, to)
    assert listing(changed, to) == listing(whole, to)
    return True


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_MANY", 0)
    monkeypatch.setattr(selection.Selection, "_is_worth_it", lambda *_: True)


def edited(data: st.DataObject, tree: dict[str, Node], other: dict[str, Node]) -> dict[str, Node]:
    """A tree with some changes: parts of another, other times, and names that are gone."""
    result = {}
    for name in sorted({*tree, *other}):
        how = data.draw(st.sampled_from(["kept", "kept", "kept", "touched", "other", "gone"]))
        node = other.get(name) if how == "other" else tree.get(name)
        if node is None or how == "gone":
            continue
        if how == "touched":
            node = node._replace(time=node.time + 1)
        if node.kind == "d" and how != "other":
            node = node._replace(below=edited(data, node.below or {}, other))
        result[name] = node
    return result


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    image=TREES,
    old=TREES,
    other=TREES,
    data=st.data(),
    to=st.sampled_from(["/", "/a", "/a/", "/new", "/new/"]),
)
def test_it_is_the_same_as_a_copy_of_all(
    image: dict[str, Node],
    old: dict[str, Node],
    other: dict[str, Node],
    data: st.DataObject,
    to: str,
) -> None:
    new = edited(data, old, other)
    with tempfile.TemporaryDirectory() as name:
        tmp = Path(name)
        context(image, tmp / "start")
        (tmp / "start" / "files").rename(tmp / "image")
        sources = context(old, tmp / "old"), context(new, tmp / "new")
        try:
            event(f"changed: {asyncio.run(both(tmp, *sources, to))}")
        except KleeneError as error:  # a file is where a directory must be
            event("refused")
            assert "cannot be" in str(error)
