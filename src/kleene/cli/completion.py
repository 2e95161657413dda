"""``klee completion``, and what a shell is told when the user presses TAB: names of objects as they are now.

Completion never disturbs: without a daemon that answers at once there is nothing to choose from, and nothing
is said of it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import click
from click.shell_completion import CompletionItem, get_completion_class

from kleene.cli.command import OneOf, command
from kleene.cli.session import Session

if TYPE_CHECKING:
    from kleene.client.operations import JsonClient

VARIABLE = "_KLEE_COMPLETE"
_PATIENCE = 1.0
"""Seconds for the daemon to answer."""

Completer = Callable[[click.Context, str], list[CompletionItem]]
Named = list[tuple[str, str]]


def _named_so(begin: str) -> list[str]:
    """The filter that leaves the daemon to tell only of what can be meant."""
    return [f"name=^{begin}"] if begin else []


def _containers(client: JsonClient, begin: str) -> Named:
    return [
        (each["name"], f"{each.get('image_name') or each['image_id']}, {_state(each)}")
        for each in client.containers.list(all=True, filters=_named_so(begin))
    ]


def _state(container: dict[str, Any]) -> str:
    return "running" if container["running"] else "stopped"


def _images(client: JsonClient, begin: str) -> Named:
    """All of them: one without a name is called by its id."""
    return [
        (f"{each['name']}:{each['tag']}" if each["name"] else each["id"], each["created"])
        for each in client.images.list()
    ]


def _networks(client: JsonClient, begin: str) -> Named:
    return [(each["name"], each["type"]) for each in client.networks.list(filters=_named_so(begin))]


def _volumes(client: JsonClient, begin: str) -> Named:
    return [
        (each["name"], each["created"]) for each in client.volumes.list(filters=_named_so(begin))
    ]


def _secrets(client: JsonClient, begin: str) -> Named:
    return [
        (each["name"], each["created"]) for each in client.secrets.list(filters=_named_so(begin))
    ]


def _configs(client: JsonClient, begin: str) -> Named:
    return [
        (each["name"], each["created"]) for each in client.configs.list(filters=_named_so(begin))
    ]


_OBJECTS: dict[str, Callable[[JsonClient, str], Named]] = {
    "container": _containers,
    "image": _images,
    "network": _networks,
    "volume": _volumes,
    "secret": _secrets,
    "config": _configs,
}
_PARAMETERS = {
    "base": "image",
    "source_image": "image",
    "reference": "image",
    "names": "container",
    "older": "image",
    "newer": "image",
    **{name: name for name in _OBJECTS if name != "config"},  # that is a file, for klee itself
    **{f"{name}s": name for name in _OBJECTS},
}
"""What a parameter of this name takes."""


def attach(parameters: Iterable[click.Parameter]) -> None:
    """Have each of ``parameters`` that takes an object complete its name."""
    for each in parameters:
        if each.name == "mount":
            _use(each, _complete_mount)
        elif each.name in _PARAMETERS:
            _use(each, completer(_PARAMETERS[each.name]))


def _use(parameter: click.Parameter, complete: Completer) -> None:
    parameter.shell_complete = cast(Any, complete)  # type: ignore[method-assign]


def completer(kind: str) -> Completer:
    """Completes names of objects of ``kind``; those that are on the command line already are left out."""

    def complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        given = {
            word
            for value in ctx.params.values()
            if isinstance(value, tuple)
            for word in value
            if isinstance(word, str)
        }
        return [
            CompletionItem(name, help=help_)
            for name, help_ in _named(ctx, kind, incomplete)
            if name.startswith(incomplete) and name not in given
        ]

    return complete


def _complete_mount(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    if "/" in incomplete or ":" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(f"{each.value}:") for each in completer("volume")(ctx, incomplete)]


def _named(ctx: click.Context, kind: str, begin: str) -> Named:
    try:
        with _limited(_PATIENCE):
            return _OBJECTS[kind](Session(ctx.find_root().params).client, begin)
    except Exception:  # nothing may come between the user and the command line
        return []


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Give up what takes longer, be it a name that nobody resolves."""

    def expired(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_BASH = """
# A name may have a colon in it (web:latest): to bash it is the end of a word.
COMP_WORDBREAKS="${COMP_WORDBREAKS//:}"
"""


@command(
    examples=(
        "klee completion bash > /etc/bash_completion.d/klee",
        "klee completion zsh > ~/.zfunc/_klee",
        "klee completion fish > ~/.config/fish/completions/klee.fish",
    )
)
@click.argument("shell", metavar="SHELL", type=OneOf(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that has SHELL (bash, zsh or fish) complete commands, options and names of objects.

    The names are asked of the daemon at each TAB.
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, "klee", VARIABLE).source())
    if shell == "bash":
        click.echo(_BASH)
