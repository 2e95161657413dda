"""``docs/status.md``: what Kleene documents, command by command and path by path, and what of it there is.

The facts about the documentation are kept with the tests; what there is, is asked of the code. Only what
differs on purpose is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

TESTS = Path(__file__).resolve().parent.parent / "tests"
COMMANDS: dict[str, list[str]] = json.loads(
    (TESTS / "architecture" / "documented_commands.json").read_text()
)
API: dict[str, Any] = json.loads((TESTS / "api" / "documented_api.json").read_text())

REMARKS = {
    "klee image create": "`zfs-copy` and `zfs-clone` take a subvolume where the storage is btrfs;"
    " `fetch-auto` bootstraps the host's own Debian or Ubuntu release",
    "klee container create": "jail parameters are [translated](jail-parameters.md)",
}
"""What to know of a documented command."""

_HEAD = """\
<!-- Written by `make docs` from the code: change that. -->

# What there is

Every command, option and path that Kleene documents (`klee` as of its reference, the API as of version
0.0.1), and whether it is done. Then what there is besides. The tests hold this page to the code.
"""


def options_of(command: click.Command) -> set[str]:
    """The long names of a command's options, without dashes; a switch has both of its names."""
    return {
        name.removeprefix("--")
        for each in command.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("--")
    }


def state(wanted: list[str], command: click.Command | None) -> str:
    """Whether a documented command is there, with its options."""
    if command is None:
        return "not done"
    missing = sorted(set(wanted) - options_of(command))
    return f"done, but for {', '.join(f'`--{name}`' for name in missing)}" if missing else "done"


def page(commands: dict[str, click.Command], document: dict[str, Any]) -> str:
    """The page, of all commands by their path and the OpenAPI document."""
    parts = [_HEAD, "## Documented commands\n", *_commands(commands)]
    parts += ["\n## Documented paths of the API\n", *_paths(document)]
    parts += ["\n## Commands besides\n", *_other_commands(commands)]
    parts += ["\n## Paths of the API besides\n", *_other_paths(document)]
    return "\n".join(parts) + "\n"


def _commands(commands: dict[str, click.Command]) -> Iterator[str]:
    yield "| command | | |\n| --- | --- | --- |"
    for path, wanted in COMMANDS.items():
        yield f"| `{path}` | {state(wanted, commands.get(path))} | {REMARKS.get(path, '')} |"


def _paths(document: dict[str, Any]) -> Iterator[str]:
    yield "| path | |\n| --- | --- |"
    for wanted in API["operations"]:
        there = wanted["method"] in document["paths"].get(wanted["path"], {})
        yield f"| `{_method(wanted)} {wanted['path']}` | {'done' if there else 'not done'} |"


def _method(wanted: dict[str, Any]) -> str:
    return (
        "WebSocket"
        if wanted["responses"].get("200") == "WebSocketMessage"
        else wanted["method"].upper()
    )


def _other_commands(commands: dict[str, click.Command]) -> Iterator[str]:
    """Also the options that a documented command has besides."""
    for path, command in commands.items():
        if (
            path.count(" ") == 1
            and not isinstance(command, click.Group)
            and _is_shortcut(path, commands)
        ):
            continue
        if path not in COMMANDS:
            yield f"- `{path}`: {command.get_short_help_str(100).rstrip('.')}"
        elif more := sorted(options_of(command) - set(COMMANDS[path])):
            yield f"- `{path}`: {', '.join(f'`--{name}`' for name in more)}"


def _is_shortcut(path: str, commands: dict[str, click.Command]) -> bool:
    """Whether a group has this command too."""
    same = [other for other, each in commands.items() if each is commands[path]]
    return any(other.count(" ") > 1 for other in same)


def _other_paths(document: dict[str, Any]) -> Iterator[str]:
    documented = {(each["path"], each["method"]) for each in API["operations"]}
    for path, item in sorted(document["paths"].items()):
        for method, operation in item.items():
            if (path, method) not in documented:
                name = "WebSocket" if "101" in operation["responses"] else method.upper()
                yield f"- `{name} {path}`: {operation['description'].strip().splitlines()[0]}"
