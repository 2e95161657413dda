"""Instructions that change what an image says of its containers, given one by one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kleene.build.config import Configuration, ImageConfig
from kleene.build.expander import Expander
from kleene.build.paths import join
from kleene.build.scope import Scope
from kleene.dockerfile.document import read_trigger
from kleene.dockerfile.instructions import Add, Arg, Copy, Env, Instruction, Run, Workdir
from kleene.dockerfile.source import Source
from kleene.errors import InvalidInput


def changed(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """The configuration after instructions such as ``CMD ["/bin/sh"]`` or ``ENV A=b``.

    Raises:
        InvalidInput: one cannot be understood, or would change files.
    """
    scope = Scope(config.env, (), {}, {})
    result = Configuration(config)
    for text in changes:
        instruction, escape = read_trigger(Source.from_text("--change", text))
        _apply(result, scope, instruction, Expander(scope, escape))
    return replace(result.image, env=scope.env)


def _apply(result: Configuration, scope: Scope, instruction: Instruction, words: Expander) -> None:
    match instruction:
        case Run() | Copy() | Add() | Arg():
            raise InvalidInput(
                f"'{instruction.statement.text}' does not change the configuration",
                hint="use CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME"
                " or WORKDIR; change files in the container",
            )
        case Env():
            pairs = [
                (words.not_empty(n, "the name"), words.expand(v)) for n, v in instruction.pairs
            ]
            for name, value in pairs:
                scope.set_env(name, value)
        case Workdir():
            path = join(result.image.workdir, words.expand(instruction.path))
            result.image = replace(result.image, workdir=path)
        case _:
            result.change(instruction, words)
