"""``klee image tree``: what was cloned from what, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from kleene.cli.command import command
from kleene.cli.output import is_terminal, printable, style
from kleene.cli.session import Session, pass_session

_WIDTH = 60


@dataclass
class Node:
    """A line of the tree, and what hangs on it."""

    text: str
    colour: str | None = None
    children: list[Node] = field(default_factory=list)


@command(examples=("klee image tree", "klee image tree --steps web"))
@click.option(
    "--steps", "-s", is_flag=True, help="Show every snapshot, not only those with clones."
)
@click.argument("image", required=False)
@pass_session
def tree(session: Session, image: str | None, steps: bool) -> None:
    """Draw which images and containers were cloned from which snapshots.

    With IMAGE, only that one and what was made from it.
    """
    images = session.client.images.list()
    containers = session.client.containers.list(all=True)
    only = session.client.images.inspect(image)["id"] if image else None
    lines = _UNICODE if is_terminal() else _ASCII
    for node in build(images, containers, every=steps, only=only):
        for line in draw(node, lines):
            click.echo(line)


def build(
    images: list[dict[str, Any]],
    containers: list[dict[str, Any]],
    *,
    every: bool,
    only: str | None = None,
) -> list[Node]:
    """The trees of all base images, or that of one image."""
    known = {image["id"] for image in images}
    below: dict[str, list[dict[str, Any]]] = {}
    roots = []
    for image in images:
        parent = image["parent"].partition("@")[0]
        if parent in known:
            below.setdefault(parent, []).append(image)
        if image["id"] == only or (only is None and parent not in known):
            roots.append(image)
    nodes = [_image(image, below, containers, every) for image in roots]
    for image, node in zip(roots, nodes, strict=True):
        if image["parent"]:
            node.text += f", made from {image['parent']}"
    return nodes


def _image(
    image: dict[str, Any],
    below: dict[str, list[dict[str, Any]]],
    containers: list[dict[str, Any]],
    every: bool,
) -> Node:
    """An image with its snapshots; on each of these what was cloned from it."""
    states = {snapshot: text for text, snapshot in image["instructions"] if snapshot}
    states.setdefault(image["snapshot"], "")
    nodes = {snapshot: _state(image, snapshot, text) for snapshot, text in states.items()}
    node = Node(_title(image), "bright_green")
    for child in below.get(image["id"], []):
        origin = nodes.get(child["parent"].partition("@")[2], node)
        origin.children.append(_image(child, below, containers, every))
    for container in containers:
        if container["image_id"] == image["id"]:
            nodes.get(container["snapshot"], node).children.append(_container(container))
    shown = [n for s, n in nodes.items() if every or n.children or s == image["snapshot"]]
    node.children = [*shown, *node.children]
    return node


def _title(image: dict[str, Any]) -> str:
    name = f"{image['name']}:{image['tag']}" if image["name"] else "(no name)"
    return f"{name} {image['id']}"


def _state(image: dict[str, Any], snapshot: str, text: str) -> Node:
    shown = printable(text)
    shown = shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."
    last = " (the image)" if snapshot == image["snapshot"] else ""
    return Node(" ".join(filter(None, (f"@{snapshot}", shown))) + last, "cyan")


def _container(container: dict[str, Any]) -> Node:
    how = "running" if container["running"] else "stopped"
    return Node(f"container {container['name']} {container['id']} ({how})", "bright_blue")


_UNICODE = ("├── ", "└── ", "│   ", "    ")
_ASCII = ("|-- ", "`-- ", "|   ", "    ")


def draw(node: Node, lines: tuple[str, str, str, str]) -> Iterator[str]:
    """The lines of a tree, one at a time."""
    yield style(node.text, fg=node.colour) if lines is _UNICODE else node.text
    for index, child in enumerate(node.children):
        is_last = index == len(node.children) - 1
        head, *rest = draw(child, lines)
        yield f"{lines[1] if is_last else lines[0]}{head}"
        yield from (f"{lines[3] if is_last else lines[2]}{line}" for line in rest)
