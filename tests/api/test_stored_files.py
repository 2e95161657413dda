"""Secrets and configs: what the API tells of them, and what not."""

from __future__ import annotations

import base64

import pytest

from tests.api.asgi import Api

DATA = base64.b64encode(b"content").decode()


@pytest.mark.parametrize("kind", ["secrets", "configs"])
async def test_from_creation_to_removal(api: Api, kind: str) -> None:
    wanted = {"name": "key", "data": DATA, "labels": {"a": "b"}}
    assert await api.send("POST", f"/{kind}/create", wanted) == {"id": "key"}
    assert (await api.request("POST", f"/{kind}/create", wanted)).status_code == 409
    (listed,) = await api.send("GET", f"/{kind}/list")
    assert (listed["name"], listed["labels"], "data" in listed) == ("key", {"a": "b"}, False)
    shown = await api.send("GET", f"/{kind}/key/inspect")
    assert shown.get("data") == (DATA if kind == "configs" else None)
    assert await api.send("DELETE", f"/{kind}/key") == {"id": "key"}
    assert (await api.request("DELETE", f"/{kind}/key")).status_code == 404


async def test_an_error_does_not_repeat_the_content(api: Api) -> None:
    for body in ({"name": "key", "data": [DATA]}, {"name": 5, "data": DATA}, {"data": DATA}):
        answer = await api.request("POST", "/secrets/create", body)
        assert answer.status_code == 400
        assert DATA not in answer.text
