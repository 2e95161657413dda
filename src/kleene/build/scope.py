"""The variables in scope while a Dockerfile is planned. Pure; lives as long as one call of ``plan``."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping

from kleene.dockerfile.excerpt import quoted
from kleene.errors import InvalidInput

PROXY_ARGUMENTS = frozenset(
    name
    for scheme in ("HTTP", "HTTPS", "FTP", "NO", "ALL")
    for name in (f"{scheme}_PROXY", f"{scheme.lower()}_proxy")
)
"""Build arguments that every RUN gets without an ARG (Dockerfile reference, "Predefined ARGs")."""

CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
BUILTIN_ARGUMENTS = frozenset(
    {
        "BUILDKIT_BUILD_NAME",
        CACHE_NAMESPACE,
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SYNTAX",
        "SOURCE_DATE_EPOCH",
    }
)
"""Build arguments for the builder itself (Dockerfile reference, "BuildKit built-in build args")."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Scope:
    """What ``$name`` means, and the environment of a RUN, at one place of a stage.

    ENV wins over ARG of the same name; the environment of the parent image counts as ENV.

    Args:
        inherited: environment of the parent image.
        container: environment of the build container: seen by RUN, not kept in the image.
        build_args: what the user gave.
        arguments: what the ARG instructions before FROM came to.
        declared: the arguments of the stage that this one starts from.

    Attributes:
        size: bytes of the variables that the stage has set.
    """

    def __init__(
        self,
        inherited: Iterable[str],
        container: Iterable[str],
        build_args: Mapping[str, str],
        arguments: Mapping[str, str],
        declared: Mapping[str, str] | None = None,
    ) -> None:
        self._env = _entries(inherited)
        self._container = _entries(container)
        self._build_args = build_args
        self._global = arguments
        self._args = dict(declared or {})
        self._declared = set(self._args)
        self._run_env: tuple[str, ...] | None = None
        self.size = 0

    @property
    def variables(self) -> Mapping[str, str]:
        """For expansion."""
        return ChainMap(self._env, self._args)

    @property
    def arguments(self) -> Mapping[str, str]:
        """The build arguments that have a value."""
        return dict(self._args)

    @property
    def env(self) -> tuple[str, ...]:
        """What the image keeps."""
        return tuple(f"{name}={value}" for name, value in self._env.items())

    @property
    def proxies(self) -> frozenset[str]:
        """Names of the proxy variables that :attr:`run_env` has for no other reason."""
        return frozenset(self._proxies())

    def set_env(self, name: str, value: str) -> None:
        """Carry out ``ENV``."""
        self._count(self._env, name, value)
        self._env[name] = value
        self._container.pop(name, None)
        self._run_env = None

    def is_given(self, name: str) -> bool:
        """Whether the user gave a value for the argument, so that its default is not wanted."""
        return name in self._build_args

    def declare(self, name: str, default: str | None) -> str | None:
        """Bring an argument into scope: the user's value, its default, or what it was before FROM.

        Returns:
            Its value; ``None`` if it has none from this declaration.
        """
        self._declared.add(name)
        value = self._build_args.get(name, self._global.get(name) if default is None else default)
        if value is not None:
            self._count(self._args, name, value)
            self._args[name] = value
        self._run_env = None
        return value

    def seen(self, name: str) -> str | None:
        """The value that a RUN sees; ``None`` if the variable is not set."""
        layers = (self._container, self._env, self._args)
        return next((layer[name] for layer in layers if name in layer), None)

    def run_env(self) -> tuple[str, ...]:
        """The environment of a RUN, as ``NAME=VALUE``."""
        if self._run_env is None:
            merged = self._proxies() | self._args | self._env | self._container
            self._run_env = tuple(f"{name}={value}" for name, value in merged.items())
        return self._run_env

    def _count(self, variables: Mapping[str, str], name: str, value: str) -> None:
        old = f"{name}={variables[name]}" if name in variables else ""
        self.size += len(f"{name}={value}".encode()) - len(old.encode())

    def _proxies(self) -> dict[str, str]:
        given = {n: v for n, v in self._build_args.items() if n in PROXY_ARGUMENTS}
        # Programs differ in which case they read, so as in BuildKit each stands for both.
        both = {twin: v for n, v in given.items() for twin in (n.upper(), n.lower())}
        taken = self._declared | self._env.keys() | self._container.keys()
        return {n: v for n, v in (both | given).items() if n not in taken}


def check_build_args(build_args: Mapping[str, str]) -> None:
    """Refuse what can be no variable.

    Raises:
        InvalidInput: a name is empty or has ``=`` in it, or there is a NUL character.
    """
    for name, value in build_args.items():
        if not name or "=" in name or _NO_TEXT.search(name + value):
            raise InvalidInput(
                f"build argument {quoted(name)} is not valid",
                hint="give it as NAME=VALUE, in characters other than NUL",
            )


def _entries(env: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in env)}
