"""What the user grants a build: secrets, SSH agents, entitlements. Options of ``klee build``, read.

A secret is read here and sent with the build; it is never printed. A key stays here: what is lent is an
agent.
"""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from kleene.cli.command import Misused, OneOf
from kleene.errors import InvalidInput

_F = TypeVar("_F", bound=Callable[..., Any])
_SECRET_FORM = "write --secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE"
_SSH_FORM = "write --ssh default, --ssh NAME=SOCKET or --ssh NAME=KEY"
_LARGEST = 500 * 1024  # bytes of a secret, as in BuildKit


def grant_options(function: _F) -> _F:
    """Add ``--secret``, ``--ssh`` and ``--allow`` to a command."""
    for option in (
        click.option(
            "--allow",
            multiple=True,
            type=OneOf(["network.host", "security.insecure"]),
            help="Let steps have this if they ask for it. Repeatable.",
        ),
        click.option(
            "--ssh",
            multiple=True,
            metavar="default|NAME[=SOCKET|=KEY[,KEY]]",
            help="Lend an SSH agent, or one with these keys, to RUN --mount=type=ssh and git; kleened must be"
            " local. Repeatable.",
        ),
        click.option(
            "--secret",
            multiple=True,
            metavar="id=NAME[,src=FILE|,env=VARIABLE]",
            help="Give a secret to RUN --mount=type=secret. Repeatable.",
        ),
    ):
        function = option(function)
    return function


def grants(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    undo: contextlib.ExitStack,
    *,
    local: bool,
) -> dict[str, Any]:
    """The fields of the ``ImageBuildConfig`` for these options.

    Args:
        undo: ends the agents that are started for keys.
        local: whether the daemon is on this host.

    Raises:
        InvalidInput: an option cannot be understood, a file cannot be read, or the daemon is elsewhere.
    """
    if options["ssh"] and not local:
        raise InvalidInput(
            "'--ssh' needs kleened on this host: it is lent a unix socket",
            hint="build on the daemon's host, or give a key with --secret",
        )
    granted = {
        "secrets": dict(_secret(text, environ) for text in options["secret"]),
        "ssh": dict(_agent(text, environ, undo) for text in options["ssh"]),
        "allow": list(options["allow"]),
    }
    return {name: value for name, value in granted.items() if value}


def _secret(text: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = {"source": "src"}.get(name, name)
        if not equals or not value or name not in ("id", "src", "env", "type") or name in fields:
            raise Misused(f"'{part}' of '--secret' cannot be understood", hint=_SECRET_FORM)
        fields[name] = value
    secret_id, kind = fields.get("id"), fields.get("type", "")
    if (
        secret_id is None
        or ("src" in fields and "env" in fields)
        or kind not in ("", "file", "env")
    ):
        raise Misused(f"'--secret {text}' cannot be understood", hint=_SECRET_FORM)
    source = fields.get("src") or fields.get("env") or secret_id
    from_variable = (
        "env" in fields or kind == "env" or (not fields.keys() - {"id"} and source in environ)
    )
    data = _of_variable(source, environ) if from_variable else _of_file(source)
    if len(data) > _LARGEST:
        raise InvalidInput(f"secret '{secret_id}' is larger than {_LARGEST} bytes")
    return secret_id, {"data": base64.b64encode(data).decode()}


def _of_variable(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise InvalidInput(
            f"variable '{name}' is not set", hint=f"export {name}, or name a file: src="
        )
    return os.fsencode(environ[name])


def _of_file(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 - pathlib is dear
            return file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidInput(
            f"secret file '{path}' cannot be read: {reason}", hint=_SECRET_FORM
        ) from error


def _agent(text: str, environ: Mapping[str, str], undo: contextlib.ExitStack) -> tuple[str, str]:
    name, _, path = text.partition("=")
    path = path or environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise InvalidInput(
            "there is no SSH agent: SSH_AUTH_SOCK is not set", hint="eval $(ssh-agent); ssh-add"
        )
    if not name:
        raise Misused(f"'--ssh {text}' cannot be understood", hint=_SSH_FORM)
    paths = [os.path.abspath(os.path.expanduser(each)) for each in path.split(",")]  # noqa: PTH100, PTH111
    sockets = [each for each in paths if stat.S_ISSOCK(_mode(each))]
    if not sockets:
        from kleene.client.keyagent import serving

        return name, undo.enter_context(serving(paths))
    if len(paths) > 1:
        raise InvalidInput(
            f"'{sockets[0]}' is the socket of an SSH agent: nothing can stand beside it",
            hint=_SSH_FORM,
        )
    return name, sockets[0]


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - pathlib is dear
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidInput(
            f"SSH agent '{path}' cannot be used: {reason}", hint=_SSH_FORM
        ) from error
