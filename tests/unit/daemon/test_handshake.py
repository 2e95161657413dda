"""Clients of other versions: served if they fit, told if they do not."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.daemon.documented import nearest_status
from kleene.daemon.handshake import misfit
from kleene.schemas.versions import HEADER, fit, is_newer
from tests.api.asgi import Api
from tests.api.conftest import api, app, document, engine, streams
from tests.api.test_document import DOCUMENTED

__all__ = ["api", "app", "document", "engine", "streams"]


@pytest.mark.parametrize(
    ("one", "other", "fitting"),
    [
        ("0.1.0", "0.1.9", True),
        ("0.1.0", "0.2.0", False),
        ("1.2.0", "1.9.3", True),
        ("1.0.0", "2.0.0", False),
        ("1.0.0", "0.1.0", False),
        ("0.1", "0.1.0", False),
        ("٠.1.0", "0.1.0", False),
    ],
)
def test_what_fits(one: str, other: str, fitting: bool) -> None:
    assert fit(one, other) is fitting
    assert fit(other, one) is fitting


def test_the_older_side_is_to_be_updated() -> None:
    assert is_newer("0.10.0", "0.9.0")
    newer, older = misfit("/x", "9.0.0"), misfit("/x", "0.0.1")
    assert newer is not None and "update kleened, the daemon" in str(newer.hint)
    assert older is not None and "update klee, the client" in str(older.hint)
    assert misfit("/version", "9.0.0") is None


async def test_documented_client_says_no_version_and_is_served(api: Api) -> None:
    del api.raw.headers[HEADER]
    assert (await api.raw.get("/containers/list")).status_code == 200
    answer = await api.raw.get("/containers/list", headers={"Kleene-API-Version": "9.0.0"})
    assert answer.status_code == 400
    assert "do not fit" in answer.json()["message"]


async def test_path_that_only_a_newer_client_knows(api: Api) -> None:
    answer = await api.raw.get("/nothing", headers={"Kleene-API-Version": "0.1.1"})
    assert answer.status_code == 404
    assert "update kleened" in answer.json()["hint"]
    assert "hint" not in (await api.raw.get("/nothing")).json()


async def test_documented_client_gets_the_statuses_that_it_knows(
    api: Api, document: dict[str, Any]
) -> None:
    """A conflict and a mistake too, where only 404 is documented."""
    body = {"cmd": [], "container_id": 3}
    assert (await api.raw.post("/exec/create", json=body)).status_code == 400
    del api.raw.headers[HEADER]
    answer = await api.raw.post("/exec/create", json=body)
    assert answer.status_code == 404
    assert "container_id" in answer.json()["message"]
    assert (await api.raw.get("/containers/nothing/top")).status_code == 404


def test_documented_statuses_are_those_of_the_documentation() -> None:
    for operation in DOCUMENTED["operations"]:
        documented = {int(status) for status in operation["responses"]}
        for status in (400, 404, 409):
            told = nearest_status(operation["operationId"], status)
            if documented & {404, 409}:
                assert told in documented, operation["operationId"]
            else:
                assert told == status
