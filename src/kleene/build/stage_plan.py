"""From the instructions of one stage to its steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, cast

from kleene.build.commands import argv, check_size
from kleene.build.config import Configuration, ImageConfig
from kleene.build.expander import Budget, Expander
from kleene.build.modes import Mode
from kleene.build.mounts import MountPlanner, RunMount
from kleene.build.paths import in_context, is_directory, join, pivot_of
from kleene.build.remote import CHECKSUM, remote, repository
from kleene.build.scope import CACHE_NAMESPACE, Scope
from kleene.build.stages import StageNode, trigger_source
from kleene.build.steps import (
    AddStep,
    ConfigStep,
    CopyStep,
    FromStep,
    InlineFile,
    NetworkMode,
    RunStep,
    Step,
    WorkdirStep,
)
from kleene.contexts.ignore import Ignore
from kleene.dockerfile.devices import check_devices
from kleene.dockerfile.document import Dockerfile, Stage, read_trigger
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.heredoc import Heredoc
from kleene.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Instruction,
    Run,
    User,
    Workdir,
)
from kleene.dockerfile.source import Range
from kleene.dockerfile.words import Word
from kleene.errors import InvalidInput
from kleene.host.giturl import GitUrl, is_checksum

MAX_ENVIRONMENT = 1 << 20
"""Bytes of a whole environment; execve(2) allows a quarter of the stack limit for it and the arguments."""


class _Where(NamedTuple):
    """What COPY and ADD have in common."""

    destination: str
    into_directory: bool
    chown: str | None
    chmod: Mode | None
    files: tuple[InlineFile, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """What the user gave for the whole build.

    Attributes:
        arguments: what the ARG instructions before the first FROM came to.
        user, env: of the build container.
        budget: of what variables add.
    """

    build_args: Mapping[str, str]
    arguments: Mapping[str, str]
    user: str
    env: tuple[str, ...]
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Outcome:
    """What an image or a stage hands on to the stages that start from it.

    Attributes:
        arguments: the build arguments in scope at its end.
    """

    config: ImageConfig
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a step leaves who enters the state after it: what a RUN in its place would have.

    Attributes:
        env: ``NAME=VALUE``, without proxies; ``None``: that of the step before, with ``sets``. Only FROM
            and RUN have it whole, so that a plan does not grow with the square of the variables.
    """

    user: str
    cwd: str
    shell: tuple[str, ...]
    env: tuple[str, ...] | None = None
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagePlan:
    """What is done for one stage. ``places``: one for each step."""

    node: StageNode
    steps: tuple[Step, ...]
    outcome: Outcome
    places: tuple[Place, ...]


class StagePlanner:
    """One walk over the instructions of a stage.

    Args:
        parent: of the stage or image that this one starts from.
        count: of the steps before.
    """

    def __init__(
        self,
        dockerfile: Dockerfile,
        node: StageNode,
        parent: Outcome,
        options: Options,
        count: int,
    ) -> None:
        self._node = node
        self._stage = node.stage
        self._origins = {word.text: origin for word, origin in node.origins}
        self._scope = Scope(
            parent.config.env, options.env, options.build_args, options.arguments, parent.arguments
        )
        self._budget = options.budget
        self._words = Expander(self._scope, dockerfile.escape, self._budget)
        self._config = Configuration(parent.config)
        self._triggers = parent.config.settings.onbuild
        self._user = options.user or parent.config.user
        self._build_args = options.build_args
        self._count = count
        self._sets: list[str] = []

    def plan(self, before: Sequence[Step], override: str) -> StagePlan:
        """Plan it.

        Args:
            before: steps to begin with.
            override: what is shown in place of the image in FROM.
        """
        start = FromStep(*self._head(self._stage.base))
        if self._stage.given is not None:
            start = replace(start, text=f"FROM scratch AS {self._stage.base.alias}")
        steps = [*before, replace(start, text=f"FROM {override}") if override else start]
        places = [self._place(step) for step in steps]
        for work in (
            *(partial(self._trigger, text) for text in self._triggers),
            *(partial(self._step, instruction) for instruction in self._stage.instructions),
        ):
            steps.append(work())
            places.append(self._place(steps[-1]))
        config = replace(self._config.image, env=self._scope.env)
        outcome = Outcome(config, self._scope.arguments)
        return StagePlan(self._node, tuple(steps), outcome, tuple(places))

    def _place(self, step: Step) -> Place:
        """Where the step just planned leaves who enters the state after it."""
        env = None
        if isinstance(step, FromStep | RunStep):
            proxies = self._scope.proxies
            env = self._scope.run_env()
            if proxies:
                env = tuple(entry for entry in env if entry.partition("=")[0] not in proxies)
        sets, self._sets = tuple(self._sets), []
        cwd, shell = self._config.image.workdir, tuple(self._config.shell)
        return Place(self._user, cwd, shell, env, sets)

    def _trigger(self, text: str) -> Step:
        """What ONBUILD of the parent image asks for. Its place in this file is the FROM."""
        instruction, escape = read_trigger(trigger_source(self._stage, self._node.base, text))
        words, self._words = self._words, Expander(self._scope, escape, self._budget)
        step = self._step(instruction)
        self._words = words
        place = self._stage.base.range
        if isinstance(step, RunStep):
            mounts = tuple(replace(mount, range=None) for mount in step.mounts)
            return replace(step, range=place, mounts=mounts)
        return replace(step, range=place)

    def _head(self, instruction: Instruction) -> tuple[int, str, Range]:
        """What every step has."""
        self._count += 1
        return self._count, instruction.statement.text, self._range(instruction.range)

    def _range(self, place: Range) -> Range:
        """A place in the Dockerfile, which has no lines for what the user gave."""
        return self._stage.given.range if self._stage.given is not None else place

    def _step(self, instruction: Instruction) -> Step:
        match instruction:
            case Run():
                return self._run(instruction)
            case Copy():
                return self._copy(instruction)
            case Add():
                return self._add(instruction)
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
        check_devices(run.devices)
        args = argv(run.command, self._config.shell)
        mounts = MountPlanner(self._words, cwd, self._origin).plan(run.mounts)
        mounts = tuple(self._in_namespace(mount) for mount in mounts)
        network = _choice(self._words, run.network, ("default", "none", "host"))
        security = _choice(self._words, run.security, ("sandbox", "insecure"))
        head, env = self._head(run), scope.run_env()
        return RunStep(
            *head,
            args,
            env,
            cwd,
            self._user,
            scope.proxies,
            mounts,
            cast(NetworkMode, network),
            security == "insecure",
        )

    def _in_namespace(self, mount: RunMount) -> RunMount:
        """A cache with its id in the namespace that a built-in argument names."""
        namespace = self._build_args.get(CACHE_NAMESPACE)
        if mount.kind != "cache" or not namespace:
            return mount
        return replace(mount, id=f"{namespace}/{mount.id}")

    def _workdir(self, workdir: Workdir) -> WorkdirStep:
        path = join(self._config.image.workdir, self._words.expand(workdir.path))
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
            self._sets.append(f"{name}={value}")
            self._check_variable(word, f"variable {quoted(name)}", f"{name}={value}")

    def _arg(self, arg: Arg) -> None:
        for argument in arg.arguments:
            default = argument.default
            if default is None or self._scope.is_given(argument.name):
                value = self._scope.declare(argument.name, None)
            else:
                value = self._scope.declare(argument.name, self._words.expand(default))
            if value is not None:
                self._sets.append(f"{argument.name}={self._scope.seen(argument.name)}")
            what = f"build argument {quoted(argument.name)}"
            self._check_variable(argument.word, what, f"{argument.name}={value or ''}")

    def _check_variable(self, word: Word, what: str, entry: str) -> None:
        check_size(word, what, entry)
        if self._scope.size > MAX_ENVIRONMENT:
            raise word.error(f"the variables up to here have more than {MAX_ENVIRONMENT} bytes")

    def _copy(self, copy: Copy) -> CopyStep:
        from_context = copy.origin is None
        words = [word for word in copy.sources if isinstance(word, Word)]
        return CopyStep(
            *self._head(copy),
            sources=tuple(self._source(word, from_context) for word in words),
            places=tuple(self._range(word.range) for word in words),
            context=self._stage.given.name if self._stage.given is not None else "",
            origin=self._origin(copy.origin),
            pivots=self._pivots(copy) if copy.parents else (),
            **self._where(copy)._asdict(),
        )

    def _add(self, add: Add) -> AddStep:
        urls, sources, places, repositories = [], [], list[Range](), []
        for word in (word for word in add.sources if isinstance(word, Word)):
            text = self._words.expand(word)
            if (found := repository(word, text)) is not None:
                repositories.append(self._repository(add, found))
            elif (url := remote(word, text)) is not None:
                urls.append(url)
            else:
                sources.append(self._source(word, True))
                places.append(word.range)
        return AddStep(
            *self._head(add),
            sources=tuple(sources),
            places=tuple(places),
            urls=tuple(urls),
            checksum=self._checksum(add, len(urls)) if not repositories else None,
            repositories=tuple(repositories),
            unpack=add.unpack,
            **self._where(add)._asdict(),
        )

    def _repository(self, add: Add, found: GitUrl) -> GitUrl:
        """With what the flags say of it; the URL's own word goes first."""
        if found.keep_git_dir is None:
            found = replace(found, keep_git_dir=add.keep_git_dir)
        if add.checksum is None:
            return found
        text = self._words.expand(add.checksum)
        if not is_checksum(text) or len(add.sources) != 1:
            raise add.checksum.error(
                f"{quoted(text)} is not the commit of one git repository",
                "write --checksum= and the commit, or its first digits, in an ADD for each repository",
            )
        return replace(found, checksum=text)

    def _checksum(self, add: Add, urls: int) -> str | None:
        if add.checksum is None:
            return None
        text = self._words.expand(add.checksum)
        if CHECKSUM.fullmatch(text) is None:
            raise add.checksum.error(
                f"{quoted(text)} is not a checksum", "write --checksum=sha256: and 64 hex digits"
            )
        if urls != 1 or len(add.sources) != 1:
            raise add.checksum.error("'--checksum' is for one URL alone", "write an ADD for each")
        return text

    def _where(self, copy: Copy | Add) -> _Where:
        files = tuple(self._inline(s) for s in copy.sources if isinstance(s, Heredoc))
        # As in BuildKit, variables that are empty leave the working directory.
        written = self._words.expand(copy.destination) or "./"
        if len(copy.sources) > 1 and not is_directory(written):
            raise copy.destination.error(
                f"several sources cannot all be copied to {quoted(written)}",
                f"end the destination with a '/': {written}/",
            )
        return _Where(
            join(self._config.image.workdir, written),
            is_directory(written),
            None if copy.chown is None else self._words.user(copy.chown),
            None if copy.chmod is None else self._words.mode(copy.chmod),
            files,
            tuple(self._pattern(word) for word in copy.exclude),
        )

    def _pivots(self, copy: Copy) -> tuple[int, ...]:
        """What comes before a ``/./`` in a source is not copied with it."""
        words = (word for word in copy.sources if isinstance(word, Word))
        return tuple(pivot_of(self._words.expand(word)) for word in words)

    def _pattern(self, word: Word) -> str:
        text = self._words.expand(word)
        try:
            Ignore.parse(text, "--exclude")
        except InvalidInput as error:
            raise word.error(f"{quoted(text)} is not a pattern", error.hint) from None
        return text

    def _origin(self, word: Word | None) -> int | str | None:
        if word is None:
            return None
        origin = self._origins[word.text]
        return origin.key if isinstance(origin, Stage) else str(origin)

    def _source(self, word: Word, from_context: bool) -> str:
        pattern = self._words.expand(word)
        if not from_context:  # where '/' is the root, and there is nothing above it
            return join("/", pattern).lstrip("/") or "."
        return in_context(pattern)

    def _inline(self, heredoc: Heredoc) -> InlineFile:
        name = heredoc.start.name
        if "/" in name or name in (".", ".."):
            raise heredoc.start.word.error(f"{quoted(name)} cannot be the name of a file")
        if not heredoc.start.expand:
            return InlineFile(name, heredoc.content)
        body = replace(heredoc.body, text=heredoc.content)
        return InlineFile(name, self._words.expand(body, quotes=False))


def _choice(words: Expander, word: Word | None, known: tuple[str, ...]) -> str:
    """The value of a flag that is one of ``known``; the first is the default."""
    if word is None:
        return known[0]
    value = words.expand(word)
    if value not in known:
        raise word.error(f"{quoted(value)} is not known here", f"write one of {', '.join(known)}")
    return value
