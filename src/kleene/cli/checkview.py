"""What ``klee build --check`` shows: each warning with its line and its reason, or all of them as JSON."""

from __future__ import annotations

from typing import Any

import click

from kleene.cli.buildview import warning_lines
from kleene.cli.output import print_json, style
from kleene.client.failures import OperationFailed
from kleene.client.streams import Output, Stream


def show_check(stream: Stream, *, as_json: bool) -> int:
    """Show a check to its end; the exit status: 1 if a check is violated.

    Raises:
        OperationFailed: the Dockerfile cannot be built at all.
    """
    warnings: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    for event in stream:
        if isinstance(event, Output):
            continue
        if event["type"] == "warning":
            warnings.append({key: value for key, value in event.items() if key != "type"})
            if not as_json:
                show_warning(event)
        last = event
    violated = sum(warning.get("kind", "kleene") != "kleene" for warning in warnings)
    if as_json:
        print_json({"warnings": warnings, "violations": violated})
    elif last["type"] == "closing":
        click.echo(_summary(len(warnings), violated))
    if last["type"] == "failed":
        raise OperationFailed(last)
    return 1 if violated else 0


def show_warning(warning: dict[str, Any]) -> None:
    """Print a warning: the fact, its place, the remedy, and where to read about it."""
    click.echo("\n".join(warning_lines(warning)))
    if rule := warning.get("rule"):
        click.echo(f"{style('rule:', fg='yellow', bold=True)} {rule} ({warning['page']})")
    click.echo()


def _summary(found: int, violated: int) -> str:
    if not found:
        return "checked: no warnings"
    return f"checked: {found} warning{'s' * (found > 1)}, {violated} of them fail the check"
