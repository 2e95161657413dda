"""Checks of a Dockerfile that is understood: the rules of :mod:`kleene.dockerfile.rules`.

Pure. What a check means is BuildKit's to say ("Build checks" in its reference); so are the corner cases.
Nothing here refuses a Dockerfile: what cannot be expanded is passed over, for the plan refuses it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kleene.dockerfile.document import Dockerfile, Stage
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Instruction,
    ShellForm,
)
from kleene.dockerfile.lint_variables import Parent, StageVariables, expanded, similar
from kleene.dockerfile.parser import Statement
from kleene.dockerfile.rules import RULES, CheckOptions, read_check_options
from kleene.dockerfile.source import DockerfileError, DockerfileWarning
from kleene.dockerfile.words import Word, split_blank

_RESERVED = frozenset({"context", "scratch"})
_SECRET = re.compile(
    "(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile("(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
# The grammar of image names ("reference" in the distribution project), and Kleene's snapshots after '@'.
_PART = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9:+._-]+)?"
)
_SYSTEMS = ("linux", "windows", "freebsd", "darwin")


@dataclass(frozen=True)
class Facts:
    """What the checks know beyond the Dockerfile.

    Attributes:
        build_args: what the user gave.
        platform: the arguments that the platform gives.
        parent: what is known of an image, by the name in FROM; ``None`` if it is not there.
        ignored: whether ``.dockerignore`` leaves a clean path of the context out.
        given: whether the user said what a name in FROM means: that goes before stages.
    """

    build_args: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    parent: Callable[[str], Parent | None] = lambda _: None
    ignored: Callable[[str], bool] = lambda _: False
    given: Callable[[str], bool] = lambda _: False


def lint(dockerfile: Dockerfile, facts: Facts) -> tuple[DockerfileWarning, ...]:
    """All that there is to say of a Dockerfile, in its order; what it skips is left out."""
    found = [*dockerfile.warnings, *_of_stages(dockerfile)]
    found.extend(_casing(dockerfile))
    found.extend(_Linter(dockerfile, facts).lint())
    options = {i.range.start.line: _options(dockerfile, i) for i in dockerfile.instructions()}
    lines = sorted(options)

    def wanted(warning: DockerfileWarning) -> bool:
        above = bisect_right(lines, warning.range.start.line)
        chosen = options[lines[above - 1]] if above else dockerfile.check
        return chosen.wants(RULES[warning.rule])

    return tuple(sorted(filter(wanted, found), key=lambda warning: warning.range.start))


def base_images(dockerfile: Dockerfile, facts: Facts) -> frozenset[str]:
    """The images that FROM names, as :attr:`Facts.parent` will be asked for them."""
    arguments = _Linter(dockerfile, facts).arguments()
    above, found = set[str](), set[str]()
    for stage in dockerfile.stages:
        name = expanded(stage.base.image, arguments, dockerfile.escape).text
        if name.lower() not in above or facts.given(name):
            found.add(name)
        if stage.base.alias is not None:
            above.add(stage.base.alias)
    return frozenset(found)


def _options(dockerfile: Dockerfile, instruction: Instruction) -> CheckOptions:
    """With those of a comment right above: ``# check=skip=RULE``."""
    for comment in instruction.statement.comments:
        name, equals, value = comment.partition("=")
        if equals and name.strip().lower() == "check":
            word = instruction.statement.keyword
            words = value.split()
            text = Word(words[0] if words else "", word.line, word.start, word.end)
            try:
                return dockerfile.check.merged(read_check_options(text))
            except DockerfileError:
                break
    return dockerfile.check


def _of_stages(dockerfile: Dockerfile) -> Iterator[DockerfileWarning]:
    """What the lines of FROM say by themselves."""
    seen: set[str] = set()
    for stage in dockerfile.stages:
        alias = stage.base.alias
        if alias is None:
            continue
        keyword = stage.base.statement.keyword
        _, between, name = split_blank(stage.base.statement.arguments)
        if name.text != alias:
            yield name.warning(
                "StageNameCasing", f"stage name {quoted(name.text)} is not in lower case",
                f"write {quoted(alias)}: that is its name",
            )  # fmt: skip
        wanted = between.text.lower() if keyword.text.islower() else between.text.upper()
        if between.text != wanted and (keyword.text.islower() or keyword.text.isupper()):
            yield between.warning(
                "FromAsCasing",
                f"{quoted(between.text)} does not have the case of {quoted(keyword.text)}",
                f"write {quoted(wanted)}",
            )
        if alias in _RESERVED:
            yield name.warning(
                "ReservedStageName", f"{quoted(alias)} is a name with a meaning", "choose another"
            )
        if alias in seen:
            yield name.warning(
                "DuplicateStageName",
                f"there is a stage {quoted(alias)} above",
                "choose another name: by this one, only one of them can be referred to",
            )
        seen.add(alias)


def _casing(dockerfile: Dockerfile) -> Iterator[DockerfileWarning]:
    """Instructions that are not written as most of them are."""
    keywords = [
        instruction.statement.keyword
        for stage in dockerfile.stages
        for instruction in (stage.base, *stage.instructions)
    ]
    lower = sum(keyword.text.islower() for keyword in keywords)
    upper = sum(keyword.text.isupper() for keyword in keywords)
    for keyword in keywords:
        wanted = keyword.text.lower() if lower > upper else keyword.text.upper()
        if keyword.text != wanted:
            yield keyword.warning(
                "ConsistentInstructionCasing",
                f"{quoted(keyword.text)} is not written as most instructions are",
                f"write {quoted(wanted)}",
            )


def _description(
    instruction: str, names: list[str], statement: Statement
) -> list[DockerfileWarning]:
    if not statement.comments or not names or statement.comments[-1].split(" ")[0] in names:
        return []
    return [
        statement.keyword.warning(
            "InvalidDefinitionDescription",
            f"the comment above {instruction} does not begin with {quoted(names[0])}",
            f"write '# {names[0]} DESCRIPTION', or leave a line free below the comment",
        )
    ]


class _Linter:
    """One walk over the stages, with the variables that are in scope."""

    def __init__(self, dockerfile: Dockerfile, facts: Facts) -> None:
        self._dockerfile = dockerfile
        self._facts = facts
        self._found: list[DockerfileWarning] = []
        self._stages: dict[str, StageVariables] = {}
        self._arguments, self._defaults = dict(facts.platform), dict(facts.platform)
        self._declared = set(facts.platform)

    def arguments(self) -> Mapping[str, str]:
        """The values of the arguments before the first FROM."""
        for argument in self._dockerfile.arguments:
            self._global(argument)
        return self._arguments

    def lint(self) -> list[DockerfileWarning]:
        self.arguments()
        for stage in self._dockerfile.stages:
            self._stage(stage)
        return self._found

    def _warn(self, word: Word, rule: str, reason: str, hint: str | None = None) -> None:
        self._found.append(word.warning(rule, reason, hint))

    def _global(self, arg: Arg) -> None:
        names = [argument.name for argument in arg.arguments]
        self._found.extend(_description("ARG", names, arg.statement))
        for argument in arg.arguments:
            self._declared.add(argument.name)
            given = self._facts.build_args.get(argument.name)
            for values, value in ((self._arguments, given), (self._defaults, None)):
                if value is None and argument.default is not None:
                    value = expanded(argument.default, values, self._dockerfile.escape).text
                if value is not None:
                    values[argument.name] = value

    def _stage(self, stage: Stage) -> None:
        base, names = stage.base, [stage.base.alias] if stage.base.alias else []
        self._found.extend(_description("FROM", names, base.statement))
        image = expanded(base.image, self._arguments, self._dockerfile.escape)
        self._undeclared(base.image, image.missing)
        by_default = expanded(base.image, self._defaults, self._dockerfile.escape)
        if by_default.names and not _IMAGE.fullmatch(by_default.text):
            self._warn(
                base.image,
                "InvalidDefaultArgInFrom",
                f"without build arguments, FROM names {quoted(by_default.text)}",
                "give the ARG before FROM a default that makes it the name of an image",
            )
        if base.platform is not None:
            self._platform(base.platform, base.alias or "")
        above = None if self._facts.given(image.text) else self._stages.get(image.text.lower())
        parent = self._facts.parent(image.text)
        scope = above.child() if above else StageVariables(parent, self._dockerfile.escape)
        self._instructions(stage.instructions, scope)
        if base.alias:
            self._stages[base.alias] = scope

    def _undeclared(self, word: Word, missing: Iterable[str]) -> None:
        for name in missing:
            if name not in self._declared:
                near = similar(name, self._declared)
                self._warn(
                    word,
                    "UndefinedArgInFrom",
                    f"FROM uses {quoted(name)}, which no ARG before it declares",
                    f"did you mean '{near}'?" if near else f"write ARG {name}=VALUE before FROM",
                )

    def _platform(self, word: Word, alias: str) -> None:
        found = expanded(word, self._arguments, self._dockerfile.escape)
        self._undeclared(word, found.missing)
        if found.names == ["TARGETPLATFORM"] and found.text == self._arguments.get(found.names[0]):
            self._warn(
                word,
                "RedundantTargetPlatform",
                "FROM takes the platform of the target anyway",
                "leave --platform out",
            )
        parts = found.text.split("/") if not found.names else []
        if parts and not any(part in alias for part in _named(parts)):
            self._warn(
                word,
                "FromPlatformFlagConstDisallowed",
                f"the platform is always {quoted(found.text)}",
                "leave --platform out, use $BUILDPLATFORM, or have the platform in the stage's name",
            )

    def _instructions(self, instructions: Iterable[Instruction], scope: StageVariables) -> None:
        before: dict[type[Instruction], Instruction] = {}
        for instruction in instructions:
            self._instruction(instruction, scope)
            if isinstance(instruction, Cmd | Entrypoint | HealthCheck):
                old = before.get(type(instruction))
                if old is not None:
                    self._warn(
                        old.statement.keyword,
                        "MultipleInstructionsDisallowed",
                        f"a {old.statement.name} below takes the place of this one",
                        "remove the one that is not meant",
                    )
                before[type(instruction)] = instruction

    def _instruction(self, instruction: Instruction, scope: StageVariables) -> None:
        keyword = instruction.statement.keyword
        if isinstance(instruction, Arg):
            names = [argument.name for argument in instruction.arguments]
            self._found.extend(_description("ARG", names, instruction.statement))
            self._secrets("ARG", ((a.word, a.name) for a in instruction.arguments))
        elif isinstance(instruction, Env):
            self._secrets("ENV", ((name, name.text) for name, _ in instruction.pairs))
        elif isinstance(instruction, Cmd | Entrypoint):
            if isinstance(instruction.command, ShellForm) and not scope.has_shell:
                self._warn(
                    keyword,
                    "JSONArgsRecommended",
                    f"{instruction.statement.name} runs under a shell, which keeps signals to itself",
                    f'write {instruction.statement.name} ["PROGRAM", "ARGUMENT"]',
                )
        elif isinstance(instruction, Expose):
            self._ports(instruction, scope)
        elif isinstance(instruction, Add | Copy):
            self._sources(instruction, scope)
        self._found.extend(scope.carry_out(instruction, self._facts.build_args, self._arguments))

    def _secrets(self, instruction: str, names: Iterable[tuple[Word, str]]) -> None:
        for word, name in names:
            if _SECRET.search(name) and not _NO_SECRET.search(name):
                self._warn(
                    word,
                    "SecretsUsedInArgOrEnv",
                    f"who has the image can read what {instruction} says: {quoted(name)}",
                    "give secrets by RUN --mount=type=secret",
                )

    def _ports(self, expose: Expose, scope: StageVariables) -> None:
        for word in expose.ports:
            for port in scope.expand(word).text.split():
                host, _, number = port.rpartition(":")
                protocol = number.partition("/")[2]
                if protocol != protocol.lower():
                    self._warn(
                        word,
                        "ExposeProtoCasing",
                        f"the protocol of {quoted(port)} is not in lower case",
                        f"write {number.lower()}",
                    )
                if host:
                    self._warn(
                        word,
                        "ExposeInvalidFormat",
                        f"{quoted(port)} has an address or a port of the host",
                        f"write {number}; klee run -p publishes",
                    )

    def _sources(self, copy: Add | Copy, scope: StageVariables) -> None:
        if isinstance(copy, Copy) and copy.origin is not None:
            return
        for word in copy.sources:
            if not isinstance(word, Word) or "://" in word.text:
                continue
            path, outside = _clean(scope.expand(word).text)
            if outside:
                self._warn(
                    word,
                    "CopyOutsideContext",
                    f"{quoted(word.text)} is above the context: {quoted(path)} in it is taken",
                    f"write {quoted(path)}, or build with a directory above as context",
                )
            if self._facts.ignored(path):
                self._warn(
                    word,
                    "CopyIgnoredFile",
                    f"{quoted(path)} is left out of the context by .dockerignore",
                    f"add a line '!{path}' to it",
                )


def _named(parts: list[str]) -> list[str]:
    """The system and the architecture of a platform; those that are not said are the host's."""
    return parts[:2] if len(parts) > 1 or parts[0] in _SYSTEMS else ["linux", parts[0]]


def _clean(path: str) -> tuple[str, bool]:
    """A source without ``.`` and ``..``, and whether it leads out of the context."""
    parts: list[str] = []
    outside = False
    for part in path.split("/"):
        if part == "..":
            outside |= not parts
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or ".", outside
