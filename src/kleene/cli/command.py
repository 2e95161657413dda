"""The kinds of click commands that ``klee`` is made of: with examples, and loaded when they are used.

And what helps to declare their options: here, because every command loads this module anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kleene.errors import InvalidInput

if TYPE_CHECKING:
    from kleene.schemas.filters import Kind

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[str], **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.examples = examples

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Begin to run the command, or to complete its command line: then names are asked for."""
        if extra.get("resilient_parsing"):
            from kleene.cli.completion import attach

            attach(self.params)
        return super().make_context(*args, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)


class CommandWithVerbs(Command):
    """A command that has a few others below it, where its first argument is the name of one.

    Args:
        verbs: for each of these names, where the command is: ``module:attribute``.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.verbs = verbs

    def verb(self, name: str) -> click.Command:
        """Import the command of this name."""
        module, _, attribute = self.verbs[name].partition(":")
        command: click.Command = getattr(import_module(f"kleene.cli.{module}"), attribute)
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of the command that is meant."""
        if args and args[0] in self.verbs:
            name = f"{info_name} {args[0]}"
            return self.verb(args[0]).make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the commands below."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.verb(n).get_short_help_str(70)) for n in self.verbs])


class LazyGroup(click.Group):
    """A group that imports a command when it is named.

    Args:
        targets: for each command, where it is: ``module:attribute``.
        shortcuts: the same for commands that help lists apart.
        examples: lines that help ends with.
    """

    def __init__(
        self,
        *args: Any,
        targets: Mapping[str, str],
        shortcuts: Mapping[str, str] | None = None,
        examples: Sequence[str],
        **attrs: Any,
    ) -> None:
        super().__init__(*args, **attrs)
        self.targets = targets
        self.shortcuts = shortcuts or {}
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return [*self.targets, *self.shortcuts]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; ``None`` if there is none of that name."""
        path = self.targets.get(cmd_name) or self.shortcuts.get(cmd_name)
        if path is None:
            return None
        module, _, attribute = path.partition(":")
        command: click.Command = getattr(import_module(f"kleene.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begin with.

        Raises:
            UsageError: there is none; the nearest one is suggested.
        """
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        message = f"unknown command '{ctx.command_path} {name}'"
        from kleene.cli.docker_words import COMMANDS, SYNONYMS

        if ctx.parent is None and (known := COMMANDS.get(name)):
            raise UsageError(message, ctx, f"in Kleene: {known}")
        commands = self.list_commands(ctx)
        synonym = SYNONYMS.get(name)
        nearest = synonym if synonym in commands else nearest_of(name, commands)
        hint = f"did you mean '{ctx.command_path} {nearest}'?" if nearest else None
        raise UsageError(message, ctx, hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the shortcuts."""
        for title, targets in (("Commands", self.targets), ("Shortcuts", self.shortcuts)):
            commands = [(name, self.get_command(ctx, name)) for name in targets]
            rows = [(name, c.get_short_help_str(70)) for name, c in commands if c is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)


class Misused(InvalidInput):
    """A part of the command line cannot be understood: the exit status is that of other usage errors."""

    exit_status = 2


class OneOf(click.Choice[str]):
    """One of several words; a slip of one is told with the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is wrong with ``value``."""
        words = [str(choice) for choice in self.choices]
        near = nearest_of(str(value), words)
        meant = f"; did you mean '{near}'?" if near else ""
        return f"'{value}' is not one of {', '.join(words)}{meant}"


class WholeNumber(click.IntRange):
    """A number without a fraction, not below ``min``."""

    name = "whole number"


class UsageError(click.UsageError):
    """A command line that cannot be understood, with what to type instead."""

    def __init__(self, message: str, ctx: click.Context | None, hint: str | None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def command(
    name: str | None = None, *, examples: Sequence[str], **attrs: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command; its docstring is the help. ``name`` and ``attrs`` are click's."""
    return click.command(name, cls=Command, examples=examples, **attrs)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write a section of examples, each on a line of its own."""
    with formatter.section("Examples"):
        for line in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def nearest_of(word: str, words: Sequence[str]) -> str | None:
    """The one of ``words`` that ``word`` is most likely a slip of; ``None`` if none is near."""
    from kleene.names import nearest

    return nearest(word, words)


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """One decorator of several; help lists them in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def format_option(
    help: str,  # noqa: A002 - click's name
    *,
    plain: str = "table",
    short: str | None = None,
) -> Callable[[F], F]:
    """``--format``, of a command that can print JSON, or by a template, instead of its ``plain`` form."""
    forms = tuple(dict.fromkeys((plain, "json")))

    def read(ctx: click.Context, param: click.Parameter, value: str) -> str:
        if value in forms or "{{" in value:
            return value
        nearest = nearest_of(value, forms)
        meant = f"did you mean '{nearest}'? " if nearest else ""
        raise UsageError(
            f"there is no format '{value}'",
            ctx,
            f"{meant}write {' or '.join(forms)}, or a template such as '{{{{.Name}}}}'",
        )

    return click.option(
        "--format",
        *([short] if short else []),
        "form",
        callback=read,
        default=plain,
        show_default=True,
        metavar="|".join((*forms, "TEMPLATE")),
        help=help,
    )


list_format = format_option(
    "A table for people, all that the daemon tells, or a line for each by a template:"
    " '{{.Name}} {{.Created}}'; 'table TEMPLATE' puts titles over it."
)


def filter_option(
    kind: Kind, keys: str, *, verb: str = "Show", short: str | None = "-f"
) -> Callable[[F], F]:
    """``--filter`` of a list, or of a prune.

    Args:
        keys: those of ``kind``, for help.
        verb: what the command does with those that fit, for help.
    """

    def read(ctx: click.Context, param: click.Parameter, words: Sequence[str]) -> Sequence[str]:
        if words:
            from kleene.schemas.filters import parse

            try:
                parse(kind, words)
            except InvalidInput as error:
                raise UsageError(error.message, ctx, error.hint) from error
        return words

    return click.option(
        "--filter",
        *([short] if short else []),
        "filters",
        multiple=True,
        callback=read,
        metavar="KEY=VALUE",
        help=f"{verb} those that fit: {keys}. Repeatable.",
    )


PRUNE_KEYS = "label, label! (not that label), until (older: 36h, 7d, or ISO 8601)"


def prune_filter(kind: Kind = "prune", keys: str = PRUNE_KEYS) -> Callable[[F], F]:
    """``--filter`` of a prune, whose ``-f`` is ``--force``."""
    return filter_option(kind, keys, verb="Remove only", short=None)


def list_options(quiet: str = "Print only ids.") -> Callable[[F], F]:
    """How a list is printed; ``quiet`` is the help of ``--quiet``."""
    return together(
        click.option("--no-trunc", is_flag=True, help="Show long cells whole."),
        list_format,
        click.option("--quiet", "-q", is_flag=True, help=quiet),
    )
