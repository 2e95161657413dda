"""Space on disk: what there is, what prunes would free, and the prunes of images and of the build cache."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import QueryParameter

from kleene.daemon.routes.common import Engine, errors, filters_of
from kleene.schemas.space import PrunePlan, SystemUsage

_All = Annotated[bool, QueryParameter(description="Those that have a tag, too.")]
_Every = Annotated[bool, QueryParameter(description="The steps of tagged images, too.")]
_Filters = Annotated[list[str] | None, filters_of("prune")]
_Times = Annotated[list[str] | None, filters_of("build")]
_Only = Annotated[
    str | None,
    QueryParameter(description="Of those, only the ones with these ids, commas between."),
]


@get("/df", operation_id="System.Usage", summary="df", responses=errors())
async def usage(engine: Engine) -> SystemUsage:
    """Tell what all objects hold on disk, alone and together, and what pruning would free.

    Counted are the blocks of files' data that nothing else refers to. It takes a while with much that is new.
    """
    return await engine.space.usage()


@get(
    "/images/prune",
    operation_id="Image.PrunePlan",
    summary="image prune plan",
    responses=errors(),
)
async def plan_images(engine: Engine, all: _All = False, filters: _Filters = None) -> PrunePlan:  # noqa: A002
    """Tell which images a prune would remove, and how much comes free by that."""
    return await engine.space.plan_images(every=all, filters=filters or ())


@post(
    "/images/prune",
    status_code=200,
    operation_id="Image.Prune",
    summary="image prune",
    responses=errors(),
)
async def prune_images(
    engine: Engine,
    all: _All = False,  # noqa: A002 - the documented name
    filters: _Filters = None,
    only: _Only = None,
) -> list[str]:
    """Remove all images that no container uses; their ids."""
    return await engine.space.prune_images(every=all, filters=filters or (), only=_listed(only))


@get(
    "/builds/prune",
    operation_id="Build.PrunePlan",
    summary="build prune plan",
    responses=errors(),
)
async def plan_cache(engine: Engine, all: _Every = False, filters: _Times = None) -> PrunePlan:  # noqa: A002
    """Tell what a prune of the build cache would remove, and how much comes free by that."""
    return await engine.space.plan_cache(every=all, filters=filters or ())


@post(
    "/builds/prune",
    status_code=200,
    operation_id="Build.Prune",
    summary="build prune",
    responses=errors(),
)
async def prune_cache(
    engine: Engine,
    all: _Every = False,  # noqa: A002
    filters: _Times = None,
    only: _Only = None,
) -> list[str]:
    """Remove what builds left: snapshots that no image is, failed builds, unused mounts, contexts; their ids.

    Every image can still be used, and its last state be built on.
    """
    return await engine.space.prune_cache(every=all, filters=filters or (), only=_listed(only))


def _listed(ids: str | None) -> list[str] | None:
    return None if ids is None else ids.split(",")


handlers = [usage, plan_images, prune_images, plan_cache, prune_cache]
