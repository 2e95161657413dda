"""A whole Dockerfile: the arguments before the first FROM, and the stages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from kleene.dockerfile.instructions import Arg, From, Instruction, OnBuild
from kleene.dockerfile.parser import parse
from kleene.dockerfile.readers import Reading, read_instruction
from kleene.dockerfile.rules import CheckOptions, read_check_options, unknown_rules
from kleene.dockerfile.source import DockerfileError, DockerfileWarning, Range, Source


@dataclass(frozen=True)
class Given:
    """A directory that the user gave the build beside its context, by a name.

    Attributes:
        name: in lower case, without ``:latest``.
        range: where the Dockerfile refers to it.
    """

    name: str
    range: Range


@dataclass(frozen=True)
class Stage:
    """A ``FROM`` and what follows it.

    Attributes:
        index: from 0.
        given: what its COPY takes from in place of the build context, if it stands for that.
    """

    index: int
    base: From
    instructions: tuple[Instruction, ...]
    given: Given | None = None

    @property
    def key(self) -> int | str:
        """What the state after it is found by, and what people are told: no image can be called so."""
        return self.index if self.given is None else f"context {self.given.name}"


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile, understood but not expanded.

    Attributes:
        arguments: the ``ARG`` instructions before the first ``FROM``.
        stages: at least one.
        warnings: what was noticed while it was read; ``lint`` finds the rest.
        check: what the directive of that name says.
    """

    source: Source
    escape: str
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[DockerfileWarning, ...]
    check: CheckOptions = field(default_factory=CheckOptions)

    def instructions(self) -> Iterator[Instruction]:
        """All instructions, in the order of the file."""
        yield from self.arguments
        for stage in self.stages:
            yield stage.base
            yield from stage.instructions


def read_dockerfile(source: Source) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        DockerfileError: it cannot be understood; the first fault in the file's order of what is wrong
            with its lines, else of what is wrong with its instructions.
    """
    syntax = parse(source)
    reading = Reading(syntax.escape, list(syntax.warnings))
    instructions = [read_instruction(statement, reading) for statement in syntax.statements]
    arguments, rest = _split_arguments(source, instructions)
    stages = _stages(rest)
    check = CheckOptions()
    if syntax.check is not None:
        check = read_check_options(syntax.check)
        reading.warnings.extend(unknown_rules(syntax.check, check))
    warnings = tuple(sorted(reading.warnings, key=lambda warning: warning.range.start))
    return Dockerfile(source, syntax.escape, arguments, stages, warnings, check)


def given_stage(index: int, given: Given) -> Stage:
    """A stage of what the user gave, and nothing else: what stages can do, it can."""
    read = read_dockerfile(Source.from_text(given.name, "FROM scratch\nCOPY . /\n")).stages[0]
    return replace(read, index=index, base=replace(read.base, alias=given.name), given=given)


def read_trigger(source: Source) -> tuple[Instruction, str]:
    """Read an instruction that ONBUILD recorded; also the escape character that it is written with.

    Raises:
        DockerfileError: it is not one instruction that ONBUILD can have.
    """
    syntax = parse(source)
    reading = Reading(syntax.escape, [])
    instructions = [read_instruction(statement, reading) for statement in syntax.statements]
    if len(instructions) != 1 or isinstance(instructions[0], From | OnBuild):
        raise DockerfileError(
            source, source.range(0, 0), "this cannot be carried out for ONBUILD of the parent image"
        )
    return instructions[0], syntax.escape


def _split_arguments(
    source: Source, instructions: list[Instruction]
) -> tuple[tuple[Arg, ...], list[Instruction]]:
    arguments: list[Arg] = []
    for number, instruction in enumerate(instructions):
        if isinstance(instruction, From):
            return tuple(arguments), instructions[number:]
        if not isinstance(instruction, Arg):
            keyword = instruction.statement.keyword
            raise keyword.error(
                f"{instruction.statement.name} before FROM",
                "begin with FROM; nothing but ARG may come before it",
            )
        arguments.append(instruction)
    raise _no_from(source, arguments)


def _no_from(source: Source, arguments: list[Arg]) -> DockerfileError:
    hint = "begin with FROM NAME[:TAG]"
    if arguments:
        keyword = arguments[-1].statement.keyword
        return keyword.error("no FROM: the file has nothing but ARG in it", hint)
    return DockerfileError(
        source, source.range(0, 0), "no FROM: the file has no instruction in it", hint
    )


def _stages(instructions: Iterable[Instruction]) -> tuple[Stage, ...]:
    stages: list[tuple[From, list[Instruction]]] = []
    for instruction in instructions:
        if isinstance(instruction, From):
            stages.append((instruction, []))
        else:
            stages[-1][1].append(instruction)
    return tuple(Stage(index, base, tuple(content)) for index, (base, content) in enumerate(stages))
