"""``RUN --mount=type=…,option=value``: split into options. Pure.

What the options mean, and which go together, is for the plan: their values may have variables in them. The
names are those of the Dockerfile reference ("RUN --mount").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.words import Word, split_comma

_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
OPTIONS = {
    "bind": "source target from readonly readwrite",
    "cache": "id target source from readonly readwrite sharing mode uid gid",
    "tmpfs": "target size",
    "secret": "id source target required mode uid gid env",
    "ssh": "id source target required mode uid gid",
}
"""The kinds of mounts, each with its options."""

_ALL = {"type", *_ALIASES, *(name for names in OPTIONS.values() for name in names.split())}
_SWITCHES = frozenset({"readonly", "readwrite", "required"})
_LABELS = "z"
"""``z`` and ``Z`` ask podman and buildah for SELinux labels, which no file of Kleene's has."""


@dataclass(frozen=True)
class MountFlag:
    """One mount.

    Attributes:
        word: all that stands after ``--mount=``.
        options: values by name, without the aliases; of a switch that has no value, its name.
    """

    word: Word
    options: Mapping[str, Word]

    @property
    def origin(self) -> Word | None:
        """What ``from=`` names."""
        return self.options.get("from")


def read_mount(word: Word) -> MountFlag:
    """Split the value of ``--mount``.

    Raises:
        DockerfileError: an option is unknown, given twice, or lacks its value.
    """
    options: dict[str, Word] = {}
    for field in split_comma(word):
        written, equals, _ = field.text.partition("=")
        name = _ALIASES.get(written.lower(), written.lower())
        if field.text.lower() == _LABELS:
            continue
        if name not in _ALL:
            raise _unknown(field.part(0, len(written)))
        if name in options:
            raise field.error(f"option '{name}' of the mount is given twice")
        if not equals and name not in _SWITCHES:
            raise field.error(f"option '{name}' of the mount has no value", f"write {name}=VALUE")
        value = field.part(len(written) + 1, len(field.text)) if equals else field
        options[name] = value if equals else replace(value, text="true")
    flag = MountFlag(word, options)
    _check_kind(flag)
    return flag


def _check_kind(flag: MountFlag) -> None:
    kind = flag.options.get("type")
    if kind is None or "$" in kind.text or kind.text.lower() in OPTIONS:
        return
    near = nearest(kind.text.lower(), OPTIONS)
    known = f"known are {', '.join(OPTIONS)}"
    raise kind.error(
        f"unknown type of mount {quoted(kind.text)}", f"did you mean '{near}'?" if near else known
    )


def _unknown(name: Word) -> Exception:
    near = nearest(name.text.lower(), _ALL)
    return name.error(
        f"a mount has no option {quoted(name.text)}",
        f"did you mean '{near}'?" if near else "known are " + ", ".join(sorted(_ALL)),
    )
