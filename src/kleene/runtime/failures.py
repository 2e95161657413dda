"""Why a process could not be started: from the runtime's own words to the user's. Pure.

runc and crun say it in free text; with ``--log-format json`` at least their lines can be told apart. What is
not recognised here stays a failed command, with the text.
"""

from __future__ import annotations

import json
import re

from kleene.errors import CommandFailed, CommandNotStarted, KleeneError, NotFound
from kleene.runtime.driver import ProcessSpec

NO_COMMAND, CANNOT_EXECUTE = 127, 126
"""What a shell would say (POSIX, Shell Command Language, 2.8.2)."""

# First match counts. What stands before "$PATH" or an errno's text tells which of the two paths is meant.
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"not running|stopped container|container.*does not exist|no such process", "down"),
    (r"chdir to cwd|\bchdir\b", "cwd"),
    (r"executable file .*not found", "missing"),
    (r"exec format error", "format"),
    (r"is a directory", "not executable"),
    (r"exec.*(permission denied|operation not permitted)", "not executable"),
    (r"exec.*no such file or directory|stat.*no such file or directory", "missing"),
    (r"invalid argument|argument list too long|null byte", "arguments"),
)


def messages(log: str) -> str:
    """The errors in a runtime's JSON log, a line each; other lines as they are."""
    lines = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            lines.append(str(entry.get("msg", "")))
    return "\n".join(lines)


def not_started(container: str, spec: ProcessSpec, runtime: str, text: str) -> KleeneError:
    """The error for a process that did not start.

    Args:
        runtime: name of the runtime, for what is not recognised.
        text: what it said.
    """
    cause = next((c for pattern, c in _CAUSES if re.search(pattern, text, re.IGNORECASE)), None)
    command = spec.args[0]
    if cause == "down":
        return NotFound(f"container '{container}' is not running", hint=f"klee start {container}")
    if cause == "cwd":
        return CommandNotStarted(
            f"working directory '{spec.cwd}' cannot be entered by user '{spec.user or 'root'}'",
            hint="choose another one with WORKDIR, or make it accessible to that user",
            exit_code=CANNOT_EXECUTE,
        )
    if cause == "missing":
        return CommandNotStarted(
            f"command '{command}' does not exist in the container",
            hint="check its spelling, PATH, and for a script the interpreter in its first line",
            exit_code=NO_COMMAND,
        )
    if cause == "not executable":
        return CommandNotStarted(
            f"command '{command}' may not be executed by user '{spec.user or 'root'}'",
            hint=f"make it executable: chmod a+x {command}",
            exit_code=CANNOT_EXECUTE,
        )
    if cause == "format":
        return CommandNotStarted(
            f"command '{command}' is not a program for this machine",
            hint="a script begins with '#!' and its interpreter",
            exit_code=CANNOT_EXECUTE,
        )
    if cause == "arguments":
        return CommandNotStarted(
            f"command '{command}' has arguments that cannot be passed on",
            hint="shorten them; one may have 128 KiB, and none a NUL byte",
            exit_code=CANNOT_EXECUTE,
        )
    return CommandFailed([runtime, "exec"], 1, text)
