"""``klee build``: build an image, and show how the build goes."""

from __future__ import annotations

import os
from typing import Any

import click

from kleene.cli.arguments import build_arguments, container_config, endpoint
from kleene.cli.command import command
from kleene.cli.options import container_options
from kleene.cli.output import print_error
from kleene.cli.session import Session, pass_session

_INTERRUPTED = 130


@command(
    examples=(
        "klee build -t web:latest .",
        "klee build -f Dockerfile.debug --build-arg VERSION=1.4 .",
        "klee build --check .",
        "klee build --from web:failed@3f2a -t web .",
        "klee build --resume web:failed -t web .",
    )
)
@click.option("--tag", "-t", default="", metavar="NAME[:TAG]", help="Name of the image.")
@click.option(
    "--file",
    "-f",
    default="Dockerfile",
    show_default=True,
    metavar="FILE",
    help="Dockerfile, relative to PATH.",
)
@click.option(
    "--build-arg",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Value of an ARG; without VALUE, that of klee's environment. Repeatable.",
)
@click.option("--from", "base", metavar="IMAGE", help="Start from IMAGE, whatever FROM says.")
@click.option(
    "--target",
    default="",
    metavar="STAGE",
    help="Build this stage, by name or number, instead of the last one.",
)
@click.option("--no-cache", is_flag=True, help="Run every step, though a snapshot of it exists.")
@click.option(
    "--no-cache-filter",
    multiple=True,
    metavar="STAGE[,STAGE]",
    help="Run every step of these stages, by name or number. Repeatable.",
)
@click.option(
    "--cache-from-step",
    type=click.IntRange(min=0),
    metavar="N",
    help="Take steps from the cache up to step N, and run those after it.",
)
@click.option(
    "--resume",
    default="",
    metavar="IMAGE|CONTAINER",
    help="Go on with a build that failed, from its last good step, a snapshot, or a container's files.",
)
@click.option(
    "--parallel",
    type=click.IntRange(min=1),
    metavar="N",
    help="Build at most N stages at a time; the default is the cores of kleened's host.",
)
@click.option(
    "--explain", is_flag=True, help="Say of each step why it was or was not in the cache."
)
@click.option("--check", is_flag=True, help="Only check the Dockerfile, and build nothing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What --check prints: text for people, or JSON for programs.",
)
@click.option("--rm", is_flag=True, help="Remove what was built if the build fails.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the image's id.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain"]),
    default="auto",
    show_default=True,
    help="plain: lines instead of the live view, in a terminal too.",
)
@container_options
@click.argument("path")
@pass_session
def build(session: Session, /, **options: Any) -> int:
    """Build an image from the Dockerfile and the files in PATH.

    PATH is a directory of kleened's host. The container options configure the container that the image is
    built in. Interrupting klee cancels the build.
    """
    from kleene.cli.buildview import choose_view, show_build

    config = build_config(options)
    if options["check"]:
        from kleene.cli.checkview import show_check

        with session.client.images.build(config) as stream:
            return show_check(stream, as_json=options["form"] == "json")
    live = session.fancy and options["progress"] == "auto"
    view = choose_view(live=live, quiet=options["quiet"], explain=options["explain"])
    try:
        with session.client.images.build(config) as stream:
            return show_build(stream, view, options["tag"])
    except KeyboardInterrupt:
        print_error("the build was cancelled")
        return _INTERRUPTED


def build_config(options: dict[str, Any]) -> dict[str, Any]:
    """The ``ImageBuildConfig`` of the options of ``build``. Raises InvalidInput."""
    container = container_config(options, os.environ) | {"image": options["base"]}
    network = options["network"]
    return {
        "context": os.path.abspath(options["path"]),  # noqa: PTH100 - pathlib is dear
        "dockerfile": options["file"],
        "tag": options["tag"],
        "buildargs": build_arguments(options["build_arg"], os.environ),
        "cleanup": options["rm"],
        "quiet": options["quiet"],
        "no_cache": options["no_cache"],
        "target": options["target"],
        "check": options["check"],
        "no_cache_filter": list(options["no_cache_filter"]),
        "cache_last_step": options["cache_from_step"],
        "parallel": options["parallel"] or 0,
        "ordered": True,
        "resume": options["resume"],
        "container_config": container,
        "networks": [endpoint(network, "", options["ip"], options["ip6"])] if network else [],
    }
