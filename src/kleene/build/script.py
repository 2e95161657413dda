"""``RUN <<EOF`` with a script in another language: a body that begins with ``#!``. Pure."""

from __future__ import annotations

# The script is kept out of the snapshot: in memory where the container has such a place, and gone after.
_RUN = (
    'd=/dev/shm; [ -w "$d" ] || d=/tmp; f=$d/.script.$$; '
    'printf %s "$1" >"$f" && shift && "$@" "$f"; s=$?; rm -f "$f"; exit $s'
)


def script_argv(script: str) -> tuple[str, ...] | None:
    """How to run a script by the interpreter that its first line names; ``None`` if it names none.

    The interpreter gets at most one argument, as from the kernel (execve(2), "Interpreter scripts").
    """
    first = script.partition("\n")[0]
    if not first.startswith("#!"):
        return None
    interpreter = first.removeprefix("#!").split(maxsplit=1)
    if not interpreter:
        return None
    return ("/bin/sh", "-c", _RUN, "sh", script, *(word.rstrip() for word in interpreter))
