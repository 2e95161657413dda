"""Which stages of a Dockerfile a build needs, and in which order.

Pure. A stage needs the stage that its FROM names, and those that its ``COPY --from`` name: by name or by
number (Dockerfile reference, "FROM", "COPY --from"). FROM sees the names of the stages above it; ``COPY
--from`` sees all, so there can be a cycle.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kleene.build.platforms import automatic_arguments, host_platform
from kleene.dockerfile.document import Dockerfile, Given, Stage, given_stage, read_trigger
from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.expand import expand
from kleene.dockerfile.instructions import Copy, Instruction, OnBuild, Run
from kleene.dockerfile.source import Source
from kleene.dockerfile.words import Word
from kleene.errors import InvalidInput
from kleene.names import DEFAULT_TAG, ImageReference, parse_image_reference

SCRATCH = ImageReference("scratch")
"""No image: a stage that starts from it begins with an empty file system."""

Origin = Stage | ImageReference
"""Where files come from: another stage, or an image."""

Triggers = Mapping[ImageReference, Sequence[str]]
"""Instructions that ONBUILD recorded in images."""

Named = Mapping[str, ImageReference | None]
"""What the user gave names to, by :func:`context_name`: an image, or ``None`` for a directory. It goes before
stages and images of the same name (docker buildx build, "--build-context")."""


@dataclass(frozen=True)
class StageNode:
    """A stage with all that it refers to.

    Attributes:
        base: what FROM names.
        origins: what ``COPY --from`` and ``RUN --mount`` name, with the word that names it.
    """

    stage: Stage
    base: Origin
    origins: tuple[tuple[Word, Origin], ...]

    def needs(self) -> Iterator[tuple[Word, Stage]]:
        """The stages that must be built before, with the words that say so."""
        for word, origin in ((self.stage.base.image, self.base), *self.origins):
            if isinstance(origin, Stage):
                yield word, origin


def context_name(text: str) -> str:
    """What a name that FROM or ``--from`` has, or the user gave, is found by: ``web:latest`` is ``web``."""
    text = text.lower()
    try:
        reference = parse_image_reference(text)
    except InvalidInput:  # a stage may be called so
        return text
    return text if reference.snapshot else reference.nametag.removesuffix(f":{DEFAULT_TAG}")


def global_arguments(
    dockerfile: Dockerfile, build_args: Mapping[str, str], target: Stage
) -> dict[str, str]:
    """The values of the arguments before the first FROM, and of those that the platform gives.

    Args:
        target: what becomes the image.

    Raises:
        DockerfileError: a default cannot be expanded.
    """
    values = automatic_arguments(host_platform(), target.base.alias or "")
    values |= {name: value for name, value in build_args.items() if name in values}
    for argument in (a for arg in dockerfile.arguments for a in arg.arguments):
        if argument.name in build_args:
            values[argument.name] = build_args[argument.name]
        elif argument.default is not None:
            values[argument.name] = expand(argument.default, values, escape=dockerfile.escape)
    return values


def needed_stages(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    *,
    override: ImageReference | None = None,
    target: str = "",
    triggers: Triggers | None = None,
    named: Named | None = None,
) -> tuple[StageNode, ...]:
    """The stages that a build of ``target`` carries out, each after those that it needs.

    Args:
        triggers: what ONBUILD of the images that stages start from asks for, where it is known.
        override: takes the place of the image that the target is based on, by whatever stages.
        target: name or number of the stage that becomes the image; ``""`` is the last one.
        named: each directory of these that is needed is a stage, too.

    Raises:
        DockerfileError: a stage needs itself, or FROM or ``COPY --from`` cannot be understood.
        InvalidInput: there is no such target.
    """
    wanted = _target(dockerfile, target)
    arguments = global_arguments(dockerfile, build_args, wanted)
    resolver = _Resolver(dockerfile, arguments, triggers or {}, named or {})
    if override is not None:
        resolver.replace_image_of(wanted, override)
    return _in_order(resolver, wanted)


def trigger_source(stage: Stage, base: Origin, text: str) -> Source:
    """What ONBUILD of the base of a stage recorded, as a text to read.

    Raises:
        DockerfileError: it cannot be one.
    """
    owner = quoted(str(base))
    if isinstance(base, Stage):
        owner = f"stage {quoted(base.base.alias or str(base.index))}"
    image = stage.base.image
    return Source.from_text(f"in ONBUILD of {owner}", text, (image.line.source, image.range))


class _Resolver:
    """Finds out what a stage refers to, when it is asked for: stages not needed may be broken."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        arguments: Mapping[str, str],
        triggers: Triggers,
        contexts: Named,
    ) -> None:
        self._contexts = contexts
        self._given: dict[str, Stage] = {}
        self._dockerfile = dockerfile
        self._arguments = arguments
        self._triggers = triggers
        self._replaced: dict[int, ImageReference] = {}
        self._named: dict[str, list[Stage]] = {}
        for stage in dockerfile.stages:
            if stage.base.alias is not None:
                self._named.setdefault(stage.base.alias, []).append(stage)

    def node(self, stage: Stage) -> StageNode:
        self._check_platform(stage)
        stage, base = self._as_given(stage)
        instructions = (*self._triggers_of(stage, base), *stage.instructions)
        words = (word for i in instructions for word in _origin_words(i))
        origins = tuple((word, self._origin(word, stage)) for word in words if word is not None)
        return StageNode(stage, base, origins)

    def _as_given(self, stage: Stage) -> tuple[Stage, Origin]:
        """A stage and its base. The user may have said what the target's name means, too."""
        alias = stage.base.alias
        if alias is not None and stage.given is None:
            given = self._context(alias, stage.base.image, stage)
            if given is not None:
                return replace(stage, instructions=()), given
        return stage, self._base(stage)

    def _triggers_of(self, stage: Stage, base: Origin) -> Iterator[Instruction]:
        """What ONBUILD of a parent asks for: it names the stages of the file that starts from it."""
        texts = self._triggers.get(base, ()) if not isinstance(base, Stage) else _recorded(base)
        for text in texts:
            yield read_trigger(trigger_source(stage, base, text))[0]

    def _check_platform(self, stage: Stage) -> None:
        word, host = stage.base.platform, host_platform()
        if word is None:
            return
        wanted = expand(word, self._arguments, escape=self._dockerfile.escape)
        # The variant may be left out; that of every arm64 is 'v8'.
        variants = {"/".join(host.split("/")[:2]), host, f"{host}/v8" if "arm64" in host else host}
        if wanted not in variants:
            raise word.error(
                f"platform {quoted(wanted)} is not this host's, which is '{host}'",
                "leave --platform out",
            )

    def replace_image_of(self, stage: Stage, image: ImageReference) -> None:
        """Follow FROM up to the stage that starts from no other of the file, and give it an image."""
        while (above := self._base_in_file(stage)) is not None:
            stage = above
        self._replaced[stage.index] = image

    def _base_in_file(self, stage: Stage) -> Stage | None:
        text = self._base_text(stage)
        given = self._context(text, stage.base.image, stage)
        return self._stage_above(stage, text) if given is None else None

    def _base(self, stage: Stage) -> Origin:
        image = stage.base.image
        if stage.index in self._replaced:
            return self._replaced[stage.index]
        text = self._base_text(stage)
        if not text:
            raise image.error(
                "FROM names nothing: its variables are empty",
                "give the ARG before FROM a default, or a value with --build-arg",
            )
        return (
            self._context(text, image, stage)
            or self._stage_above(stage, text)
            or _image(image, text)
        )

    def _context(self, text: str, word: Word, stage: Stage) -> Origin | None:
        """What the user gave this name to. ``word``: of the stage, that has it."""
        if not self._contexts or (name := context_name(text)) not in self._contexts:
            return None
        if (image := self._contexts[name]) is not None:
            return image
        if name not in self._given:
            brought = word.line.source is not self._dockerfile.source
            given = Given(name, stage.base.range if brought else word.range)
            index = len(self._dockerfile.stages) + len(self._given)
            self._given[name] = given_stage(index, given)
        return self._given[name]

    def _base_text(self, stage: Stage) -> str:
        return expand(stage.base.image, self._arguments, escape=self._dockerfile.escape)

    def _stage_above(self, stage: Stage, name: str) -> Stage | None:
        """The stage of that name that is nearest above."""
        named = self._named.get(name.lower(), [])
        place = bisect_left(named, stage.index, key=lambda found: found.index)
        return named[place - 1] if place else None

    def _origin(self, word: Word, stage: Stage) -> Origin:
        """What a word of a stage names in ``--from``."""
        found = self._context(word.text, word, stage) or self._stage_or_image(word)
        if isinstance(found, Stage) and found.given is None:  # by a number, perhaps
            found = self._context(found.base.alias or "", word, stage) or found
        if found == SCRATCH:
            raise word.error(
                f"{quoted(word.text)} has no files", "name a stage, an image or a build context"
            )
        return found

    def _stage_or_image(self, word: Word) -> Origin:
        text = word.text
        if "$" in text:
            raise word.error(
                "variables cannot be used in '--from'",
                "name a stage: FROM IMAGE AS NAME, where an ARG before the first FROM can be used",
            )
        stages = self._dockerfile.stages
        if text.isdecimal() and text.isascii() and len(text) < 10:
            if int(text) >= len(stages):
                raise word.error(f"there is no stage {quoted(text)}", "the first stage is 0")
            return stages[int(text)]
        named = self._named.get(text.lower())
        return named[-1] if named else _image(word, text)


def _recorded(stage: Stage) -> Iterator[str]:
    return (i.text for i in stage.instructions if isinstance(i, OnBuild))


def _origin_words(instruction: Instruction) -> Iterator[Word | None]:
    """What an instruction takes files from."""
    if isinstance(instruction, Copy):
        yield instruction.origin
    if isinstance(instruction, Run):
        yield from (mount.origin for mount in instruction.mounts)


def _image(word: Word, text: str) -> ImageReference:
    try:
        return parse_image_reference(text)
    except InvalidInput as error:
        raise word.error(error.message, error.hint) from None


def _target(dockerfile: Dockerfile, target: str) -> Stage:
    if not target:
        return dockerfile.stages[-1]
    for stage in reversed(dockerfile.stages):
        if target.lower() == stage.base.alias or target == str(stage.index):
            return stage
    known = [stage.base.alias for stage in dockerfile.stages if stage.base.alias]
    near = nearest(target, known)
    raise InvalidInput(
        f"the Dockerfile has no stage {quoted(target)}",
        hint=f"did you mean '{near}'?" if near else "name one with FROM IMAGE AS NAME",
    )


def _in_order(nodes: _Resolver, target: Stage) -> tuple[StageNode, ...]:
    """Depth first, without recursion: a file may have more stages than Python has stack."""
    done: dict[int, StageNode] = {}
    first = nodes.node(target)
    path = {target.index: (first, first.needs())}
    while path:
        index, (node, needs) = next(reversed(path.items()))
        for word, stage in needs:
            if stage.index in path:
                raise word.error(
                    f"stage {quoted(word.text)} needs itself", "take the files from another stage"
                )
            if stage.index not in done:
                found = nodes.node(stage)
                path[stage.index] = (found, found.needs())
                break
        else:
            del path[index]
            done[index] = node
    return tuple(done.values())
