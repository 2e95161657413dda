"""``klee build``: build an image, and show how the build goes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.arguments import build_arguments, container_config, endpoint, network_of
from kleene.cli.buildcontext import choose_context, choose_named_contexts
from kleene.cli.command import CommandWithVerbs, OneOf, UsageError, WholeNumber
from kleene.cli.grants import grant_options, grants
from kleene.cli.labels import label_options, labels_of
from kleene.cli.options import container_options
from kleene.cli.output import is_terminal, print_error
from kleene.cli.session import Session, pass_session

if TYPE_CHECKING:
    from kleene.cli.buildview import View
    from kleene.client.streams import Stream

_INTERRUPTED = 130


def _one_name(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> str:
    if len(names) > 1:
        raise UsageError(
            f"an image has one name, not {' and '.join(names)}",
            ctx,
            "build once for each: the second build finds every step in the cache",
        )
    return names[0] if names else ""


@click.command(
    cls=CommandWithVerbs,
    verbs={"shell": "buildshell:shell", "prune": "pruning:builds"},
    examples=(
        "klee build -t web:latest .",
        "klee build -f Dockerfile.debug --build-arg VERSION=1.4 .",
        "klee build --check .",
        "klee build - < context.tar.gz",
        "klee build -t tools - < Dockerfile",
        "klee build -t web https://example.com/web.tar.gz",
        "klee build --from web:failed@3f2a -t web .",
        "klee build --resume web:failed -t web .",
        "klee build --build-context shared=../shared .",
        "klee build --secret id=token,src=token.txt --ssh default -t web .",
    ),
)
@click.option(
    "--tag",
    "-t",
    multiple=True,
    callback=_one_name,
    metavar="NAME[:TAG]",
    help="Name of the image.",
)
@click.option(
    "--file",
    "-f",
    default="Dockerfile",
    show_default=True,
    metavar="FILE",
    help="Dockerfile, relative to PATH; or '-' for standard input.",
)
@click.option(
    "--build-arg",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Value of an ARG; without VALUE, that of klee's environment. Repeatable.",
)
@click.option(
    "--build-context",
    multiple=True,
    metavar="NAME=PATH|URL|docker-image://IMAGE",
    help="What FROM NAME and --from=NAME find, before stages and images of that name. Repeatable.",
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
    type=WholeNumber(min=0),
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
    type=WholeNumber(min=1),
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
    type=OneOf(["text", "json"]),
    default="text",
    show_default=True,
    help="What --check prints: text for people, or JSON for programs.",
)
@label_options()
@click.option("--rm", is_flag=True, help="Remove what was built if the build fails.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the image's id.")
@click.option(
    "--upload/--no-upload",
    default=None,
    help="Send PATH to kleened, or have it read in place.  [default: send it over a network]",
)
@click.option(
    "--progress",
    type=OneOf(["auto", "tty", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How the build is shown: live in a terminal (tty), as lines, or as an event of JSON a line;"
    " auto: tty in a terminal, else plain.",
)
@grant_options
@container_options
@click.argument("path")
@pass_session
def build(session: Session, /, **options: Any) -> int:
    """Build an image from the Dockerfile and the files in PATH.

    PATH is a directory (write ./shell or ./prune if it is called so); or '-' for standard input, which is a
    tar archive (compressed or not) or a Dockerfile; or the URL of one of these, which kleened fetches. A
    kleened on another host gets of a directory what it does not have. The container options configure the
    container that the image is built in. Interrupting klee cancels the build.
    """
    from kleene.cli.buildview import show_build

    upload = session.uploads if options["upload"] is None else options["upload"]
    context = choose_context(options["path"], options["file"], upload=upload)
    named = choose_named_contexts(options["build_context"], upload=upload)
    view = _view(session, options)
    config = build_config(options) | context.config | {"ordered": view.in_order}

    def begin() -> Stream:
        if context.send is not None:
            config["upload"] = context.send(session.client, view.progress)
        for name, given in named.items():
            sent = (
                {} if given.send is None else {"upload": given.send(session.client, view.progress)}
            )
            config.setdefault("contexts", {})[name] = given.config | sent
        return session.client.images.build(config)

    with contextlib.ExitStack() as undo:
        config |= grants(options, os.environ, undo, local=session.is_local)
        try:
            if options["check"]:
                return _check(begin, as_json=options["form"] == "json")
            return show_build(begin, view, options["tag"])
        except KeyboardInterrupt:
            print_error("the build was cancelled")
            return _INTERRUPTED


def _check(begin: Callable[[], Stream], *, as_json: bool) -> int:
    from kleene.cli.checkview import show_check

    with begin() as stream:
        return show_check(stream, as_json=as_json)


def _view(session: Session, options: dict[str, Any]) -> View:
    from kleene.cli.buildview import choose_view

    progress = options["progress"]
    if progress == "tty" and not is_terminal():
        raise UsageError(
            "'--progress tty' needs a terminal as standard output that can draw",
            click.get_current_context(),
            "use --progress plain",
        )
    return choose_view(
        progress, fancy=session.fancy, quiet=options["quiet"], explain=options["explain"]
    )


def build_config(options: dict[str, Any]) -> dict[str, Any]:
    """The ``ImageBuildConfig`` of the options of ``build``, without the context. Raises InvalidInput."""
    container = container_config(options, os.environ) | {"image": options["base"]}
    network = network_of(options)
    return {
        "tag": options["tag"],
        "buildargs": build_arguments(options["build_arg"], os.environ),
        "cleanup": options["rm"],
        "labels": labels_of(options["label"], options["label_file"]),
        "quiet": options["quiet"],
        "no_cache": options["no_cache"],
        "target": options["target"],
        "check": options["check"],
        "no_cache_filter": list(options["no_cache_filter"]),
        "cache_last_step": options["cache_from_step"],
        "parallel": options["parallel"] or 0,
        "resume": options["resume"],
        "container_config": container,
        "networks": [endpoint(network, "", options["ip"], options["ip6"])] if network else [],
    }
