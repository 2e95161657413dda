"""Lines at the end of a terminal that are drawn again and again, below those that stay.

Every line that is drawn again fits in one row, so that going back is to go up as many rows. When the terminal
becomes narrower than what is drawn, nobody can tell what it made of that (some wrap, some cut): then
the screen is cleared and all is written anew. Nothing runs beside the caller: the size is looked at
whenever something is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kleene.cli.output import style
from kleene.client.attach import write_all
from kleene.client.terminal import Size, size_of

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"  # ECMA-48 and DEC private modes, as xterm has them
_CLEAR, _CLEAR_BELOW, _CLEAR_LINE = "\x1b[H\x1b[2J", "\x1b[J", "\x1b[K"
_KEPT = 500
_DEFAULT = Size(24, 80)


class Piece(NamedTuple):
    """Text in one colour."""

    text: str
    colour: str | None = None
    dim: bool = False
    bold: bool = False

    def styled(self) -> str:
        """The text with its colour."""
        if self.colour or self.dim or self.bold:
            return style(self.text, fg=self.colour, dim=self.dim or None, bold=self.bold or None)
        return self.text


class Line(NamedTuple):
    """A line: what is before and behind the text is shown whole, the text as far as there is room."""

    text: Piece
    before: tuple[Piece, ...] = ()
    after: tuple[Piece, ...] = ()

    def render(self, columns: int) -> str:
        """The line in at most ``columns`` columns."""
        fixed = sum(width(piece.text) for piece in (*self.before, *self.after))
        text = cut(self.text.text, max(columns - fixed, 8))
        pieces = (*self.before, self.text._replace(text=text), *self.after)
        if fixed + width(text) > columns:
            return cut("".join(piece.text for piece in pieces), columns)
        return "".join(piece.styled() for piece in pieces)

    def columns(self) -> int:
        """How many columns the line would like to have."""
        return sum(width(piece.text) for piece in (*self.before, self.text, *self.after))


class Screen:
    """The end of a terminal.

    Args:
        descriptor: of the terminal.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._stay: list[Line] = []
        self._drawn: list[Line] = []
        self._size = self.size()

    def size(self) -> Size:
        """The terminal's size now."""
        return size_of(self._descriptor) or _DEFAULT

    def open(self) -> None:
        """Begin: hide the cursor."""
        self._write(_HIDE)

    def close(self) -> None:
        """End: the drawn lines vanish, the cursor is shown again."""
        self.draw(())
        self._write(_SHOW)

    def draw(self, lines: Sequence[Line], stay: Sequence[Line] = ()) -> None:
        """Draw ``lines`` in place of those drawn before; ``stay`` goes above them for good."""
        size = self.size()
        begin = self._back(size)
        rows = max(size.rows - 1, 1)
        shown = list(lines)[-rows:]
        self._stay = [*self._stay, *stay][-_KEPT:]
        written = self._stay[-max(rows - len(shown), 0) :] if begin == _CLEAR else stay
        self._size, self._drawn = size, shown
        # A column less than there are: a row that is full leaves the cursor in a state of its own.
        columns = max(size.columns - 1, 1)
        text = "".join(f"{each.render(columns)}{_CLEAR_LINE}\n" for each in (*written, *shown))
        self._write(f"{begin}{text}{_CLEAR_BELOW}")

    def _back(self, size: Size) -> str:
        """What leads to where the drawn lines begin."""
        before = self._size.columns - 1
        widest = max((min(line.columns(), before) for line in self._drawn), default=0)
        if widest > size.columns:
            return _CLEAR
        up = min(len(self._drawn), size.rows - 1)
        return f"\x1b[{up}A\r" if up > 0 else "\r"

    def _write(self, text: str) -> None:
        write_all(self._descriptor, text.encode(errors="replace"))


def width(text: str) -> int:
    """Columns that printable text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_width_of(character) for character in text)


def cut(text: str, columns: int) -> str:
    """``text``, or as much of its beginning as fits, and an ellipsis."""
    if width(text) <= columns:
        return text
    taken, kept = 1, []
    for character in text:
        taken += _width_of(character)
        if taken > columns:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _width_of(character: str) -> int:
    import unicodedata  # large, and most text is ASCII

    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
