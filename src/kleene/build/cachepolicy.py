"""Which steps may take their state from the cache, as the user wants it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kleene.build import reasons
from kleene.dockerfile.document import Dockerfile, Stage
from kleene.dockerfile.excerpt import nearest, quoted
from kleene.errors import InvalidInput


@dataclass(frozen=True)
class CachePolicy:
    """What the cache is asked.

    Attributes:
        use: anything at all.
        without: indexes of stages for which it is not.
        last_step: number of the last step for which it is; ``None`` is all.
    """

    use: bool = True
    without: frozenset[int] = frozenset()
    last_step: int | None = None

    def refusal(self, stage: int, step: int) -> str:
        """Why it is not asked for a step; ``""`` if it is."""
        if not self.use:
            return reasons.NO_CACHE
        if stage in self.without:
            return reasons.NO_CACHE_FOR_STAGE
        if self.last_step is not None and step > self.last_step:
            return f"the cache is asked up to step {self.last_step} only"
        return ""


def cache_policy(
    dockerfile: Dockerfile, *, use: bool, filters: Sequence[str], last_step: int | None
) -> CachePolicy:
    """The policy that these options mean.

    Args:
        filters: names or numbers of stages, several in one separated by commas.

    Raises:
        InvalidInput: there is no such stage, or no such step.
    """
    names = [name for text in filters for name in text.split(",") if name]
    if last_step is not None and last_step < 0:
        raise InvalidInput(f"there is no step {last_step}", hint="0 asks the cache for no step")
    without = frozenset(stage.index for name in names for stage in _named(dockerfile, name))
    return CachePolicy(use, without, last_step)


def _named(dockerfile: Dockerfile, name: str) -> list[Stage]:
    stages = dockerfile.stages
    found = [s for s in stages if name.lower() == s.base.alias or name == str(s.index)]
    if not found:
        near = nearest(name, [stage.base.alias for stage in stages if stage.base.alias])
        raise InvalidInput(
            f"the Dockerfile has no stage {quoted(name)} that could be built without the cache",
            hint=f"did you mean '{near}'?" if near else "name a stage, or its number from 0",
        )
    return found
