"""Checks of Dockerfiles: what they need to know of images and contexts, and how their warnings are told.

A build tells a warning at the step that it is about, and at most :data:`MOST` of them; ``klee build --check``
tells all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import chain

from kleene.build.context import Context
from kleene.build.events import Emit, Event, StepStarted, Warned
from kleene.build.plan import Plan
from kleene.build.platforms import automatic_arguments, host_platform
from kleene.build.stages import Named, context_name
from kleene.dockerfile.document import Dockerfile
from kleene.dockerfile.lint import Facts, base_images, lint
from kleene.dockerfile.lint_variables import Parent
from kleene.dockerfile.rules import PAGE, RULES, violations
from kleene.dockerfile.source import DockerfileWarning, picture
from kleene.engine import lookup
from kleene.errors import InvalidInput, KleeneError
from kleene.host.threads import in_thread
from kleene.metadata.images import ImageStore
from kleene.names import ImageReference

MOST = 20
"""Warnings that a build tells."""

Warnings = tuple[DockerfileWarning, ...]


async def check(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    context: Context,
    images: ImageStore,
    given: Named,
) -> Warnings:
    """All warnings of a Dockerfile, in its order. A hostile file takes seconds: that is a thread's work."""
    facts = Facts(
        build_args,
        automatic_arguments(host_platform()),
        given=lambda name: context_name(name) in given,
        ignored=context.ignores_all_of,
    )
    named = await in_thread(lambda _: base_images(dockerfile, facts))
    parents = {name: _parent(images, given.get(context_name(name), name)) for name in named}
    known = replace(facts, parent=parents.get)
    return await in_thread(lambda _: lint(dockerfile, known))


def refuse(dockerfile: Dockerfile, warnings: Warnings) -> None:
    """Keep a build from beginning that asked for it: by ``# check=error=true``.

    Raises:
        InvalidInput: a check is violated.
    """
    found = violations(warnings) if dockerfile.check.error else []
    if found:
        names = ", ".join(sorted({warning.rule for warning in found}))
        raise InvalidInput(
            f"the Dockerfile violates checks, and says error=true: {names}",
            hint=f"see them all: klee build --check; {PAGE} has their reasons",
        )


def warned(warning: DockerfileWarning) -> Warned:
    """A warning as it is told."""
    rule = RULES[warning.rule]
    start = warning.range.start
    return Warned(
        str(warning),
        rule=rule.name,
        kind=rule.kind,
        hint=warning.hint,
        details=picture(warning.source, warning.range),
        page=rule.page,
        line=start.line,
        column=start.column,
    )


def at_their_steps(emit: Emit, warnings: Iterable[DockerfileWarning], plan: Plan) -> Emit:
    """``emit`` that tells each warning when the step begins that it is about.

    What is about no step, as in a stage that is not built, is told with the first.
    """
    told = list(warnings)
    by_step = _by_step(told[:MOST], plan)
    more = len(told) - MOST

    async def emit_with_warnings(event: Event) -> None:
        await emit(event)
        if not isinstance(event, StepStarted):
            return
        for warning in by_step.pop(event.number, ()):
            await emit(warned(warning))
        if more > 0 and not by_step and event.number == last:
            await emit(Warned(f"{more} more warnings; all of them: klee build --check"))

    last = max(by_step, default=0)
    return emit_with_warnings


def _by_step(
    warnings: Iterable[DockerfileWarning], plan: Plan
) -> dict[int, list[DockerfileWarning]]:
    first = min((step.number for step in plan.steps), default=1)
    number_of = _steps_by_line(plan)
    found = defaultdict(list)
    for warning in warnings:
        found[number_of(warning.range.start.line) or first].append(warning)
    return dict(found)


def _steps_by_line(plan: Plan) -> Callable[[int], int | None]:
    lines: dict[int, int] = {}
    # What the user gave stands at the place of who names it first, which comes after it.
    read = (stage.steps for stage in plan.stages if stage.node.stage.given is None)
    for step in chain.from_iterable(read):
        # The triggers of a parent image stand at the place of FROM, which comes before them.
        for line in range(step.range.start.line, step.range.end.line + 1):
            lines.setdefault(line, step.number)
    return lines.get


def _parent(images: ImageStore, image: ImageReference | str | None) -> Parent | None:
    """What is known of an image, or of a directory that the user gave: ``None``."""
    if image is None or str(image).lower() == "scratch":
        return Parent()
    try:
        record, _ = lookup.image(images, str(image))
    except KleeneError:
        return None
    env = {key: value for key, _, value in (entry.partition("=") for entry in record.env)}
    return Parent(env, bool(record.settings.shell))
