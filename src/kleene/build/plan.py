"""The plan: from instructions to steps, when the parent images and the build arguments are known.

Pure: it decides, the solver does. Two calls, because what FROM and ``COPY --from`` name has to be looked up
in between: :func:`stages_of`, then :func:`plan`. ONBUILD of an image may name more, and then the first is
called again. Where Kleene's reference says nothing, instructions mean what Docker's reference says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kleene.build.config import ImageConfig
from kleene.build.scope import BUILTIN_ARGUMENTS, PROXY_ARGUMENTS, check_build_args
from kleene.build.stage_plan import Options, Outcome, StagePlan, StagePlanner
from kleene.build.stages import Named, StageNode, Triggers, global_arguments, needed_stages
from kleene.build.steps import ConfigStep, Step
from kleene.dockerfile.document import Dockerfile, Stage
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.instructions import Arg
from kleene.names import ImageReference, parse_image_reference


@dataclass(frozen=True)
class Plan:
    """What a build does.

    Attributes:
        stages: in the order in which they are built; the last one becomes the image.
        warnings: what is wrong with what the user gave; ``dockerfile.lint`` finds what is with the file.
    """

    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def config(self) -> ImageConfig:
        """What the image says of its containers."""
        return self.stages[-1].outcome.config


def stages_of(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    override: str = "",
    *,
    target: str = "",
    triggers: Triggers | None = None,
    named: Named | None = None,
) -> tuple[StageNode, ...]:
    """The stages that are built, in order, with what they refer to.

    Args:
        override: a reference that takes the place of the image that the target starts from, if not empty.
        target: name or number of the stage to build; ``""`` is the last one.
        triggers: what ONBUILD of the images that stages start from asks for, as far as they were looked up.
        named: what the user gave names to.

    Raises:
        DockerfileError: FROM or ``COPY --from`` names what cannot be.
        InvalidInput: ``override``, ``target`` or a build argument is not valid.
    """
    check_build_args(build_args)
    image = parse_image_reference(override) if override else None
    return needed_stages(
        dockerfile, build_args, override=image, target=target, triggers=triggers, named=named
    )


def plan(
    dockerfile: Dockerfile,
    nodes: Sequence[StageNode],
    bases: Mapping[ImageReference, ImageConfig],
    build_args: Mapping[str, str],
    *,
    override: str = "",
    user: str = "",
    env: Sequence[str] = (),
) -> Plan:
    """Decide what a build does.

    Args:
        nodes: what :func:`stages_of` returned.
        bases: configuration of the images that the stages start from.
        override: as given to :func:`stages_of`.
        user: who runs commands until the first USER; ``""``: the user of the parent. The image does
            not keep it.
        env: environment of the build container: for RUN only, weaker than a later ENV.

    Raises:
        DockerfileError: an instruction cannot be carried out, whatever the context and the image hold.
    """
    arguments = global_arguments(dockerfile, build_args, nodes[-1].stage)
    options = Options(build_args, arguments, user, tuple(env))
    steps: list[Step] = []
    for number, argument in enumerate(dockerfile.arguments, start=1):
        steps.append(ConfigStep(number, argument.statement.text, argument.range))
    stages: dict[int, StagePlan] = {}
    count = len(steps)
    for node in nodes:
        base = node.base
        parent = stages[base.index].outcome if isinstance(base, Stage) else Outcome(bases[base])
        shown = override if override and base == parse_image_reference(override) else ""
        planned = StagePlanner(dockerfile, node, parent, options, count).plan(steps, shown)
        count += len(planned.steps) - len(steps)
        steps = []
        stages[node.stage.index] = planned
    return Plan(tuple(stages.values()), _unused(dockerfile, build_args))


def _unused(dockerfile: Dockerfile, build_args: Mapping[str, str]) -> tuple[str, ...]:
    declared = {
        argument.name
        for instruction in dockerfile.instructions()
        if isinstance(instruction, Arg)
        for argument in instruction.arguments
    }
    unused = sorted(build_args.keys() - declared - PROXY_ARGUMENTS - BUILTIN_ARGUMENTS)
    return tuple(f"build argument {quoted(name)} is declared by no ARG" for name in unused)
