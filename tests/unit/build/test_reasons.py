"""Why a state is not in the cache."""

from __future__ import annotations

import os
import stat

from kleene.build import manifests, reasons
from kleene.build.steps import CopyStep, RunStep, WorkdirStep
from kleene.dockerfile.source import Position, Range
from kleene.host.treewalk import Entry

HEAD = (1, "", Range(Position(1, 1), Position(1, 1)))


def run(*env: str, args: tuple[str, ...] = ("a",), cwd: str = "/") -> reasons.Inputs:
    return reasons.inputs(RunStep(*HEAD, args, env, cwd, ""), [], None, "")


def miss(wanted: reasons.Inputs, known: list[reasons.Inputs]) -> str:
    nearest = reasons.nearest_of(wanted, known)
    return reasons.NEW if nearest is None else reasons.miss(nearest[1])


def test_what_differs_from_the_nearest_is_named() -> None:
    known = [run("A=1", "B=1"), run("A=1", "B=2", args=("b",))]
    assert miss(run("A=1", "B=2"), known) == "variable 'B' changed"
    assert miss(run("A=1", "B=1", args=("c",)), known) == "the command changed"
    told = miss(run("A=1", "B=1", args=("c",), cwd="/x"), known)
    assert told == "the command and the working directory changed"


def test_files_and_directories() -> None:
    copy = CopyStep(*HEAD, ("a",), "/", True)
    directory = WorkdirStep(*HEAD, "/srv", "")
    known = [reasons.inputs(copy, [], "1", "")]
    assert miss(reasons.inputs(copy, [], "2", ""), known) == "the files changed"
    with_directory = reasons.inputs(copy, [directory], "1", "")
    assert miss(with_directory, known) == "the working directories changed"


def test_another_instruction_is_told_as_such() -> None:
    known = [reasons.inputs(CopyStep(*HEAD, ("a",), "/", True), [], "1", "")]
    assert miss(run("A=1"), known) == "the instruction changed"


def test_nothing_to_compare_with() -> None:
    assert miss(run(), []) == reasons.NEW


def test_no_value_is_kept() -> None:
    assert "secret" not in repr(run("TOKEN=secret", args=("use", "secret")))


def entry(path: str, mode: int = 0o644, kind: int = stat.S_IFREG) -> Entry:
    times = {"st_mtime_ns": 0}
    return Entry(path, os.stat_result((kind | mode, 1, 1, 1, 5, 6, 0, 0, 0, 0), times))


def manifest(*entries: tuple[Entry, bytes], owner: bool = False) -> bytes:
    lines = (
        manifests.line(found, stat.S_IMODE(found.stat.st_mode), content, owner=owner)
        for found, content in entries
    )
    return manifests.pack(lines)


def test_files_are_named() -> None:
    old = manifest((entry("a"), b"1"), (entry("b"), b"1"), (entry("c"), b"1"), (entry("s"), b"1"))
    new = manifest(
        (entry("a"), b"2"), (entry("b", 0o600), b"1"), (entry("\x1bd"), b"1"), (entry("s"), b"1")
    )
    told = manifests.changes(old, new)
    assert told.startswith("'")
    assert "\x1b" not in told
    assert "'a' (content)" in told
    assert "'b' (mode)" in told
    assert "'c' (removed)" in told
    assert "(added)" in told
    assert "'s'" not in told
    assert manifests.changes(new, new) == ""
    link = manifest((entry("a", kind=stat.S_IFLNK), b"target"))
    assert manifests.changes(old, link).startswith("'a' (type), 'b' (removed)")
    many = manifest(*((entry(f"f{number:02}"), b"1") for number in range(20)))
    assert manifests.changes(manifest(), many).endswith("'f03' (added) and 16 more")
    assert reasons.miss(["the files"], "'a' (mode)") == "the files changed: 'a' (mode)"
