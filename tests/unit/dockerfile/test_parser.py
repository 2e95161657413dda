"""Statements out of text: the grammar's corners, places, any text at all, and work that grows with length."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kleene.dockerfile import words
from kleene.dockerfile.document import Dockerfile, read_dockerfile
from kleene.dockerfile.instructions import (
    Arg,
    Cmd,
    Copy,
    Env,
    ExecForm,
    Run,
    ScriptForm,
    ShellForm,
)
from kleene.dockerfile.json_form import fault, read_json
from kleene.dockerfile.parser import parse
from kleene.dockerfile.source import DockerfileError, Position, Range, Source
from kleene.dockerfile.words import Word, split_quoted
from tests.unit.dockerfile.words import read, word


def arguments(text: str) -> list[str]:
    """What ``parse`` makes of the arguments of each statement."""
    return [s.arguments.text for s in parse(Source("Dockerfile", text)).statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a\\\nb", ["ab"]),
        ("RUN a \\\n  b", ["a   b"]),
        ("RUN a \\  \t\n b", ["a  b"]),
        ("RUN a\\\r\nb\r\n", ["ab"]),
        ("RUN a \\\n# c\n #c\nb", ["a b"]),
        ("RUN a \\\n\n  \t\nb", ["a b"]),
        ("RUN a \\\n#c \\\nb", ["a b"]),
        ("RUN a \\\n\\\nb", ["a b"]),
        ("\\\nRUN a", ["a"]),
        ("RUN\\\n a", ["a"]),
        ("RU\\\nN a", ["a"]),
        ("RUN a\\\\\nRUN b", ["a\\\\", "b"]),
        ("RUN a # b", ["a # b"]),
        ("  # c\n\t RUN a", ["a"]),
        ("\n\n \nRUN a\n\n", ["a"]),
        ("RUN\ta", ["a"]),
        ("RUN \xa0 a \u3000", ["a"]),
        ("#escape=`\nRUN a\\\nRUN b `\n c", ["a\\", "b  c"]),
        ("# Escape = `\nRUN b `\n c", ["b  c"]),
        ("#syntax=x\n#escape=`\nRUN b `\n c", ["b  c"]),
        ("\n#escape=`\nRUN b \\\n c", ["b  c"]),
        ("#unknown=x\n#escape=`\nRUN b \\\n c", ["b  c"]),
        ("#escape=\nRUN b \\\n c", ["b  c"]),
    ],
)
def test_lines(text: str, expected: list[str]) -> None:
    assert arguments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY --a=b c d", (["--a=b"], "c d")),
        ("COPY --a --b=c  d", (["--a", "--b=c"], "d")),
        ("COPY --a=b -- --c d", (["--a=b"], "--c d")),
        ("COPY -a b", ([], "-a b")),
        ('COPY --a="b c" d', (["--a=b c"], "d")),
        ("COPY --a='b c'd e", (["--a=b cd"], "e")),
        ("COPY --a=b\\ c d", (["--a=b c"], "d")),
        ("COPY --", ([], "")),
        ("COPY --a", (["--a"], "")),
        ("COPY \\\n --a=b \\\n c d", (["--a=b"], "c d")),
    ],
)
def test_flags(text: str, expected: tuple[list[str], str]) -> None:
    (statement,) = parse(Source("Dockerfile", text)).statements
    assert ([flag.text for flag in statement.flags], statement.arguments.text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b c=d", ["a=b", "c=d"]),
        ("a='b c' d", ["a='b c'", "d"]),
        ('a="b \\" c" d', ['a="b \\" c"', "d"]),
        ("a=b\\ c d", ["a=b\\ c", "d"]),
        ("a='b\\' c", ["a='b\\'", "c"]),
        ("a='b c", ["a='b c"]),
        ('a="b c\\', ['a="b c\\']),
        ("a\u3000b", ["a", "b"]),
    ],
)
def test_quoted_words(text: str, expected: list[str]) -> None:
    assert [found.text for found in split_quoted(word(text), "\\")] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        ("[ ]", []),
        ('["a"]', ["a"]),
        ('[ "a" ,\t"b" ] ', ["a", "b"]),
        ('["\\u00e9\\n\\"\\\\\\/"]', ['é\n"\\/']),
        ('["\\ud83d\\ude00", "\\ud83d"]', ["😀", "\ufffd"]),
        ('[""]', [""]),
        ("a", None),
        ("[ -f x ]", None),
        ('[ "$x" ]', ["$x"]),
        ('[ "$x" ] && y', None),
        ('[ "$x" = "y" ]', None),
        ('[ "a" "b" ]', None),
        ("[ab].txt /", None),
        ("['a']", None),
        ("[[ 1 ]]", "strings"),
        ("[1]", "strings"),
        ("[null]", "strings"),
        ("[NaN]", None),
        ('["\\u0000"]', "NUL"),
    ],
)
def test_json(text: str, expected: list[str] | str | None) -> None:
    if isinstance(expected, str):
        with pytest.raises(DockerfileError, match=expected):
            read_json(word(text))
        return
    found = read_json(word(text))
    assert (None if found is None else [string.text for string in found]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a",]', "missing"),
        ('["a"', "missing"),
        ('["a', "not closed"),
        ('[ "a", b ]', "missing"),
        ('["a\tb"]', "control character"),
        ('["a\\q"]', "escape"),
        ('["a"] x', "text after"),
        ('["a" "b"]', "missing"),
        ("[ -f x ]", None),
        ("[ab].txt", None),
        ('["a"]', None),
    ],
)
def test_why_a_text_is_no_json(text: str, expected: str | None) -> None:
    if expected is not None:
        assert read_json(word(text)) is None
    found = fault(word(text))
    assert (found is None) == (expected is None)
    assert found is None or expected is None or expected in found.reason


def test_deep_json_is_no_array_of_strings() -> None:
    assert read_json(word("[" * 100_000 + "]" * 100_000)) is None


HEREDOCS = [
    ("<<EOF", "EOF", True, False),
    ("<<-EOF", "EOF", True, True),
    ("<< EOF", "EOF", True, False),
    ("<<- \tEOF", "EOF", True, True),
    ("3<<EOF", "EOF", True, False),
    ("<<'EOF'", "EOF", False, False),
    ('<<"EOF"', "EOF", False, False),
    ("<<E'O'F", "EOF", False, False),
    ("<<eo\\'f", "eo'f", True, False),
    ("<<'one two'", "one two", False, False),
    ("<<$EOF", "$EOF", True, False),
    ("<< -EOF", "-EOF", True, False),
    ("<<a.txt", "a.txt", True, False),
]


@pytest.mark.parametrize(("start", "name", "expand", "strip"), HEREDOCS)
def test_heredocs(start: str, name: str, expand: bool, strip: bool) -> None:
    (run, after) = parse(Source("D", f"RUN cat {start} >x\n\t$a\n# b\n{name}\nRUN c")).statements
    (heredoc,) = run.heredocs
    found = heredoc.start
    assert (found.name, found.expand, found.strip_tabs) == (name, expand, strip)
    assert heredoc.body.text == "\t$a\n# b\n"
    assert heredoc.body.range == Range(Position(2, 1), Position(4, 1))
    assert after.arguments.text == "c"


@pytest.mark.parametrize(
    "text",
    [
        "RUN cat<<EOF",
        "RUN cat <<<EOF",
        'RUN "<<EOF"',
        "RUN '<<EOF'",
        "RUN <<",
        "RUN <<-",
        "RUN << <x",
        "RUN it's <<EOF",
        "RUN \\<<EOF",
        'RUN ["<<EOF"]',
        "RUN echo $((1<<3))",
        "CMD <<EOF",
        "ENV a=<<EOF",
    ],
)
def test_no_heredocs(text: str) -> None:
    (statement,) = parse(Source("D", text)).statements
    assert statement.heredocs == ()


def test_heredoc_bodies_follow_each_other() -> None:
    (copy,) = parse(Source("D", "COPY <<X <<Y /d\nY\nX\nX\nY\n")).statements
    assert [heredoc.content for heredoc in copy.heredocs] == ["Y\n", "X\n"]


def test_types() -> None:
    dockerfile = read(
        "ARG g\nFROM img AS Base\nRUN a\nRUN ['x']\nRUN <<E\nb\nE\nCMD [\"c\"]\n"
        "ENV n=1 m='2 3'\nENV o 4 5\nARG p q=6\nCOPY --chown=u s t d/\n"
    )
    assert [a.arguments[0].name for a in dockerfile.arguments] == ["g"]
    (stage,) = dockerfile.stages
    assert (stage.index, stage.base.image.text, stage.base.alias) == (0, "img", "base")
    run, single, script, cmd, env, old, arg, copy = stage.instructions
    assert isinstance(run, Run) and run.command == ShellForm(word("a"))
    assert isinstance(single, Run) and single.command == ShellForm(word("['x']"))
    assert isinstance(script, Run) and isinstance(script.command, ScriptForm)
    assert isinstance(cmd, Cmd) and cmd.command == ExecForm((word("c"),))
    assert isinstance(env, Env) and [v.text for _, v in env.pairs] == ["1", "'2 3'"]
    assert isinstance(old, Env) and [v.text for _, v in old.pairs] == ["4 5"]
    assert isinstance(arg, Arg)
    assert [(a.name, a.default and a.default.text) for a in arg.arguments] == [
        ("p", None),
        ("q", "6"),
    ]
    assert isinstance(copy, Copy) and copy.chown == word("u") and copy.chmod is None
    assert copy.sources == (word("s"), word("t")) and copy.destination == word("d/")


def test_places_of_words_across_lines() -> None:
    text = "FROM a\nCOPY \\\n  # c\n  one \\\r\n\ttwo th\\\nree /d/\n"
    (copy,) = read(text).stages[0].instructions
    assert isinstance(copy, Copy)
    places = [s.range for s in copy.sources if isinstance(s, Word)]
    assert places == [
        Range(Position(4, 3), Position(4, 6)),
        Range(Position(5, 2), Position(5, 5)),
        Range(Position(5, 6), Position(6, 4)),
    ]
    assert copy.destination.range == Range(Position(6, 5), Position(6, 8))
    assert copy.range == Range(Position(2, 1), Position(6, 8))


def test_places_of_json_strings() -> None:
    (run,) = read('FROM a\nRUN ["a", \\\n  "b\\n"]\n').stages[0].instructions
    assert isinstance(run, Run) and isinstance(run.command, ExecForm)
    assert [argument.range for argument in run.command.arguments] == [
        Range(Position(2, 7), Position(2, 8)),
        Range(Position(3, 3), Position(3, 8)),
    ]


LINES = st.sampled_from(
    [
        *("FROM a", "from a AS b", "RUN x", "RUN <<E", "RUN <<-'E F'", "COPY <<E a/", "COPY a b"),
        *('RUN ["a", "b"]', 'RUN ["a"', "RUN [ x ]", "CMD []", "ENV a=b", "ENV a b", "ENV a='b"),
        *("ARG a", "ARG a=$b", "WORKDIR /x", "USER x", "ADD a b", "RUNN", "--", "#", "# escape=`"),
        *("E", "E F", "\tE", " ", "\t", "\\", "`", "  \\", "x \\", "x `", "\r", "\x0b", "[", '"'),
    ]
)
TEXTS = st.lists(LINES, max_size=12).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n", " \\\n", ""]).map(lambda end: end.join(lines))
)


def _words(dockerfile: Dockerfile) -> Iterator[Word]:
    for instruction in (
        i for stage in dockerfile.stages for i in (stage.base, *stage.instructions)
    ):
        statement = instruction.statement
        yield from (statement.keyword, statement.arguments, *statement.flags)
        yield from (part for h in statement.heredocs for part in (h.start.word, h.body))
        for value in vars(instruction).values():
            yield from (
                w for w in (value if isinstance(value, tuple) else (value,)) if isinstance(w, Word)
            )


def _check(source: Source, place: Range) -> None:
    assert Position(1, 1) <= place.start <= place.end
    for position in (place.start, place.end):
        assert position.line <= source.line_count
        # The characters that end a line may be pointed at: a heredoc's body has them.
        assert position.column <= len(source.line(position.line)) + 3


@given(TEXTS | st.text() | st.text(alphabet="FROMarun <-\\`#'\"[],=$\t\r\n", max_size=60))
@example("RUN <<")
@example("\\")
@example("#")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        source = Source.from_text("Dockerfile", text)
        dockerfile = read_dockerfile(source)
    except DockerfileError as error:
        _check(error.source, error.range)
        return
    for warning in dockerfile.warnings:
        _check(source, warning.range)
    for found in _words(dockerfile):
        _check(source, found.range)


@given(st.binary() | TEXTS.map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_dockerfile(Source.from_bytes("Dockerfile", data))
    except DockerfileError as error:
        _check(error.source, error.range)


@given(TEXTS)
def test_verbatim_words_stand_where_they_say(text: str) -> None:
    source = Source("Dockerfile", text)
    try:
        statements = parse(source).statements
    except DockerfileError:
        return
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for statement in statements:
        place = statement.keyword.range
        first = starts[place.start.line - 1] + place.start.column - 1
        last = starts[place.end.line - 1] + place.end.column - 1
        if place.start.line == place.end.line:
            assert text[first:last] == statement.keyword.text


@pytest.mark.parametrize(
    "text",
    [
        "ENV " + "a=b " * 20_000,
        "ENV a=" + "'x'" * 20_000,
        "ENV a=" + "\\x" * 20_000,
        "COPY " + "--chown=a " * 20_000 + "x",
        "RUN " + "x \\\n" * 20_000 + "y",
        "RUN x\n" * 20_000,
        "RUN " + " " * 100_000 + "x",
        "RUN << " + "'" * 50_000,
    ],
)
def test_work_grows_with_the_length(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the splitting of words looks at: no more than a few times the text's."""
    looked = 0

    def counted(real: object) -> object:
        def wrapper(text: str, position: int, *rest: object) -> int:
            nonlocal looked
            end: int = real(text, position, *rest)  # type: ignore[operator]
            looked += end - position + 1
            return end

        return wrapper

    for name in ("end_of_word", "end_of_quote", "skip_space"):
        for module in (words, __import__("kleene.dockerfile.parser", fromlist=["x"])):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counted(getattr(module, name)))
    try:
        read("FROM a\n" + text)
    except DockerfileError as error:
        assert "twice" in error.reason
    assert looked <= 4 * len(text) + 100
