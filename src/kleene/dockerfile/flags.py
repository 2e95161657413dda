"""The ``--name=value`` words before an instruction's arguments. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.parser import Statement
from kleene.dockerfile.words import Word


def read_flags(
    statement: Statement,
    *supported: str,
    switches: tuple[str, ...] = (),
    repeated: tuple[str, ...] = (),
) -> dict[str, Word]:
    """The values of an instruction's flags, by name.

    Args:
        supported: names of the flags that the instruction takes; each wants a value.
        switches: names of those that are ``true`` without a value.
        repeated: names of those that :func:`repeated_flag` reads.

    Raises:
        DockerfileError: a flag that is unknown, given twice or without a ``=``.
    """
    found: dict[str, Word] = {}
    for flag in statement.flags:
        name, equals, _ = flag.text[2:].partition("=")
        if name not in (*supported, *switches, *repeated):
            raise _refused(statement, flag, name, (*supported, *switches, *repeated))
        if name in found and name not in repeated:
            raise flag.error(f"flag '--{name}' is given twice")
        if name in switches:
            _check_switch(flag, name)
        elif not equals:
            raise flag.error(f"flag '--{name}' has no value", f"write --{name}=VALUE")
        found[name] = flag.part(len(name) + 3, len(flag.text))
    # An empty value is none, as in Docker.
    found = {name: value for name, value in found.items() if value.text or name in switches}
    return {name: value for name, value in found.items() if name not in repeated}


def repeated_flag(statement: Statement, name: str) -> tuple[Word, ...]:
    """The values of a flag that may be given more than once, in their order."""
    start = len(name) + 3
    flags = (flag for flag in statement.flags if flag.text.startswith(f"--{name}="))
    return tuple(flag.part(start, len(flag.text)) for flag in flags if len(flag.text) > start)


def is_on(flags: Mapping[str, Word], name: str) -> bool | None:
    """What a switch says; ``None`` if it is not there."""
    word = flags.get(name)
    return None if word is None else word.text.lower() != "false"


def truth(text: str) -> bool | None:
    """What a text says that is true or false in the ways of Go's ``strconv.ParseBool``; else ``None``."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    return False if text in ("0", "f", "F", "FALSE", "false", "False") else None


def _check_switch(flag: Word, name: str) -> None:
    if flag.text.lower() not in (f"--{name}", f"--{name}=true", f"--{name}=false"):
        raise flag.error(f"flag '--{name}' is either true or false", f"write --{name}")


def _refused(statement: Statement, flag: Word, name: str, supported: tuple[str, ...]) -> Exception:
    near = nearest(name, supported)
    return flag.error(
        f"{statement.name} has no flag {quoted('--' + name)}",
        f"did you mean '--{near}'?" if near else None,
    )
