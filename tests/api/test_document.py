"""The OpenAPI document: complete in itself, and a superset of the documented API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from tests.api.asgi import Api

DOCUMENTED: dict[str, Any] = json.loads(Path(__file__).with_name("documented_api.json").read_text())
"""Facts of Kleene's public API description, version 0.0.1: paths, parameters, fields, types."""

_LISTS = {name: each["items"] for name, each in DOCUMENTED["schemas"].items() if "items" in each}
_STREAMS = {
    "/exec/start",
    "/images/build",
    "/images/create",
    "/images/bisect",
    "/containers/{container_id}/logs",
    "/containers/{container_id}/attach",
    "/events",
    "/containers/{container_id}/wait",
}


def operations(document: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return schema.get("oneOf") or schema.get("anyOf") or [schema]


def type_names(schema: dict[str, Any]) -> set[str]:
    """The types that a schema allows, references by their name."""
    names: set[str] = set()
    for each in alternatives(schema):
        kind = each.get("type", each.get("$ref", "").rpartition("/")[2])
        names |= set(kind) if isinstance(kind, list) else {kind}
    return names


def content(holder: dict[str, Any]) -> str | None:
    """The name of the type in a body or an answer; of a list, its documented name."""
    if "content" not in holder:
        return None
    schema = holder["content"]["application/json"]["schema"]
    if schema.get("type") == "array":
        (items,) = type_names(schema["items"])
        return next(str(name) for name, of in _LISTS.items() if of == items)
    return str(schema["$ref"]).rpartition("/")[2]


@pytest.mark.parametrize(
    "wanted", DOCUMENTED["operations"], ids=lambda each: f"{each['method']} {each['path']}"
)
def test_documented_operation_is_there(document: dict[str, Any], wanted: dict[str, Any]) -> None:
    operation = document["paths"][wanted["path"]][wanted["method"]]

    assert operation["operationId"] == wanted["operationId"]
    parameters = {each["name"]: each["in"] for each in operation.get("parameters", [])}
    assert parameters.items() >= wanted["parameters"].items()
    assert content(operation.get("requestBody", {})) == wanted["body"]
    for status, name in wanted["responses"].items():
        assert content(operation["responses"][status]) == name, status


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED["schemas"]) - set(_LISTS)))
def test_documented_type_has_its_fields(document: dict[str, Any], name: str) -> None:
    ours = document["components"]["schemas"][name]
    for field, wanted in DOCUMENTED["schemas"][name]["fields"].items():
        schema = ours["properties"][field]
        types = type_names(schema)
        assert wanted["type"] in types, field
        if wanted.get("nullable") and name.endswith("Config"):
            assert "null" in types, field
        main = next(each for each in alternatives(schema) if wanted["type"] in type_names(each))
        if "items" in wanted:
            assert type_names(main["items"]) == {wanted["items"]}, field
        if "enum" in wanted:
            assert set(main["enum"]) >= set(wanted["enum"]), field


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED["schemas"]) - set(_LISTS)))
def test_what_we_take_needs_no_more_fields_than_documented(
    document: dict[str, Any], name: str
) -> None:
    if not name.endswith("Config"):
        return
    documented = DOCUMENTED["schemas"][name]
    demanded = set(document["components"]["schemas"][name].get("required", []))
    without_default = {
        field for field, wanted in documented["fields"].items() if "default" not in wanted
    }
    assert demanded <= set(documented["required"]) | without_default


def test_every_operation_is_described_and_tells_its_errors(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation.get("description"), where
        assert operation.get("summary"), where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where}: {parameter['name']}"
        errors = {status: each for status, each in operation["responses"].items() if status > "399"}
        if path in _STREAMS:
            assert content(errors["426"]) == "ErrorResponse"
        else:
            assert {"400", "500"} <= set(errors), where
            assert {content(each) for each in errors.values()} == {"ErrorResponse"}, where
            if "{" in path:
                assert "404" in errors, where


def test_streams_describe_both_protocols(document: dict[str, Any]) -> None:
    for path in _STREAMS:
        operation = document["paths"][path]["get"]
        assert content(operation["responses"]["200"]) == "WebSocketMessage"
        frames = operation["responses"]["101"]["content"]["application/json"]["schema"]
        assert {"Starting", "Closing", "Failed", "Resize"} <= type_names(frames)
        assert "kleene.stream.v1" in operation["description"]


def test_every_route_is_in_the_document(app: Litestar, document: dict[str, Any]) -> None:
    ours = {route.path_format for route in app.routes} - {"/openapi.json"}
    served = {path for path in ours if not path.startswith("/docs")}
    assert served == set(document["paths"])


def test_references_resolve(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in document["components"]["schemas"]


async def test_document_and_page_are_served(api: Api, document: dict[str, Any]) -> None:
    assert (await api.raw.get("/openapi.json")).json() == json.loads(json.dumps(document))
    page = await api.raw.get("/docs")
    assert page.status_code == 200
    assert "Container.Create" not in page.text
    assert "POST /containers/create" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
