"""The ``--name=value`` words before an instruction's arguments. Pure."""

from __future__ import annotations

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.parser import Statement
from kleene.dockerfile.words import Word

_DOCKER_FLAGS = {
    "FROM": "platform",
    "COPY": "chown chmod from link parents exclude",
    "RUN": "mount network security device",
}


def read_flags(statement: Statement, *supported: str) -> dict[str, Word]:
    """The values of an instruction's flags, by name.

    Args:
        supported: names of the flags that the instruction takes; each wants a value.

    Raises:
        DockerfileError: a flag that is unknown, not supported yet, given twice or without a value.
    """
    found: dict[str, Word] = {}
    for flag in statement.flags:
        name, equals, _ = flag.text[2:].partition("=")
        if name not in supported:
            raise _refused(statement, flag, name, supported)
        if name in found:
            raise flag.error(f"flag '--{name}' is given twice")
        if not equals or len(flag.text) == len(name) + 3:
            raise flag.error(f"flag '--{name}' has no value", f"write --{name}=VALUE")
        found[name] = flag.part(len(name) + 3, len(flag.text))
    return found


def _refused(statement: Statement, flag: Word, name: str, supported: tuple[str, ...]) -> Exception:
    planned = _DOCKER_FLAGS.get(statement.name, "").split()
    if name in planned:
        return flag.error(f"flag '--{name}' of {statement.name} is not supported yet")
    near = nearest(name, [*supported, *planned])
    return flag.error(
        f"{statement.name} has no flag {quoted('--' + name)}",
        f"did you mean '--{near}'?" if near else None,
    )
