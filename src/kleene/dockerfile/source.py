"""The text of a Dockerfile, places in it, and what is said about a place: errors and warnings.

Pure. A :class:`Source` lives as long as the build that reads it. Lines and columns count from 1, columns
in characters, as editors do.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from kleene.dockerfile.excerpt import excerpt, shortened, visible
from kleene.errors import InvalidInput

_BYTE_ORDER_MARK = "\ufeff"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, order=True)
class Position:
    """A place between two characters: the one at ``column`` comes next."""

    line: int
    column: int


@dataclass(frozen=True)
class Range:
    """From ``start`` up to, not including, ``end``."""

    start: Position
    end: Position


@dataclass(frozen=True)
class Source:
    """A Dockerfile as it was written.

    Attributes:
        name: what the user calls the file; for messages.
        text: without a byte order mark; line ends as they were.
        brought: of an instruction that ONBUILD recorded, the file and the place in it that it comes with: a
            FROM. ``name`` says then whose ONBUILD it is.
    """

    name: str
    text: str = field(repr=False)
    brought: tuple[Source, Range] | None = field(default=None, repr=False)

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Source:
        """Decode a file.

        Raises:
            DockerfileError: the bytes are not UTF-8, or there is a NUL among them.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(name, data, error) from None
        return cls.from_text(name, text)

    @classmethod
    def from_text(cls, name: str, text: str, brought: tuple[Source, Range] | None = None) -> Source:
        """Take text as it came over the wire.

        Raises:
            DockerfileError: there is a NUL or half a surrogate pair in it.
        """
        source = cls(name, text.removeprefix(_BYTE_ORDER_MARK), brought)
        bad = _NO_TEXT.search(source.text)
        if bad is not None:
            what = "NUL byte" if bad.group() == "\0" else "half a character"
            where = source.range(bad.start(), bad.end())
            raise DockerfileError(source, where, f"{what} in a Dockerfile", "remove it")
        return source

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        offset = self.text.find("\n")
        while offset >= 0:
            starts.append(offset + 1)
            offset = self.text.find("\n", offset + 1)
        return starts

    @property
    def line_count(self) -> int:
        """Number of lines; what follows the last line end is a line too."""
        return len(self._line_starts)

    def line(self, number: int) -> str:
        """A line without its end."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < self.line_count else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def position(self, offset: int) -> Position:
        """The place of a character of ``text``, or of its end."""
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)

    def range(self, start: int, end: int) -> Range:
        """The range between two offsets into ``text``."""
        return Range(self.position(start), self.position(end))


class DockerfileError(InvalidInput):
    """A Dockerfile cannot be understood or asks for what is not allowed.

    ``message`` begins with ``FILE:LINE:COLUMN``; ``details`` shows the line, and the place in it.

    Args:
        source: the Dockerfile.
        range: the place at fault.
        reason: the fact, as in :class:`~kleene.errors.KleeneError`.
        hint: the remedy.
    """

    def __init__(self, source: Source, range: Range, reason: str, hint: str | None = None) -> None:  # noqa: A002
        self.source = source
        self.range = range
        self.reason = reason = shortened(visible(reason))
        hint = visible(hint) if hint is not None else None
        super().__init__(
            f"{_place(source, range)}: {reason}",
            hint=hint,
            details=picture(source, range),
        )


@dataclass(frozen=True)
class DockerfileWarning:
    """Something that is accepted, and should not be written so.

    Attributes:
        rule: name of the check that it comes from (:mod:`kleene.dockerfile.rules`).
    """

    source: Source = field(repr=False, compare=False)
    range: Range
    reason: str
    hint: str | None = None
    rule: str = ""

    def __str__(self) -> str:
        return f"{_place(self.source, self.range)}: {self.reason}"


def picture(source: Source, where: Range) -> str:
    """Show a place: the line with its number, and carets under it.

    The result is safe to print: nothing in the Dockerfile can steer the reader's terminal.
    """
    line = source.line(where.start.line)
    end = where.end.column - 1 if where.end.line == where.start.line else len(line)
    shown, carets = excerpt(line, where.start.column - 1, end)
    if source.brought is not None:
        return _picture_below(*source.brought, where, shown, carets)
    number = str(where.start.line)
    gutter = " " * len(number)
    return f"{gutter} |\n{number} | {shown}".rstrip() + f"\n{gutter} | {carets}"


def _picture_below(source: Source, place: Range, where: Range, shown: str, carets: str) -> str:
    """Below the line of the FROM, a line of the instruction that comes with it."""
    gutter = " " * len(str(place.start.line))
    keyword = "ONBUILD " if where.start.line == 1 else ""
    indent = " " * len(keyword)
    return f"{picture(source, place)}\n{gutter} | {keyword}{shown}\n{gutter} | {indent}{carets}"


def located(source: Source, where: Range) -> str:
    """A place with its picture, for a message that does not name it: ``FILE:LINE:COLUMN``, and the line."""
    return f"{_place(source, where)}\n{picture(source, where)}"


def _place(source: Source, where: Range) -> str:
    if source.brought is not None:
        return f"{_place(*source.brought)}: {visible(source.name)}"
    return f"{visible(source.name)}:{where.start.line}:{where.start.column}"


def _not_utf8(name: str, data: bytes, error: UnicodeDecodeError) -> DockerfileError:
    # Only what comes before the bad byte decodes for certain; its line is shown as far as it does.
    before = data[: error.start].decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    line_end = data.find(b"\n", error.start)
    rest = data[error.start : line_end if line_end >= 0 else len(data)]
    source = Source(name, before + rest.decode("utf-8", errors="replace"))
    return DockerfileError(
        source,
        source.range(len(before), len(before) + 1),
        f"byte 0x{data[error.start]:02x} is not valid UTF-8",
        "save the file in UTF-8",
    )
