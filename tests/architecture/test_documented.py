"""What a user can type or call is described where they look for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kleene.cli.command import Command, CommandWithVerbs, LazyGroup
from kleene.cli.main import root
from kleene.daemon.config import Config, Listener
from kleene.runtime.jail_params import table

ROOT = Path(__file__).parents[2]


def commands(
    group: click.Command = root, path: str = "klee"
) -> Iterator[tuple[str, click.Command]]:
    """Every command below ``group`` with what a user types for it."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None, f"'{path} {name}' is listed and cannot be loaded"
            yield from commands(found, f"{path} {name}")
    elif isinstance(group, CommandWithVerbs):
        for name in group.verbs:
            yield from commands(group.verb(name), f"{path} {name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_and_an_example(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert isinstance(command, Command | LazyGroup)
    text = command.get_help(click.Context(command, info_name=path))
    examples = text.partition("Examples:")[2]
    assert "klee" in examples


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_described(path: str) -> None:
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = [text.partition(">")[0].strip() for text in wanted]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    missing = [name for name in names if f"`{name}`" not in text]
    assert not missing


def test_every_make_target_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {
        line.partition(":")[0]
        for line in makefile.splitlines()
        if line[:1].islower() and ":" in line and ":=" not in line
    }
    text = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "README.md").read_text()
    missing = [target for target in targets - {"help", "lint"} if f"make {target}" not in text]
    assert not missing


def test_every_configuration_key_is_described() -> None:
    text = (ROOT / "docs" / "kleened.md").read_text()
    keys = [*Config.__dataclass_fields__, *Listener.__dataclass_fields__]
    assert not [key for key in keys if f"`{key}`" not in text]


def test_every_document_is_linked_to() -> None:
    readme = (ROOT / "README.md").read_text()
    documents = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")]
    assert not [name for name in documents if f"({name})" not in readme]


def test_every_jail_parameter_is_described_as_it_is() -> None:
    text = (ROOT / "docs" / "jail-parameters.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{name}` | {meaning} | {why} |" for name, meaning, why in table()]
