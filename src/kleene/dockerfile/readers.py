"""What each instruction makes of its arguments.

Pure. An instruction is added by a class in ``instructions``, and a reader and a line in ``_READERS`` here.
The forms are those of the Dockerfile reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from kleene.dockerfile.devices import not_granted, read_device
from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.flags import is_on, read_flags, repeated_flag
from kleene.dockerfile.heredoc import Heredoc
from kleene.dockerfile.instructions import (
    Add,
    Arg,
    Argument,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    ExecForm,
    Expose,
    From,
    HealthCheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    ScriptForm,
    Shell,
    ShellForm,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from kleene.dockerfile.json_form import fault, is_single_quoted, read_json
from kleene.dockerfile.mounts import read_mount
from kleene.dockerfile.parser import Statement, nested
from kleene.dockerfile.source import DockerfileWarning
from kleene.dockerfile.words import WHITESPACE, Word, first_blank, split_blank, split_quoted

HEALTH_OPTIONS = ("interval", "timeout", "start-period", "start-interval", "retries")
"""The flags of HEALTHCHECK."""

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


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
    near = nearest(statement.name, sorted(_READERS))
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(sorted(_READERS))}"
    raise statement.keyword.error(f"unknown instruction {quoted(statement.keyword.text)}", hint)


def _from(statement: Statement, _reading: Reading) -> From:
    platform = read_flags(statement, "platform").get("platform")
    arguments = _required(statement, "FROM NAME[:TAG][@SNAPSHOT]")
    words = split_blank(arguments)
    if len(words) == 1:
        return From(statement, words[0], None, platform)
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
    return From(statement, words[0], alias, platform)


def _run(statement: Statement, reading: Reading) -> Run:
    flags = read_flags(statement, "network", "security", repeated=("mount", "device"))
    mounts = tuple(read_mount(word) for word in repeated_flag(statement, "mount"))
    devices = tuple(read_device(word) for word in repeated_flag(statement, "device"))
    reading.warnings.extend(not_granted(device) for device in devices if not device.required)
    settings = (mounts, flags.get("network"), flags.get("security"), devices)
    if statement.heredocs:
        return Run(statement, _with_bodies(statement), *settings)
    command = _command(_required(statement, _usage("RUN")), reading)
    if isinstance(command, ExecForm) and not command.arguments:
        raise statement.arguments.error("RUN has no command", 'write RUN ["PROGRAM", "ARGUMENT"]')
    return Run(statement, command, *settings)


def _with_bodies(statement: Statement) -> ShellForm | ScriptForm:
    """A command with heredocs: the shell reads them from its own text, unless there is only one."""
    arguments, heredocs = statement.arguments, statement.heredocs
    if arguments.text == heredocs[0].start.word.text:
        return ScriptForm(heredocs[0])
    bodies = (f"\n{heredoc.body.text}{heredoc.start.name}" for heredoc in heredocs)
    return ShellForm(replace(arguments, text=arguments.text + "".join(bodies)))


def _cmd(statement: Statement, reading: Reading) -> Cmd:
    read_flags(statement)
    return Cmd(statement, _command(_required(statement, _usage("CMD")), reading))


def _entrypoint(statement: Statement, reading: Reading) -> Entrypoint:
    read_flags(statement)
    return Entrypoint(statement, _command(_required(statement, _usage("ENTRYPOINT")), reading))


def _usage(name: str) -> str:
    return f'{name} COMMAND or {name} ["PROGRAM", "ARGUMENT"]'


def _command(text: Word, reading: Reading) -> Command:
    arguments = read_json(text)
    if arguments is not None:
        return ExecForm(arguments)
    _warn_of_json(text, "a shell command", reading)
    return ShellForm(text)


def _warn_of_json(text: Word, what: str, reading: Reading) -> None:
    """Say why a text that looks like an array is taken for something else."""
    broken = fault(text)
    if broken is not None:
        place, hint = broken.range, broken.hint
        reason = f"this is not JSON, so it is taken as {what}: {broken.reason}"
    elif is_single_quoted(text.text):
        place, hint = text.range, "JSON wants double quotes"
        reason = f"this is not JSON, so it is taken as {what}"
    else:
        return
    source = text.line.source
    reading.warnings.append(DockerfileWarning(source, place, reason, hint, "InvalidJSON"))


def _copy(statement: Statement, reading: Reading) -> Copy:
    known = {"switches": ("link", "parents"), "repeated": ("exclude",)}
    flags = read_flags(statement, "chown", "chmod", "from", **known)
    owner, mode, origin = (flags.get(name) for name in ("chown", "chmod", "from"))
    excluded, parents = repeated_flag(statement, "exclude"), bool(is_on(flags, "parents"))
    return Copy(statement, *_sources(statement, reading), owner, mode, origin, excluded, parents)


def _add(statement: Statement, reading: Reading) -> Add:
    known = {"switches": ("link", "keep-git-dir", "unpack"), "repeated": ("exclude",)}
    flags = read_flags(statement, "chown", "chmod", "checksum", **known)
    owner, mode, checksum = (flags.get(name) for name in ("chown", "chmod", "checksum"))
    excluded = repeated_flag(statement, "exclude")
    kept, unpacked = is_on(flags, "keep-git-dir"), is_on(flags, "unpack")
    return Add(
        statement, *_sources(statement, reading), owner, mode, checksum, excluded, kept, unpacked
    )


def _sources(statement: Statement, reading: Reading) -> tuple[tuple[Word | Heredoc, ...], Word]:
    """What COPY and ADD take, and where it goes."""
    usage = f"{statement.name} SOURCE… DESTINATION"
    arguments = _required(statement, usage)
    words = read_json(arguments)
    if words is None:
        _warn_of_json(arguments, "paths with blanks between", reading)
        words = split_blank(arguments)
    sources = _with_heredocs(words, statement.heredocs)
    if len(sources) < 2:
        raise arguments.error(f"{statement.name} has no destination", f"write {usage}")
    *rest, destination = sources
    if isinstance(destination, Heredoc):
        raise destination.start.word.error(
            f"a heredoc cannot be the destination of {statement.name}", f"write {usage}"
        )
    return tuple(rest), destination


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
    return Env(statement, _pairs(statement, reading))


def _label(statement: Statement, reading: Reading) -> Label:
    return Label(statement, _pairs(statement, reading))


def _pairs(statement: Statement, reading: Reading) -> tuple[tuple[Word, Word], ...]:
    read_flags(statement)
    arguments = _required(statement, f"{statement.name} NAME=VALUE")
    words = split_quoted(arguments, reading.escape)
    if "=" not in words[0].text:
        return (_old_pair(statement, reading),)
    return tuple(_pair(word) for word in words)


def _pair(word: Word) -> tuple[Word, Word]:
    equals = word.text.find("=")
    if equals < 0:
        raise word.error(
            f"{quoted(word.text)} has no '='", "write NAME=VALUE; quote a value with blanks"
        )
    if equals == 0:
        raise word.error("there is no name before the '='", "write NAME=VALUE")
    return word.part(0, equals), word.part(equals + 1, len(word.text))


def _old_pair(statement: Statement, reading: Reading) -> tuple[Word, Word]:
    """``ENV name the value``: everything after the name."""
    keyword, arguments = statement.name, statement.arguments
    name = first_blank(arguments)
    value = arguments.part(len(name.text), len(arguments.text)).stripped()
    if not value.text:
        raise arguments.error(f"{quoted(name.text)} has no value", f"write {keyword} NAME=VALUE")
    reading.warnings.append(
        name.warning(
            "LegacyKeyValueFormat", f"{keyword} without '='", f"write {keyword} NAME=VALUE"
        )
    )
    return name, value


def _arg(statement: Statement, reading: Reading) -> Arg:
    read_flags(statement)
    words = split_quoted(_required(statement, "ARG NAME[=DEFAULT]"), reading.escape)
    return Arg(statement, tuple(_argument(word) for word in words))


def _argument(word: Word) -> Argument:
    name, equals, _ = word.text.partition("=")
    if not name:
        raise word.error("there is no name before the '='", "write ARG NAME[=DEFAULT]")
    default = word.part(len(name) + 1, len(word.text)) if equals else None
    return Argument(name, default, word)


def _workdir(statement: Statement, _reading: Reading) -> Workdir:
    read_flags(statement)
    return Workdir(statement, _required(statement, "WORKDIR PATH"))


def _user(statement: Statement, _reading: Reading) -> User:
    read_flags(statement)
    return User(statement, _required(statement, "USER NAME[:GROUP]"))


def _maintainer(statement: Statement, reading: Reading) -> Maintainer:
    read_flags(statement)
    name = _required(statement, 'LABEL maintainer="NAME"')
    reading.warnings.append(
        statement.keyword.warning(
            "MaintainerDeprecated", "MAINTAINER is deprecated", 'write LABEL maintainer="NAME"'
        )
    )
    return Maintainer(statement, name)


def _expose(statement: Statement, _reading: Reading) -> Expose:
    read_flags(statement)
    return Expose(statement, split_blank(_required(statement, "EXPOSE PORT[/PROTOCOL]")))


def _volume(statement: Statement, reading: Reading) -> Volume:
    read_flags(statement)
    arguments = _required(statement, 'VOLUME PATH or VOLUME ["PATH"]')
    paths = read_json(arguments)
    if paths is None:
        _warn_of_json(arguments, "paths with blanks between", reading)
        paths = split_blank(arguments)
    if not paths:
        raise arguments.error("VOLUME names no directory", 'write VOLUME ["/PATH"]')
    return Volume(statement, paths)


def _stop_signal(statement: Statement, _reading: Reading) -> StopSignal:
    read_flags(statement)
    return StopSignal(statement, _required(statement, "STOPSIGNAL SIGNAL"))


def _shell(statement: Statement, _reading: Reading) -> Shell:
    read_flags(statement)
    usage = 'SHELL ["PROGRAM", "ARGUMENT"]'
    arguments = _required(statement, usage)
    words = read_json(arguments)
    if not words:
        raise arguments.error("SHELL takes a JSON array with a program in it", f"write {usage}")
    return Shell(statement, words)


def _health_check(statement: Statement, reading: Reading) -> HealthCheck:
    options = read_flags(statement, *HEALTH_OPTIONS)
    usage = "HEALTHCHECK CMD COMMAND or HEALTHCHECK NONE"
    arguments = _required(statement, usage)
    kind = first_blank(arguments)
    rest = arguments.part(len(kind.text), len(arguments.text)).stripped()
    if kind.text.upper() == "NONE" and not rest.text:
        return HealthCheck(statement, None)
    if kind.text.upper() != "CMD" or not rest.text:
        raise arguments.error("this is no health check", f"write {usage}")
    return HealthCheck(statement, _command(rest, reading), options)


def _on_build(statement: Statement, reading: Reading) -> OnBuild:
    read_flags(statement)
    arguments = _required(statement, "ONBUILD INSTRUCTION")
    inner = nested(statement, reading.escape)
    if inner.name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise inner.keyword.error(
            f"{inner.name} cannot be an ONBUILD instruction",
            "a build that starts from an image carries out its ONBUILD instructions only once",
        )
    trigger = read_instruction(inner, reading)
    directive = "" if reading.escape == "\\" else f"# escape={reading.escape}\n"
    bodies = "".join(f"\n{h.body.text}{h.start.name}" for h in inner.heredocs)
    return OnBuild(statement, trigger, f"{directive}{arguments.text}{bodies}")


def _required(statement: Statement, usage: str) -> Word:
    if not statement.arguments.text.strip(WHITESPACE):
        raise statement.keyword.error(f"{statement.name} has no argument", f"write {usage}")
    return statement.arguments


_READERS: dict[str, Callable[[Statement, Reading], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _health_check,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _on_build,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
