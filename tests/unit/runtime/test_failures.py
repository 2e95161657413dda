"""From a runtime's words to the user's."""

from __future__ import annotations

import json

import pytest

from kleene.errors import CommandFailed, CommandNotStarted, InvalidInput, KleeneError, NotFound
from kleene.runtime.driver import ProcessSpec
from kleene.runtime.failures import messages, not_started

RUNC = "exec failed: unable to start container process: "


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            f'{RUNC}exec: "x": executable file not found in $PATH',
            InvalidInput,
            "'x' does not exist",
        ),
        (f'{RUNC}exec: "/x": stat /x: no such file or directory', InvalidInput, "does not exist"),
        (f'{RUNC}exec: "/x": permission denied', InvalidInput, "may not be executed by user 'ann'"),
        (f'{RUNC}exec: "/x": is a directory', InvalidInput, "may not be executed"),
        (f"{RUNC}exec /x: exec format error", InvalidInput, "not a program for this machine"),
        (
            f'{RUNC}chdir to cwd ("/w") set in config.json failed: permission denied',
            InvalidInput,
            "'/w' cannot be entered by user 'ann'",
        ),
        ("executable file `x` not found in $PATH: No such file or directory", InvalidInput, "'x'"),
        ("cannot exec in a stopped container", NotFound, "is not running"),
        ("container does not exist", NotFound, "is not running"),
        ("seccomp: cannot load", CommandFailed, "'runc' failed"),
        ("", CommandFailed, "'runc' failed"),
    ],
)
def test_causes(text: str, kind: type[KleeneError], words: str) -> None:
    error = not_started("c", ProcessSpec(["x"], cwd="/w", user="ann"), "runc", text)
    assert isinstance(error, kind)
    assert words in error.message


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("executable file not found in $PATH", 127),
        ("stat /x: no such file or directory", 127),
        ("exec: permission denied", 126),
        ("exec format error", 126),
    ],
)
def test_exit_statuses_are_those_of_a_shell(text: str, status: int) -> None:
    error = not_started("c", ProcessSpec(["x"]), "runc", text)
    assert isinstance(error, CommandNotStarted)
    assert error.exit_code == status


def test_only_errors_of_a_log_are_told() -> None:
    log = [
        {"level": "warning", "msg": "never mind"},
        {"level": "error", "msg": "this is it"},
        {"level": "fatal", "msg": "and this"},
        7,
    ]
    assert messages("\n".join(map(json.dumps, log)) + "\nplain") == "this is it\nand this\nplain"
