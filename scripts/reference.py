"""Write what is generated from the code: ``make docs``.

``docs/reference/`` (Markdown, kept in the repository): the commands of ``klee``, a page for each group, and
the paths of the API. ``docs/status.md``: what of the documented there is.
``build-output/man/``: a manual page for each command.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from scripts import async_client, status

from kleene import __version__
from kleene.cli.command import Command, CommandWithVerbs, LazyGroup
from kleene.cli.main import SHORTCUTS, root
from kleene.daemon.app import create_app
from kleene.daemon.main import parser as kleened_parser

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
STATUS = ROOT / "docs" / "status.md"
MAN = ROOT / "build-output" / "man"

_WRITTEN = "<!-- Written by `make docs` from the code: change that. -->"


@dataclass(frozen=True)
class Page:
    """What is known of a command. ``options``: how each is written, and what it does."""

    path: str
    usage: str
    paragraphs: list[str]
    options: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    examples: list[str]

    @property
    def summary(self) -> str:
        return self.paragraphs[0].rstrip(".")


def page_of(path: str, command: click.Command) -> Page:
    """Describe ``command``, which a user calls ``path``."""
    context = click.Context(command, info_name=path, max_content_width=200)
    help_text = re.sub(r"(?<!\n)\n(?!\n)", " ", (command.help or "").strip())
    given = [each for each in command.params if isinstance(each, click.Option)]
    records = (each.get_help_record(context) for each in given)
    assert isinstance(command, Command | LazyGroup)
    return Page(
        path=path,
        usage=" ".join([path, *command.collect_usage_pieces(context)]),
        paragraphs=[" ".join(part.split()) for part in help_text.split("\n\n")],
        options=[(names, " ".join(text.split())) for names, text in filter(None, records)],
        commands=[(name, found.get_short_help_str(120)) for name, found in children(command)],
        examples=list(command.examples),
    )


def children(command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The commands in a group; of ``klee`` without the shortcuts to what a group has."""
    if isinstance(command, LazyGroup):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not (command is root and _is_grouped(name)):
                yield name, found
    elif isinstance(command, CommandWithVerbs):
        yield from ((name, command.verb(name)) for name in command.verbs)


def _is_grouped(name: str) -> bool:
    """Whether a group has the command that the shortcut ``name`` leads to."""
    context = click.Context(root)
    groups = (root.get_command(context, each) for each in root.targets)
    target = root.shortcuts.get(name)
    return any(isinstance(each, LazyGroup) and target in each.targets.values() for each in groups)


def commands(path: str = "klee", command: click.Command = root) -> dict[str, click.Command]:
    """Every command by what a user types for it, shortcuts too."""
    found = {path: command}
    if isinstance(command, LazyGroup):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                found |= commands(f"{path} {name}", inner)
    elif isinstance(command, CommandWithVerbs):
        for name in command.verbs:
            found |= commands(f"{path} {name}", command.verb(name))
    return found


def pages(path: str = "klee", command: click.Command = root) -> Iterator[Page]:
    """Every command, each below its own name only."""
    yield page_of(path, command)
    for name, found in children(command):
        yield from pages(f"{path} {name}", found)


# --- Markdown


def markdown(page: Page, level: int) -> str:
    """A section of a reference page."""
    parts = [f"{'#' * level} {page.path}", *map(_plain, page.paragraphs), f"    {page.usage}"]
    if page.options:
        rows = [f"| `{_cell(names)}` | {_cell(_plain(text))} |" for names, text in page.options]
        parts.append("\n".join(["| option | |", "| --- | --- |", *rows]))
    if page.examples:
        parts.append("\n".join(["Examples:", "", *(f"    {line}" for line in page.examples)]))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    return text.replace("<", "\\<").replace("*", "\\*")


def reference() -> dict[str, str]:
    """The reference pages by file name."""
    groups: dict[str, list[Page]] = {}
    for page in pages():
        words = page.path.split()
        nested = len(words) > 2 or bool(page.commands and len(words) == 2)
        groups.setdefault(words[1] if nested else "klee", []).append(page)
    files = {f"{name}.md": _group_page(found) for name, found in groups.items()}
    files["klee.md"] = files["klee.md"].rstrip("\n") + "\n\n" + _index(groups) + "\n"
    files["api.md"] = api_page(document())
    return files


def _group_page(found: list[Page]) -> str:
    first, *rest = found
    sections = [markdown(first, 1), *(markdown(page, 2) for page in rest)]
    return "\n\n".join([_WRITTEN, *sections]) + "\n"


def _index(groups: dict[str, list[Page]]) -> str:
    lines = ["## All commands", ""]
    for name, found in groups.items():
        file = "" if name == "klee" else f"{name}.md"
        lines += [
            f"- [`{p.path}`]({file}#{p.path.replace(' ', '-')}): {_plain(p.summary)}"
            for p in found[1:] or found
        ]
    lines += ["", "## Shortcuts", "", "| shortcut | command |", "| --- | --- |"]
    long = {target: path for path, target in _targets()}
    lines += [
        f"| `klee {name}` | `{long.get(target, f'klee {name}')}` |"
        for name, target in sorted(SHORTCUTS.items())
    ]
    return "\n".join(lines)


def _targets() -> Iterator[tuple[str, str]]:
    for name, group in children(root):
        if isinstance(group, LazyGroup):
            for command, target in group.targets.items():
                yield f"klee {name} {command}", target


def document() -> dict[str, Any]:
    """The OpenAPI document; it needs no engine behind it."""
    return create_app(cast(Any, None)).openapi_schema.to_schema()


def api_page(document: dict[str, Any]) -> str:
    """The paths of the API, as a table."""
    rows = [
        f"| {'WebSocket' if '101' in operation['responses'] else method.upper()} | `{path}` "
        f"| {_cell(operation['description'].strip().splitlines()[0])} "
        f"| {', '.join(each['name'] for each in operation.get('parameters', ()) if each['in'] == 'query')} |"
        for path, item in sorted(document["paths"].items())
        for method, operation in item.items()
    ]
    version = document["info"]["version"]
    head = [
        _WRITTEN,
        "",
        "# The API",
        "",
        f"Version {version}. The daemon serves it whole: `/docs` for people, `/openapi.json` for programs.",
        "",
        "| | path | does | query |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


# --- Manual pages (man(7))


def manual(page: Page) -> str:
    """The manual page of a command."""
    name = page.path.replace(" ", "-")
    lines = [
        f'.TH {name.upper()} 1 "" "Kleene {__version__}" "Kleene"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(page.summary)}",
        ".SH SYNOPSIS",
        f".B {_roff(page.usage)}",
        ".SH DESCRIPTION",
    ]
    for paragraph in page.paragraphs:
        lines += [".PP", _roff(paragraph)]
    lines += _items("OPTIONS", page.options) + _items("COMMANDS", page.commands)
    lines += [".SH EXAMPLES", ".nf", *map(_roff, page.examples), ".fi"]
    return "\n".join(lines) + "\n"


def _items(title: str, rows: list[tuple[str, str]]) -> list[str]:
    lines = [f".SH {title}"] if rows else []
    for term, text in rows:
        lines += [".TP", f".B {_roff(term)}", _roff(text)]
    return lines


def _roff(text: str) -> str:
    """``text`` with what roff takes for its own escaped; a line may not begin with its controls."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def manual_of_daemon() -> str:
    """The manual page of ``kleened``."""
    options = [
        (f"{', '.join(each.option_strings)} {each.metavar or ''}".rstrip(), each.help or "")
        for each in kleened_parser()._actions
    ]
    page = Page(
        "kleened",
        "kleened [OPTIONS]",
        [
            "The daemon of Kleene.",
            "It builds images and runs containers for its clients; containers keep running when it ends."
            " SIGHUP has it read its configuration again. docs/kleened.md tells the configuration's keys.",
        ],
        options,
        [],
        ["kleened --check-config", "kleened --root /srv/kleene --host http:///run/k.sock"],
    )
    return manual(page).replace(".TH KLEENED 1", ".TH KLEENED 8")


def manuals() -> dict[str, str]:
    """The manual pages by file name."""
    made = {f"{page.path.replace(' ', '-')}.1": manual(page) for page in pages()}
    return made | {"kleened.8": manual_of_daemon()}


def write(directory: Path, files: dict[str, str]) -> None:
    """Write ``files``, and remove what was generated before and is no more."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in directory.iterdir()} - set(files):
        (directory / stale).unlink()
    for name, text in files.items():
        (directory / name).write_text(text)


def main() -> int:
    """Write everything."""
    async_client.PLACE.write_text(async_client.source())
    write(REFERENCE, reference())
    STATUS.write_text(status.page(commands(), document()))
    write(MAN, manuals())
    return 0


if __name__ == "__main__":
    sys.exit(main())
