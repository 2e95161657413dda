"""From text to statements: lines, continuations, comments, directives, flags, heredocs.

Pure. The grammar is Docker's ("Format", "Parser directives", "Here-documents" in its reference; BuildKit's
parser where that is silent); what each instruction makes of its arguments is ``instructions``. What Kleene
wants to be written differently is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from kleene.dockerfile.excerpt import quoted, visible
from kleene.dockerfile.heredoc import Heredoc, HeredocStart, find_heredocs
from kleene.dockerfile.json_form import read_json
from kleene.dockerfile.source import DockerfileError, DockerfileWarning, Source
from kleene.dockerfile.words import (
    WHITESPACE,
    LogicalLine,
    Word,
    end_of_word,
    first_blank,
    skip_space,
)

_DIRECTIVE = re.compile(r"#[\t ]*+([a-zA-Z][a-zA-Z0-9]*+)[\t ]*+=(.*)", re.DOTALL)
# A blank beside a comma or the like is none that parts the remark from the value.
_REMARK = re.compile(r"(?<![,;=\t ])[\t ]++(?![,;=]).*")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_TAKES_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
_SHOWN = 4096


@dataclass(frozen=True)
class Statement:
    """An instruction, not yet understood.

    Attributes:
        line: the whole of it, continuations joined.
        keyword: as written.
        flags: the leading ``--…`` words, without quotes.
        arguments: the rest, without white space around it.
        comments: those on the lines right above, without ``#``.
    """

    line: LogicalLine
    keyword: Word
    flags: tuple[Word, ...]
    arguments: Word
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The keyword in upper case."""
        return self.keyword.text.upper()

    @property
    def text(self) -> str:
        """The instruction on one line, to be shown: continuations joined by one blank."""
        shown = ""
        for piece in self.line.pieces():
            shown += piece.lstrip(WHITESPACE) if shown[-1:] in WHITESPACE else piece
            if len(shown) > _SHOWN:
                break
        rest = shown.strip(WHITESPACE)[len(self.keyword.text) :].lstrip(WHITESPACE)
        return visible(f"{self.name} {rest[:_SHOWN]}{'…' if len(rest) > _SHOWN else ''}")


@dataclass(frozen=True)
class Syntax:
    """A Dockerfile's statements.

    Attributes:
        escape: the character that escapes and continues lines: ``\\`` or a backquote.
        check: the value of the directive of that name.
    """

    source: Source
    escape: str
    check: Word | None
    statements: tuple[Statement, ...]
    warnings: tuple[DockerfileWarning, ...]


def parse(source: Source) -> Syntax:
    """Read the statements of a Dockerfile, in time proportional to its length.

    Raises:
        DockerfileError: a bad directive, a continuation or a heredoc that never ends.
    """
    return _Parser(source).parse()


class _Line(NamedTuple):
    """A line of the file, without its end; ``offset`` of its first character in the source."""

    text: str
    offset: int


class _Parser:
    """One walk over a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._escape = "\\"
        self._check: Word | None = None
        self._comments: list[str] = []
        self._lines = _lines(source)
        self._warnings: list[DockerfileWarning] = []

    def parse(self) -> Syntax:
        statements = []
        line = self._directives()
        while line is not None:
            text = line.text.lstrip(WHITESPACE)
            if text.startswith("#"):
                self._comment(text)
            else:
                if text:
                    statements.append(self._statement(line))
                self._comments = []
            line = next(self._lines, None)
        found, warnings = tuple(statements), tuple(self._warnings)
        return Syntax(self._source, self._escape, self._check, found, warnings)

    def _comment(self, text: str) -> None:
        """Keep a comment for the instruction below; an empty one parts it from those before."""
        comment = text[1:].strip(WHITESPACE)
        if comment:
            self._comments.append(comment)
        else:
            self._comments = []

    def _directives(self) -> _Line | None:
        """Read the directives; the first line that is none.

        As in BuildKit, ``#!`` may come before them, and then the escape character stays as it is; what
        follows a blank in the value of ``check`` is a remark.
        """
        seen: set[str] = set()
        script = self._source.text.startswith("#!")
        for line in islice(self._lines, int(script), None):
            match = _DIRECTIVE.fullmatch(line.text.lstrip(WHITESPACE))
            value = match.group(2).strip() if match else ""
            name = match.group(1).lower() if match and value else ""
            if name not in _DIRECTIVES:
                return line
            if name in seen:
                raise self._whole(line).error(f"the directive '{name}' is given twice")
            seen.add(name)
            if name == "escape" and not script:
                self._set_escape(line, value)
            elif name == "check":
                whole = self._whole(line)
                start = len(line.text.rstrip()) - len(value)
                self._check = whole.part(start, start + len(_REMARK.sub("", value)))
        return None

    def _set_escape(self, line: _Line, value: str) -> None:
        if value not in ("\\", "`"):
            raise self._whole(line).error(
                f"{quoted(value)} cannot be the escape character", "it is either \\ or `"
            )
        self._escape = value

    def _whole(self, line: _Line) -> Word:
        return Word.of_line(LogicalLine(self._source, line.text, (0,), (line.offset,)))

    def _statement(self, first: _Line) -> Statement:
        line = self._join(first)
        whole = Word.of_line(line).stripped()
        keyword = first_blank(whole)
        flags, arguments = _flags(whole.part(len(keyword.text), len(whole.text)), self._escape)
        comments = tuple(self._comments)
        statement = Statement(line, keyword, flags, arguments.stripped(), (), comments)
        self._warn_of_style(first, keyword)
        starts = self._heredoc_starts(statement)
        if not starts:
            return statement
        bodies = tuple(self._heredoc(start) for start in starts)
        return replace(statement, heredocs=bodies)

    def _warn_of_style(self, first: _Line, keyword: Word) -> None:
        if not keyword.text.isupper() and keyword.text.isalpha():
            self._warn(
                keyword,
                "UppercaseInstruction",
                "an instruction in lower case",
                f"write {quoted(keyword.text.upper())}",
            )
        if first.text[:1] in WHITESPACE:
            self._warn(keyword, "LeadingWhiteSpace", "white space before an instruction")

    def _warn(self, word: Word, rule: str, reason: str, hint: str | None = None) -> None:
        self._warnings.append(word.warning(rule, reason, hint))

    def _join(self, first: _Line) -> LogicalLine:
        """Join a line with those that continue it."""
        offset = first.offset + len(first.text) - len(first.text.lstrip(WHITESPACE))
        text, continued = self._cut_continuation(first.text.lstrip(WHITESPACE))
        pieces, origins, last = [text], [offset], offset + len(text)
        empty = False
        while continued:
            line = next(self._lines, None)
            if line is None:
                self._end_in_continuation(pieces, last)
                break
            content = line.text.lstrip(WHITESPACE)
            if not content and not empty:
                empty = True
                self._warn(
                    self._whole(line),
                    "NoEmptyContinuation",
                    "an empty line in a continuation",
                    "remove it, or write a '#' there",
                )
            if not content or content.startswith("#"):
                continue
            text, continued = self._cut_continuation(line.text)
            pieces.append(text)
            origins.append(line.offset)
            last = line.offset + len(text)
        return _logical_line(self._source, pieces, origins)

    def _end_in_continuation(self, pieces: list[str], offset: int) -> None:
        """Docker lets the last line say that it goes on, if only something was said."""
        where = self._source.range(offset, offset + 1)
        reason = f"broken continuation: nothing follows this '{self._escape}'"
        hint = f"remove the '{self._escape}', or write the rest of the instruction below it"
        if not any(piece.strip(WHITESPACE) for piece in pieces):
            raise DockerfileError(self._source, where, reason, hint)
        rule = "BrokenContinuation"
        self._warnings.append(DockerfileWarning(self._source, where, reason, hint, rule))

    def _cut_continuation(self, text: str) -> tuple[str, bool]:
        """A line without the escape character that continues it, and whether there was one."""
        cut = text.rstrip("\t ")
        if not cut.endswith(self._escape) or cut.endswith(self._escape * 2):
            return text, False
        return cut[:-1], True

    def _heredoc_starts(self, statement: Statement) -> tuple[HeredocStart, ...]:
        if statement.name == "ONBUILD":
            statement = nested(statement, self._escape)
        arguments = statement.arguments
        if "<<" not in arguments.text:
            return ()
        if statement.name == "ONBUILD":
            statement = nested(statement, self._escape)
            arguments = statement.arguments
        if statement.name not in _TAKES_HEREDOCS:
            return ()
        # Strings of the JSON form are arguments, whatever they look like.
        if read_json(arguments) is not None:
            return ()
        return find_heredocs(arguments)

    def _heredoc(self, start: HeredocStart) -> Heredoc:
        """Take the lines up to the one that says the heredoc's name."""
        first = None
        for line in self._lines:
            first = line.offset if first is None else first
            text = line.text.lstrip("\t") if start.strip_tabs else line.text
            if text == start.name:
                body = self._source.text[first : line.offset]
                whole = LogicalLine(self._source, body, (0,), (first,))
                return Heredoc(start, Word.of_line(whole))
        raise start.word.error(
            "the heredoc never ends",
            f"end it with a line that says {quoted(start.name)} and nothing else",
        )


def nested(statement: Statement, escape: str) -> Statement:
    """The instruction that an instruction (ONBUILD) has as its arguments, with its heredocs."""
    whole = statement.arguments
    keyword = first_blank(whole)
    flags, arguments = _flags(whole.part(len(keyword.text), len(whole.text)), escape)
    return Statement(statement.line, keyword, flags, arguments.stripped(), statement.heredocs)


def _flags(word: Word, escape: str) -> tuple[tuple[Word, ...], Word]:
    """Split leading flags off; ``--`` alone ends them."""
    flags, text, position = [], word.text, skip_space(word.text, 0)
    while text.startswith("--", position):
        end = end_of_word(text, position, escape)
        flag = word.part(position, end)
        position = skip_space(text, end)
        if flag.text == "--":
            break
        flags.append(_unquoted(flag, escape))
    return tuple(flags), word.part(position, len(text))


def _unquoted(flag: Word, escape: str) -> Word:
    if not any(character in flag.text for character in ("'", '"', escape)):
        return flag
    escape = re.escape(escape)
    text = re.sub(rf"{escape}(.)|{escape}\Z|['\"]", r"\1", flag.text, flags=re.DOTALL)
    return Word(text, flag.line, flag.start, flag.end)


def _lines(source: Source) -> Iterator[_Line]:
    offset, text = 0, source.text
    while offset < len(text):
        end = text.find("\n", offset)
        end = len(text) if end < 0 else end
        yield _Line(text[offset:end].rstrip("\r"), offset)
        offset = end + 1


def _logical_line(source: Source, pieces: list[str], origins: list[int]) -> LogicalLine:
    starts, length = [], 0
    for piece in pieces:
        starts.append(length)
        length += len(piece)
    return LogicalLine(source, "".join(pieces), tuple(starts), tuple(origins))
