"""The user's terminal: its size, and its raw mode for as long as a process has it.

``termios`` and ``tty`` are imported when a terminal is used.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Any, NamedTuple


class Size(NamedTuple):
    """A terminal's size in characters."""

    rows: int
    columns: int


def size_of(descriptor: int) -> Size | None:
    """The size of the terminal at ``descriptor``; ``None`` if it is none or does not know."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return Size(size.lines, size.columns) if size.lines and size.columns else None


class RawMode:
    """While entered, a terminal passes on every byte as it is typed: no echo, no signals, no editing.

    What the terminal was set to before is restored on leaving.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> RawMode:
        import termios

        self._before = termios.tcgetattr(self._descriptor)
        self.apply()
        return self

    def apply(self) -> None:
        """Make the terminal raw (again: a shell resets it when it continues a stopped job)."""
        import termios
        import tty

        tty.setraw(self._descriptor, termios.TCSANOW)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import termios

        # A terminal that went away has nothing to be restored.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before or [])
