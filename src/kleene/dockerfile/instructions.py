"""The instructions as types. Pure; nothing is expanded yet. ``readers`` says how their text is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kleene.dockerfile.devices import DeviceFlag
from kleene.dockerfile.heredoc import Heredoc
from kleene.dockerfile.mounts import MountFlag
from kleene.dockerfile.parser import Statement
from kleene.dockerfile.source import Range
from kleene.dockerfile.words import Word


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
    """``FROM [--platform=] image [AS alias]``; the alias is in lower case."""

    image: Word
    alias: str | None
    platform: Word | None = None


@dataclass(frozen=True)
class Run(Instruction):
    """``RUN [--mount=] [--network=] [--security=] [--device=] command``."""

    command: Command | ScriptForm
    mounts: tuple[MountFlag, ...] = ()
    network: Word | None = None
    security: Word | None = None
    devices: tuple[DeviceFlag, ...] = ()


@dataclass(frozen=True)
class Cmd(Instruction):
    """``CMD command``."""

    command: Command


@dataclass(frozen=True)
class Copy(Instruction):
    """``COPY [--chown=] [--chmod=] [--from=] source… destination``; sources may be heredocs.

    Attributes:
        origin: what ``--from`` names; ``None`` is the context.
        exclude: patterns of what is left out.
        parents: whether the directories above a source are copied too.
    """

    sources: tuple[Word | Heredoc, ...]
    destination: Word
    chown: Word | None
    chmod: Word | None
    origin: Word | None
    exclude: tuple[Word, ...] = ()
    parents: bool = False


@dataclass(frozen=True)
class Add(Instruction):
    """``ADD [--chown=] [--chmod=] [--checksum=] source… destination``; sources may be URLs and heredocs.

    Attributes:
        exclude: patterns of what is left out.
        keep_git_dir: whether ``.git`` of a git repository is copied too; ``None``: what the URL says.
        unpack: whether archives are extracted; ``None``: those of the context are, others not.
    """

    sources: tuple[Word | Heredoc, ...]
    destination: Word
    chown: Word | None
    chmod: Word | None
    checksum: Word | None
    exclude: tuple[Word, ...] = ()
    keep_git_dir: bool | None = None
    unpack: bool | None = None


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
class Entrypoint(Instruction):
    """``ENTRYPOINT command``."""

    command: Command


@dataclass(frozen=True)
class Label(Instruction):
    """``LABEL name=value …``: pairs of a name and a value, both to be expanded."""

    pairs: tuple[tuple[Word, Word], ...]


@dataclass(frozen=True)
class Maintainer(Instruction):
    """``MAINTAINER name``: an old way to write a label."""

    name: Word


@dataclass(frozen=True)
class Expose(Instruction):
    """``EXPOSE port[-port][/protocol] …``."""

    ports: tuple[Word, ...]


@dataclass(frozen=True)
class Volume(Instruction):
    """``VOLUME path …`` or ``VOLUME ["path", …]``."""

    paths: tuple[Word, ...]


@dataclass(frozen=True)
class StopSignal(Instruction):
    """``STOPSIGNAL signal``."""

    signal: Word


@dataclass(frozen=True)
class Shell(Instruction):
    """``SHELL ["program", "argument"]``."""

    arguments: tuple[Word, ...]


@dataclass(frozen=True)
class HealthCheck(Instruction):
    """``HEALTHCHECK [--flag=value] CMD command`` or ``HEALTHCHECK NONE``.

    Attributes:
        command: ``None`` switches the check of the parent image off.
        options: values of the flags, by name.
    """

    command: Command | None
    options: Mapping[str, Word] = field(default_factory=dict)


@dataclass(frozen=True)
class OnBuild(Instruction):
    """``ONBUILD instruction``: for the builds that start from this image.

    Attributes:
        text: the instruction on one line, as it is read again there.
    """

    trigger: Instruction
    text: str
