"""What the routes share: the engine as a parameter, and the errors that an operation may answer with."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter, QueryParameter, SkipValidation

from kleene.daemon.facade import EngineFacade
from kleene.schemas.common import ErrorResponse
from kleene.schemas.filters import ALL_OF, KEYS, Kind

Engine = NamedDependency[SkipValidation[EngineFacade]]
# How a route takes the engine: it is injected by its name, ``engine``.

ContainerRef = Annotated[
    str, PathParameter(description="Name, id or unique beginning of the id of a container.")
]
ImageRef = Annotated[
    str, PathParameter(description="Image: ID or NAME[:TAG]; the id may be its unique beginning.")
]
NetworkRef = Annotated[
    str, PathParameter(description="Name, id or unique beginning of the id of a network.")
]


_TIME = "The value of until is ISO 8601 (in UTC if it has no zone), or how long ago, as 36h."


def filters_of(kind: Kind) -> QueryParameter:
    """The query parameter of the filters of a list: it may be given several times."""
    together = [key for key in ALL_OF if key in KEYS[kind]]
    return QueryParameter(
        name="filter",
        description=f"KEY=VALUE, for what is wanted; keys are {', '.join(KEYS[kind])}."
        + (f" {_TIME}" if "until" in together else "")
        + " Of one key any must fit"
        + (f", of {', '.join(together)} all" if together else "")
        + ", of several keys each.",
    )


VolumeName = Annotated[str, PathParameter(description="Name of a volume.")]

_MEANING = {
    400: "The request cannot be understood.",
    404: "An object that was named does not exist.",
    409: "The present state or use of an object forbids it.",
    500: "The host or Kleene failed.",
}


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers of an operation: ``statuses``, and those that any operation may have."""
    return {
        status: ResponseSpec(ErrorResponse, description=_MEANING[status], generate_examples=False)
        for status in sorted({400, 500, *statuses})
    }
