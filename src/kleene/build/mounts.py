"""The mounts of a RUN, planned: variables replaced, defaults filled in, everything checked. Pure.

Options and defaults are those of the Dockerfile reference ("RUN --mount"); a mount of the context, a stage
or an image is read-only unless it says ``rw``, and then what is written is thrown away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from kleene.build.expander import Expander
from kleene.build.paths import in_context, join
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.mounts import OPTIONS, MountFlag
from kleene.dockerfile.source import Range
from kleene.dockerfile.words import Word

Kind = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})
_SHARING = ("shared", "private", "locked")
_SIZE = re.compile(r"([0-9]{1,15})\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NUMBER = re.compile(r"[0-9]{1,10}")
_MODE = re.compile(r"0*[0-7]{1,4}")
_VARIABLE = re.compile(r"[^=\x00]+")
_MODES = {"cache": 0o755, "secret": 0o400, "ssh": 0o600}


@dataclass(frozen=True)
class RunMount:
    """One mount.

    Attributes:
        target: absolute and clean; ``""`` for a secret that is only a variable.
        origin: the key of the stage, or the reference of the image, that ``source`` is in; ``None`` is the
            context, or for a cache nothing: it begins empty.
        source: literal path, relative to where it is; ``.`` is all.
        id: of a cache, a secret or an agent.
        mode, uid, gid: of a cache's directory, of a secret's file, of the agent's socket.
        required: whether it is an error that the user gave none.
        env: the variable that has the secret; ``""`` for none.
        size: in bytes, of a tmpfs; 0 is the kernel's default.
        range: its place in the Dockerfile; ``None``: it comes from ONBUILD of a parent.
    """

    kind: Kind
    target: str
    origin: int | str | None = None
    source: str = "."
    read_only: bool = False
    id: str = ""
    sharing: Sharing = "shared"
    mode: int = 0
    uid: int = 0
    gid: int = 0
    required: bool = False
    env: str = ""
    size: int = 0
    range: Range | None = field(default=None, compare=False)

    def canonical(self) -> str:
        """What of it decides the state after the step, but for the content."""
        look = [self.read_only, self.mode, self.uid, self.gid, self.env, self.size]
        return json.dumps(
            [self.kind, self.target, self.origin is not None, self.id, self.source, look]
        )

    @property
    def origin_name(self) -> str:
        """What the user is told that the files come from; ``""``: the context, or nothing."""
        if self.origin is None:
            return ""
        return f"stage {self.origin}" if isinstance(self.origin, int) else self.origin

    @property
    def has_content(self) -> bool:
        """Whether files of the context, a stage or an image are in it."""
        return self.kind == "bind" or (self.kind == "cache" and self.origin is not None)


@dataclass(frozen=True)
class MountPlanner:
    """Plans the mounts of one RUN.

    Attributes:
        cwd: the working directory.
        origin: what the word after ``from=`` means.
    """

    words: Expander
    cwd: str
    origin: Callable[[Word | None], int | str | None]

    def plan(self, flags: tuple[MountFlag, ...]) -> tuple[RunMount, ...]:
        """The mounts in the order in which they are made: those that others lie in first.

        Raises:
            DockerfileError: an option cannot be used, is missing or does not go with the type.
        """
        mounts, agents = [], 0
        for flag in flags:
            mount = self._mount(flag, agents)
            agents += mount.kind == "ssh"
            mounts.append(mount)
        return tuple(sorted(mounts, key=lambda mount: mount.target.count("/")))

    def _mount(self, flag: MountFlag, number: int) -> RunMount:
        kind = self._kind(flag)
        for name, word in flag.options.items():
            if name != "type" and name not in OPTIONS[kind].split():
                raise word.error(
                    f"a mount of type '{kind}' has no option '{name}'",
                    f"it has {', '.join(OPTIONS[kind].split())}",
                )
        options = _Options(self.words, flag.options)
        name, target = self._name_and_target(flag, kind, options, number)
        return RunMount(
            kind,
            target,
            origin=self.origin(flag.origin),
            source=self._source(flag, kind, options),
            read_only=options.read_only(kind == "bind"),
            id=name,
            sharing=cast(Sharing, options.choice("sharing", _SHARING)),
            mode=options.mode(_MODES.get(kind, 0)),
            uid=options.number("uid"),
            gid=options.number("gid"),
            required=options.switch("required", False),
            env=options.variable(),
            size=options.size(),
            range=flag.word.range,
        )

    def _kind(self, flag: MountFlag) -> Kind:
        word = flag.options.get("type")
        kind = self.words.expand(word).lower() if word is not None else "bind"
        if kind not in OPTIONS:
            assert word is not None
            raise word.error(
                f"unknown type of mount {quoted(kind)}", f"known are {', '.join(OPTIONS)}"
            )
        return cast(Kind, kind)

    def _name_and_target(
        self, flag: MountFlag, kind: Kind, options: _Options, number: int
    ) -> tuple[str, str]:
        name, target = options.text("id"), options.text("target")
        if kind in ("secret", "ssh"):
            name = options.text("source") or name
        if kind == "secret":
            name = name or target.rpartition("/")[2]
            if not name:
                raise flag.word.error("a secret has neither id nor target", "write id=NAME")
            target = target or ("" if options.text("env") else f"/run/secrets/{name}")
        elif kind == "ssh":
            name, target = name or "default", target or f"/run/buildkit/ssh_agent.{number}"
        if not target:
            if not (kind == "secret" and options.text("env")):
                raise flag.word.error(
                    f"a mount of type '{kind}' has no target", "write target=PATH"
                )
            return name, ""
        path = join(self.cwd, target)
        if path == "/":
            raise flag.options.get("target", flag.word).error(
                "a mount cannot take the place of '/'", "name a directory below it"
            )
        return name or path, path

    def _source(self, flag: MountFlag, kind: Kind, options: _Options) -> str:
        word = flag.options.get("source")
        if word is None or kind in ("secret", "ssh"):
            return "."
        if kind == "cache" and flag.origin is None:
            raise word.error("'source' of a cache needs 'from'", "write from=STAGE")
        return in_context(options.text("source")) or "."


@dataclass(frozen=True)
class _Options:
    """The values, expanded and checked."""

    words: Expander
    options: Mapping[str, Word]

    def text(self, name: str) -> str:
        word = self.options.get(name)
        return "" if word is None else self.words.expand(word)

    def switch(self, name: str, default: bool) -> bool:
        word = self.options.get(name)
        if word is None:
            return default
        value = self.words.expand(word).lower()
        if value not in _TRUE | _FALSE:
            raise word.error(f"{quoted(value)} is neither true nor false", f"write {name}")
        return value in _TRUE

    def read_only(self, default: bool) -> bool:
        writable = self.switch("readwrite", not default)
        return self.switch("readonly", not writable)

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        value = self.text(name) or known[0]
        if value not in known:
            raise self.options[name].error(
                f"{quoted(value)} is not a value of '{name}'", f"write one of {', '.join(known)}"
            )
        return value

    def mode(self, default: int) -> int:
        value = self.text("mode")
        if value and _MODE.fullmatch(value) is None:
            raise self.options["mode"].error(
                f"{quoted(value)} is not a mode", "write it as mode=0400"
            )
        return int(value, 8) if value else default

    def number(self, name: str) -> int:
        value = self.text(name) or "0"
        if _NUMBER.fullmatch(value) is None or int(value) >= 2**32 - 1:
            raise self.options[name].error(
                f"{quoted(value)} is not a numeric id", f"write {name}=1000"
            )
        return int(value)

    def size(self) -> int:
        value = self.text("size")
        found = _SIZE.fullmatch(value)
        if value and found is None:
            raise self.options["size"].error(
                f"{quoted(value)} is not a size", "write it as size=64m"
            )
        return int(found[1]) * _UNITS[found[2].lower()] if found else 0

    def variable(self) -> str:
        value = self.text("env")
        if value and _VARIABLE.fullmatch(value) is None:
            raise self.options["env"].error(f"{quoted(value)} cannot be the name of a variable")
        return value
