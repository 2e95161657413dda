"""The instructions as types, and what each makes of its arguments.

Pure; nothing is expanded yet. An instruction is added by a class, a reader, and a line in ``_READERS``.
The forms are those of the Dockerfile reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.flags import read_flags
from kleene.dockerfile.heredoc import Heredoc
from kleene.dockerfile.json_form import is_single_quoted, read_json
from kleene.dockerfile.parser import Statement
from kleene.dockerfile.source import DockerfileWarning, Range
from kleene.dockerfile.words import WHITESPACE, Word, first_blank, split_blank, split_quoted

NOT_SUPPORTED = frozenset(
    "ADD ENTRYPOINT EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL VOLUME".split()
)
"""Instructions that Docker has and Kleene does not have yet."""

_ARGUMENT_NAME = re.compile(r"""[^\s"'=$\\`]+""")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


@dataclass(frozen=True)
class Instruction:
    """Any instruction."""

    statement: Statement

    @property
    def range(self) -> Range:
        line = self.statement.line
        return line.range(0, len(line.text))


@dataclass(frozen=True)
class ShellForm:
    """A command for ``/bin/sh -c``."""

    text: Word


@dataclass(frozen=True)
class ExecForm:
    """A command's argument vector."""

    arguments: tuple[Word, ...]


@dataclass(frozen=True)
class ScriptForm:
    """A heredoc and nothing else: its body is the command."""

    heredoc: Heredoc


Command = ShellForm | ExecForm


@dataclass(frozen=True)
class From(Instruction):
    """``FROM image [AS alias]``; the alias is in lower case."""

    image: Word
    alias: str | None


@dataclass(frozen=True)
class Run(Instruction):
    """``RUN command``."""

    command: Command | ScriptForm


@dataclass(frozen=True)
class Cmd(Instruction):
    """``CMD command``."""

    command: Command


@dataclass(frozen=True)
class Copy(Instruction):
    """``COPY [--chown=] [--chmod=] [--from=] source… destination``; sources may be heredocs.

    Attributes:
        origin: what ``--from`` names; ``None`` is the context.
    """

    sources: tuple[Word | Heredoc, ...]
    destination: Word
    chown: Word | None
    chmod: Word | None
    origin: Word | None


@dataclass(frozen=True)
class Env(Instruction):
    """``ENV name=value …``: pairs of a name and a value, both to be expanded."""

    pairs: tuple[tuple[Word, Word], ...]


@dataclass(frozen=True)
class Argument:
    """A name that ``ARG`` declares, with its default to be expanded."""

    name: str
    default: Word | None
    word: Word


@dataclass(frozen=True)
class Arg(Instruction):
    """``ARG name[=default] …``."""

    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Workdir(Instruction):
    """``WORKDIR path``."""

    path: Word


@dataclass(frozen=True)
class User(Instruction):
    """``USER user[:group]``."""

    user: Word


@dataclass(frozen=True)
class Reading:
    """What the readers share: the escape character, and where warnings go."""

    escape: str
    warnings: list[DockerfileWarning]


def read_instruction(statement: Statement, reading: Reading) -> Instruction:
    """Understand a statement.

    Raises:
        DockerfileError: the instruction, a flag or the arguments cannot be used.
    """
    reader = _READERS.get(statement.name)
    if reader is not None:
        return reader(statement, reading)
    if statement.name in NOT_SUPPORTED:
        raise statement.keyword.error(f"instruction '{statement.name}' is not supported yet")
    near = nearest(statement.name, sorted({*_READERS, *NOT_SUPPORTED}))
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(sorted(_READERS))}"
    raise statement.keyword.error(f"unknown instruction {quoted(statement.keyword.text)}", hint)


def _from(statement: Statement, _reading: Reading) -> From:
    read_flags(statement)
    arguments = _required(statement, "FROM NAME[:TAG][@SNAPSHOT]")
    words = split_blank(arguments)
    if len(words) == 1:
        return From(statement, words[0], None)
    if words[1].text.upper() != "AS" or len(words) != 3:
        rest = arguments.part(words[1].start - arguments.start, len(arguments.text))
        raise rest.error(
            "FROM takes one image, and after it nothing but AS and a name",
            "write FROM IMAGE or FROM IMAGE AS NAME",
        )
    alias = words[2].text.lower()
    if _STAGE_NAME.fullmatch(alias) is None:
        raise words[2].error(
            f"stage name {quoted(words[2].text)} is not valid",
            "begin with a letter; go on with letters, digits, '_', '.', '-'",
        )
    return From(statement, words[0], alias)


def _run(statement: Statement, reading: Reading) -> Run:
    read_flags(statement)
    if statement.heredocs:
        return Run(statement, _with_bodies(statement))
    command = _command(statement, reading)
    if isinstance(command, ExecForm) and not command.arguments:
        raise statement.arguments.error("RUN has no command", 'write RUN ["PROGRAM", "ARGUMENT"]')
    return Run(statement, command)


def _with_bodies(statement: Statement) -> ShellForm | ScriptForm:
    """A command with heredocs: the shell reads them from its own text, unless there is only one."""
    arguments, heredocs = statement.arguments, statement.heredocs
    if arguments.text == heredocs[0].start.word.text:
        return ScriptForm(heredocs[0])
    bodies = (f"\n{heredoc.body.text}{heredoc.start.name}" for heredoc in heredocs)
    return ShellForm(replace(arguments, text=arguments.text + "".join(bodies)))


def _cmd(statement: Statement, reading: Reading) -> Cmd:
    read_flags(statement)
    return Cmd(statement, _command(statement, reading))


def _command(statement: Statement, reading: Reading) -> Command:
    name = statement.name
    text = _required(statement, f'{name} COMMAND or {name} ["PROGRAM", "ARGUMENT"]')
    arguments = read_json(text)
    if arguments is not None:
        return ExecForm(arguments)
    if is_single_quoted(text.text):
        reading.warnings.append(
            text.warning(
                "this is not JSON, so it is taken as a shell command",
                "JSON wants double quotes",
            )
        )
    return ShellForm(text)


def _copy(statement: Statement, _reading: Reading) -> Copy:
    flags = read_flags(statement, "chown", "chmod", "from")
    usage = "COPY SOURCE… DESTINATION"
    arguments = _required(statement, usage)
    words = read_json(arguments)
    if words is None:
        words = split_blank(arguments)
    sources = _with_heredocs(words, statement.heredocs)
    if len(sources) < 2:
        raise arguments.error("COPY has no destination", f"write {usage}")
    *rest, destination = sources
    if isinstance(destination, Heredoc):
        raise destination.start.word.error(
            "a heredoc cannot be the destination of COPY", f"write {usage}"
        )
    owner, mode, origin = (flags.get(name) for name in ("chown", "chmod", "from"))
    return Copy(statement, tuple(rest), destination, owner, mode, origin)


def _with_heredocs(
    words: tuple[Word, ...], heredocs: tuple[Heredoc, ...]
) -> tuple[Word | Heredoc, ...]:
    """Put each heredoc in place of the words that begin it."""
    found: list[Word | Heredoc] = []
    waiting = list(reversed(heredocs))
    covered = 0
    for word in words:
        if word.start < covered:
            continue
        if waiting and word.start == waiting[-1].start.word.start:
            heredoc = waiting.pop()
            covered = heredoc.start.word.end
            found.append(heredoc)
        else:
            found.append(word)
    return tuple(found)


def _env(statement: Statement, reading: Reading) -> Env:
    read_flags(statement)
    arguments = _required(statement, "ENV NAME=VALUE")
    words = split_quoted(arguments, reading.escape)
    if "=" not in words[0].text:
        return Env(statement, (_old_env(arguments, reading),))
    return Env(statement, tuple(_pair(word) for word in words))


def _pair(word: Word) -> tuple[Word, Word]:
    equals = word.text.find("=")
    if equals < 0:
        raise word.error(
            f"{quoted(word.text)} has no '='", "write NAME=VALUE; quote a value with blanks"
        )
    if equals == 0:
        raise word.error("a variable without a name", "write NAME=VALUE")
    return word.part(0, equals), word.part(equals + 1, len(word.text))


def _old_env(arguments: Word, reading: Reading) -> tuple[Word, Word]:
    """``ENV name the value``: everything after the name."""
    name = first_blank(arguments)
    value = arguments.part(len(name.text), len(arguments.text)).stripped()
    if not value.text:
        raise arguments.error(f"{quoted(name.text)} has no value", "write ENV NAME=VALUE")
    reading.warnings.append(name.warning("an ENV without '='", "write ENV NAME=VALUE"))
    return name, value


def _arg(statement: Statement, reading: Reading) -> Arg:
    read_flags(statement)
    words = split_quoted(_required(statement, "ARG NAME[=DEFAULT]"), reading.escape)
    return Arg(statement, tuple(_argument(word) for word in words))


def _argument(word: Word) -> Argument:
    name, equals, _ = word.text.partition("=")
    if _ARGUMENT_NAME.fullmatch(name) is None:
        raise word.error(
            f"build argument {quoted(name)} is not a valid name", "write ARG NAME[=DEFAULT]"
        )
    default = word.part(len(name) + 1, len(word.text)) if equals else None
    return Argument(name, default, word)


def _workdir(statement: Statement, _reading: Reading) -> Workdir:
    read_flags(statement)
    return Workdir(statement, _required(statement, "WORKDIR PATH"))


def _user(statement: Statement, _reading: Reading) -> User:
    read_flags(statement)
    return User(statement, _required(statement, "USER NAME[:GROUP]"))


def _required(statement: Statement, usage: str) -> Word:
    if not statement.arguments.text.strip(WHITESPACE):
        raise statement.keyword.error(f"{statement.name} has no argument", f"write {usage}")
    return statement.arguments


_READERS: dict[str, Callable[[Statement, Reading], Instruction]] = {
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENV": _env,
    "FROM": _from,
    "RUN": _run,
    "USER": _user,
    "WORKDIR": _workdir,
}
