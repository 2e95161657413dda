"""The variables of a stage as the checks see them: which are declared, and what they are worth.

Pure. Much less than what a plan knows: a word that cannot be expanded is empty, and nothing is refused.
"""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.expand import expand
from kleene.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Instruction,
    Label,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from kleene.dockerfile.source import DockerfileError, DockerfileWarning
from kleene.dockerfile.words import Word

_MOST_KNOWN = 100
"""Names among which one that was meant is looked for."""


@dataclass(frozen=True)
class Parent:
    """What is known of an image that a stage starts from. ``has_shell``: it has a SHELL."""

    env: Mapping[str, str] = field(default_factory=dict)
    has_shell: bool = False


@dataclass(frozen=True)
class Expanded:
    """A word, expanded. ``names`` of the variables in it; those of ``missing`` have no value."""

    text: str
    names: list[str]
    missing: list[str]


class _Recorder(Mapping[str, str]):
    """Variables that remember what they were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: dict[str, None] = {}

    def __getitem__(self, name: str) -> str:
        self.asked[name] = None
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def similar(name: str, known: Collection[str]) -> str | None:
    """The one of ``known`` that was probably meant. Among very many none is looked for: that takes time."""
    return nearest(name, sorted(known)) if len(known) <= _MOST_KNOWN else None


def expanded(
    word: Word, variables: Mapping[str, str], escape: str, *, quotes: bool = True
) -> Expanded:
    """Expand a word; it is empty if it cannot be."""
    if "$" not in word.text and escape not in word.text and not {"'", '"'} & set(word.text):
        return Expanded(word.text, [], [])
    recorder = _Recorder(variables)
    try:
        text = expand(word, recorder, escape=escape, quotes=quotes)
    except DockerfileError:
        text = ""
    names = list(recorder.asked)
    return Expanded(text, names, [name for name in names if name not in variables])


class StageVariables:
    """What is in scope at one place of a stage.

    Args:
        parent: the image that the stage starts from; of one that is not known, any variable may come.

    Attributes:
        has_shell: whether SHELL was said, here or in the parent.
    """

    def __init__(self, parent: Parent | None, escape: str) -> None:
        self._escape = escape
        self._knows_all = parent is not None
        self._env = dict(parent.env) if parent else {}
        self._args: dict[str, str] = {}
        self._declared: set[str] = set()
        self._has_workdir = False
        self.has_shell = parent is not None and parent.has_shell

    def child(self) -> StageVariables:
        """For a stage that starts from this one."""
        child = copy.copy(self)
        child._env, child._args = dict(self._env), dict(self._args)
        child._declared = set(self._declared)
        return child

    def expand(self, word: Word, *, quotes: bool = True) -> Expanded:
        """Expand a word with the variables as they are now."""
        # In a heredoc the escape character is always the backslash.
        escape = self._escape if quotes else "\\"
        return expanded(word, ChainMap(self._env, self._args), escape, quotes=quotes)

    def carry_out(
        self, instruction: Instruction, given: Mapping[str, str], arguments: Mapping[str, str]
    ) -> list[DockerfileWarning]:
        """Go past an instruction; what is wrong with its variables.

        Args:
            given: the build arguments.
            arguments: those before the first FROM.
        """
        found: list[DockerfileWarning] = []
        if isinstance(instruction, Arg):
            for argument in instruction.arguments:
                value = given.get(argument.name)
                if value is None and argument.default is not None:
                    found.extend(self._undefined(argument.default, quotes=True))
                    value = self.expand(argument.default).text
                elif value is None:
                    value = arguments.get(argument.name)
                self._declared.add(argument.name)
                if value is not None:
                    self._args[argument.name] = value
            return found
        for word, quotes in _words(instruction):
            found.extend(self._undefined(word, quotes=quotes))
        self._change(instruction, found)
        return found

    def _change(self, instruction: Instruction, found: list[DockerfileWarning]) -> None:
        match instruction:
            case Env():
                pairs = [
                    (self.expand(name).text, self.expand(value).text)
                    for name, value in instruction.pairs
                ]
                self._env.update(pairs)
            case Workdir():
                path = self.expand(instruction.path).text
                if not self._has_workdir and not path.startswith("/"):
                    found.append(
                        instruction.path.warning(
                            "WorkdirRelativePath",
                            f"{quoted(path)} is relative to the working directory of the parent",
                            "begin with an absolute path",
                        )
                    )
                self._has_workdir = True
            case Shell():
                self.has_shell = True

    def _undefined(self, word: Word, *, quotes: bool) -> Iterator[DockerfileWarning]:
        if not self._knows_all:
            return
        for name in self.expand(word, quotes=quotes).missing:
            if name in self._declared:
                continue
            near = similar(name, self._declared) or similar(name, self._env)
            yield word.warning(
                "UndefinedVar",
                f"variable {quoted('$' + name)} is declared by no ARG or ENV above",
                f"did you mean '${near}'?" if near else f"write ARG {name} above, in this stage",
            )


def _words(instruction: Instruction) -> Iterator[tuple[Word, bool]]:
    """What of an instruction is expanded; ``False``: without taking quotes off."""
    match instruction:
        case Env() | Label():
            for pair in instruction.pairs:
                yield from ((word, True) for word in pair)
        case Add() | Copy():
            for source in instruction.sources:
                if isinstance(source, Word):
                    yield source, True
                elif source.start.expand:
                    yield source.body, False
            options = (instruction.destination, instruction.chown, instruction.chmod)
            yield from ((word, True) for word in options if word is not None)
        case StopSignal():
            yield instruction.signal, True
        case User():
            yield instruction.user, True
        case Volume():
            yield from ((word, True) for word in instruction.paths)
        case Workdir():
            yield instruction.path, True
