"""Why a state is not in the cache."""

from __future__ import annotations

from kleene.build import reasons
from kleene.build.steps import CopyStep, RunStep, WorkdirStep
from kleene.dockerfile.source import Position, Range

HEAD = (1, "", Range(Position(1, 1), Position(1, 1)))


def run(*env: str, args: tuple[str, ...] = ("a",), cwd: str = "/") -> reasons.Inputs:
    return reasons.inputs(RunStep(*HEAD, args, env, cwd, ""), [], None, "")


def test_what_differs_from_the_nearest_is_named() -> None:
    known = [run("A=1", "B=1"), run("A=1", "B=2", args=("b",))]
    assert reasons.miss(run("A=1", "B=2"), known) == "variable 'B' changed"
    assert reasons.miss(run("A=1", "B=1", args=("c",)), known) == "the command changed"
    told = reasons.miss(run("A=1", "B=1", args=("c",), cwd="/x"), known)
    assert told == "the command and the working directory changed"


def test_files_and_directories() -> None:
    copy = CopyStep(*HEAD, ("a",), "/", True)
    directory = WorkdirStep(*HEAD, "/srv", "")
    known = [reasons.inputs(copy, [], "1", "")]
    assert reasons.miss(reasons.inputs(copy, [], "2", ""), known) == "the files changed"
    with_directory = reasons.inputs(copy, [directory], "1", "")
    assert reasons.miss(with_directory, known) == "the working directories changed"


def test_nothing_to_compare_with() -> None:
    assert reasons.miss(run(), []) == reasons.NEW


def test_no_value_is_kept() -> None:
    assert "secret" not in repr(run("TOKEN=secret", args=("use", "secret")))
