"""A page that shows the API in a browser: plain HTML, nothing loaded from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "code{background:#eee;padding:.1em .3em}pre{white-space:pre-wrap}"
    "section{border-top:1px solid #ccc;margin-top:1.5em}"
)


class DocsPage(OpenAPIRenderPlugin):
    """Renders the OpenAPI document as one page."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The whole page."""
        return page(openapi_schema).encode()


def page(document: dict[str, Any]) -> str:
    """The OpenAPI ``document`` as HTML."""
    title = escape(f"{document['info']['title']} API {document['info']['version']}")
    body = "".join(_operations(document))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a></p>{body}</body></html>'
    )


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, item in sorted(document["paths"].items()):
        for method, operation in item.items():
            yield _section(f"{method.upper()} {path}", operation)


def _section(heading: str, operation: dict[str, Any]) -> str:
    rows = [
        *(_parameter(each) for each in operation.get("parameters", ())),
        *_body(operation),
        *(
            f"<li><code>{status}</code> {escape(answer['description'])} {_type(answer)}</li>"
            for status, answer in sorted(operation["responses"].items())
        ),
    ]
    return (
        f"<section><h2><code>{escape(heading)}</code></h2>"
        f"<pre>{escape(operation.get('description', ''))}</pre><ul>{''.join(rows)}</ul></section>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    return (
        f"<li>{escape(parameter['in'])} <code>{escape(parameter['name'])}</code> "
        f"{escape(parameter.get('description', ''))}</li>"
    )


def _body(operation: dict[str, Any]) -> Iterator[str]:
    if body := operation.get("requestBody"):
        yield f"<li>body {_type(body)}</li>"


def _type(holder: dict[str, Any]) -> str:
    for media in holder.get("content", {}).values():
        reference = media.get("schema", {}).get("$ref", "")
        if reference:
            return f"<code>{escape(reference.rpartition('/')[2])}</code>"
    return ""
