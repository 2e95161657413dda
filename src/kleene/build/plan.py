"""The plan: from instructions to steps, when the parent image and the build arguments are known.

Pure: it decides, the solver does. Two calls, because what FROM names has to be looked up in between:
:func:`base_reference`, then :func:`plan`. Where Kleene's reference says nothing, instructions mean what
Docker's reference says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kleene.build.commands import argv, check_size
from kleene.build.config import Configuration, ImageConfig
from kleene.build.expander import Expander
from kleene.build.paths import in_context, is_directory, join
from kleene.build.scope import PROXY_ARGUMENTS, Scope, check_build_args
from kleene.build.stages import global_arguments, needed_stages
from kleene.build.steps import (
    ConfigStep,
    CopyStep,
    FromStep,
    InlineFile,
    RunStep,
    Step,
    WorkdirStep,
    step_key,
)
from kleene.dockerfile.document import Dockerfile, Stage, read_trigger
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.expand import expand
from kleene.dockerfile.heredoc import Heredoc
from kleene.dockerfile.instructions import (
    Arg,
    Copy,
    Env,
    Instruction,
    Run,
    User,
    Workdir,
)
from kleene.dockerfile.source import Range, Source
from kleene.dockerfile.words import Word
from kleene.names import ImageReference, parse_image_reference

__all__ = [
    "ConfigStep",
    "CopyStep",
    "FromStep",
    "ImageConfig",
    "InlineFile",
    "Plan",
    "RunStep",
    "Step",
    "WorkdirStep",
    "base_reference",
    "plan",
    "step_key",
]

MAX_ENVIRONMENT = 1 << 20
"""Bytes of a whole environment; execve(2) allows a quarter of the stack limit for it and the arguments."""


@dataclass(frozen=True)
class Plan:
    """What a build does, in order, and the configuration of its image.

    Attributes:
        warnings: what the user should change, one a line; those of the Dockerfile come with their place.
    """

    steps: tuple[Step, ...]
    config: ImageConfig
    warnings: tuple[str, ...] = ()


def base_reference(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    override: str = "",
    *,
    target: str = "",
) -> ImageReference:
    """The image that the build starts from.

    Args:
        override: a reference that takes the place of the one in FROM, if not empty.
        target: name or number of the stage to build; ``""`` is the last one.

    Raises:
        DockerfileError: FROM names no image, or the stage needs another one.
        InvalidInput: ``override``, ``target`` or a build argument is not valid.
    """
    return _only_stage(dockerfile, build_args, override, target)[1]


def plan(
    dockerfile: Dockerfile,
    base: ImageConfig,
    build_args: Mapping[str, str],
    *,
    override: str = "",
    target: str = "",
    user: str = "",
    env: Sequence[str] = (),
) -> Plan:
    """Decide what a build does.

    Args:
        base: configuration of the image that :func:`base_reference` names.
        override, target: as given to :func:`base_reference`.
        user: who runs commands until the first USER; ``""``: the user of the parent. The image does
            not keep it.
        env: environment of the build container: for RUN only, weaker than a later ENV.

    Raises:
        DockerfileError: an instruction cannot be carried out, whatever the context and the image hold.
        InvalidInput: a build argument is not valid.
    """
    stage, _ = _only_stage(dockerfile, build_args, override, target)
    return _Planner(dockerfile, stage, base, build_args, user=user, env=env).plan(override)


class _Planner:
    """One walk over the instructions of a stage."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        stage: Stage,
        base: ImageConfig,
        build_args: Mapping[str, str],
        *,
        user: str,
        env: Sequence[str],
    ) -> None:
        self._dockerfile = dockerfile
        self._stage = stage
        self._build_args = build_args
        arguments = global_arguments(dockerfile, build_args)
        self._scope = Scope(base.env, env, build_args, arguments)
        self._words = Expander(self._scope, dockerfile.escape)
        self._config = Configuration(base)
        self._triggers = base.settings.onbuild
        self._user = user or base.user
        self._count = 0

    def plan(self, override: str) -> Plan:
        steps: list[Step] = [
            ConfigStep(*self._head(argument)) for argument in self._dockerfile.arguments
        ]
        start = FromStep(*self._head(self._stage.base))
        steps.append(replace(start, text=f"FROM {override}") if override else start)
        steps.extend(self._trigger(text) for text in self._triggers)
        steps.extend(self._step(instruction) for instruction in self._stage.instructions)
        config = replace(self._config.image, env=self._scope.env)
        return Plan(tuple(steps), config, self._warnings())

    def _trigger(self, text: str) -> Step:
        """What ONBUILD of the parent image asks for. Its place in this file is the FROM."""
        instruction, escape = read_trigger(Source.from_text("ONBUILD", text))
        words, self._words = self._words, Expander(self._scope, escape)
        step = self._step(instruction)
        self._words = words
        return replace(step, range=self._stage.base.range)

    def _warnings(self) -> tuple[str, ...]:
        declared = {
            argument.name
            for instruction in self._dockerfile.instructions()
            if isinstance(instruction, Arg)
            for argument in instruction.arguments
        }
        unused = sorted(self._build_args.keys() - declared - PROXY_ARGUMENTS)
        return (
            *(str(warning) for warning in self._dockerfile.warnings),
            *(f"build argument {quoted(name)} is declared by no ARG" for name in unused),
        )

    def _head(self, instruction: Instruction) -> tuple[int, str, Range]:
        """What every step has."""
        self._count += 1
        return self._count, instruction.statement.text, instruction.range

    def _step(self, instruction: Instruction) -> Step:
        match instruction:
            case Run():
                return self._run(instruction)
            case Copy():
                return self._copy(instruction)
            case Workdir():
                return self._workdir(instruction)
            case Env():
                self._env(instruction)
            case Arg():
                self._arg(instruction)
            case _:
                self._config.change(instruction, self._words)
                if isinstance(instruction, User):
                    self._user = self._config.image.user
        return ConfigStep(*self._head(instruction))

    def _run(self, run: Run) -> RunStep:
        cwd, scope = self._config.image.workdir, self._scope
        args = argv(run.command, self._config.shell)
        return RunStep(*self._head(run), args, scope.run_env(), cwd, self._user, scope.proxies)

    def _workdir(self, workdir: Workdir) -> WorkdirStep:
        path = join(self._config.image.workdir, self._words.not_empty(workdir.path, "the path"))
        self._config.image = replace(self._config.image, workdir=path)
        return WorkdirStep(*self._head(workdir), path, self._user)

    def _env(self, env: Env) -> None:
        # All values see the variables as they were before the instruction.
        expanded = [
            (name, self._words.expand(name), self._words.expand(value)) for name, value in env.pairs
        ]
        for word, name, value in expanded:
            if not name or "=" in name:
                raise word.error(f"{quoted(name)} cannot be the name of a variable")
            self._scope.set_env(name, value)
            self._check_variable(word, f"variable {quoted(name)}", f"{name}={value}")

    def _arg(self, arg: Arg) -> None:
        for argument in arg.arguments:
            default = argument.default
            if default is None or self._scope.is_given(argument.name):
                value = self._scope.declare(argument.name, None)
            else:
                value = self._scope.declare(argument.name, self._words.expand(default))
            what = f"build argument {quoted(argument.name)}"
            self._check_variable(argument.word, what, f"{argument.name}={value or ''}")

    def _check_variable(self, word: Word, what: str, entry: str) -> None:
        check_size(word, what, entry)
        if self._scope.size > MAX_ENVIRONMENT:
            raise word.error(f"the variables up to here have more than {MAX_ENVIRONMENT} bytes")

    def _copy(self, copy: Copy) -> CopyStep:
        sources = tuple(self._source(s) for s in copy.sources if isinstance(s, Word))
        files = tuple(self._inline(s) for s in copy.sources if isinstance(s, Heredoc))
        written = self._words.not_empty(copy.destination, "the destination")
        if len(copy.sources) > 1 and not is_directory(written):
            raise copy.destination.error(
                f"several sources cannot all be copied to {quoted(written)}",
                f"end the destination with a '/': {written}/",
            )
        return CopyStep(
            *self._head(copy),
            sources,
            join(self._config.image.workdir, written),
            is_directory(written),
            None if copy.chown is None else self._words.user(copy.chown),
            None if copy.chmod is None else self._words.mode(copy.chmod),
            files,
        )

    def _source(self, word: Word) -> str:
        pattern = self._words.not_empty(word, "the source")
        path = in_context(pattern)
        if path is None:
            raise word.error(
                f"source {quoted(pattern)} is outside the context",
                "copy the file into the context, or build with a directory above as context",
            )
        return path

    def _inline(self, heredoc: Heredoc) -> InlineFile:
        name = heredoc.start.name
        if "/" in name or name in (".", ".."):
            raise heredoc.start.word.error(f"{quoted(name)} cannot be the name of a file")
        if not heredoc.start.expand:
            return InlineFile(name, heredoc.content)
        body = replace(heredoc.body, text=heredoc.content)
        return InlineFile(name, expand(body, self._scope.variables, quotes=False))


def _only_stage(
    dockerfile: Dockerfile, build_args: Mapping[str, str], override: str, target: str
) -> tuple[Stage, ImageReference]:
    """The stage that is the whole build, and its image. Stages that it does not need are passed over."""
    check_build_args(build_args)
    image = parse_image_reference(override) if override else None
    node = needed_stages(dockerfile, build_args, override=image, target=target)[-1]
    base = node.base
    if isinstance(base, Stage) or node.origins:
        word = node.stage.base.image if isinstance(base, Stage) else node.origins[0][0]
        raise word.error(
            "taking files from other stages or images is not supported yet",
            "build the other stage as an image of its own, and name it in FROM",
        )
    return node.stage, base
