"""Expansion, row by row of what the Dockerfile reference and a POSIX shell say, and what must not happen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.dockerfile import expand as expansion
from kleene.dockerfile.expand import MAX_DEPTH, MAX_GROWTH, expand
from kleene.dockerfile.source import DockerfileError
from tests.unit.dockerfile.words import word

VARIABLES = {
    "HOME": "/root",
    "EMPTY": "",
    "FILE": "archive.tar.gz",
    "DIR": "/usr/local/lib",
    "AA": "aXbXc",
    "STARS": "a*b?c\\d",
    "BLANK": "two  words",
    "PATTERN": "*.",
    "LINES": "one\ntwo",
    "größe": "groß",
    "_a1": "under",
}

ROWS = [
    # Nothing to do
    ("", ""),
    ("plain/text-1.0", "plain/text-1.0"),
    ("a  b", "a  b"),
    ("tilde ~ and `date` and $(date)", "tilde ~ and `date` and $(date)"),
    # Names
    ("$HOME", "/root"),
    ("${HOME}", "/root"),
    ("$HOME/x", "/root/x"),
    ("x$HOME$HOME", "x/root/root"),
    ("${HOME}X", "/rootX"),
    ("$HOMEX", ""),
    ("$nothing", ""),
    ("${nothing}", ""),
    ("$größe", "groß"),
    ("$_a1-", "under-"),
    ("$EMPTY.", "."),
    ("$BLANK", "two  words"),
    ("$", "$"),
    ("a$", "a$"),
    ("$.x", "$.x"),
    ("$/x", "$/x"),
    ("$1x", "x"),
    ("$12x", "x"),
    ("$@x$*x$#x$?x$-x$$x$!x", "xxxxxxx"),
    ("${1}${@}${#}${?}${-}${$}${!}", ""),
    ("${1:-a}${@-b}${?:+c}", "ab"),
    # Quotes
    ("'$HOME'", "$HOME"),
    ("'a\\b'", "a\\b"),
    ("'a''b'", "ab"),
    ('"$HOME"', "/root"),
    ('"${HOME}"', "/root"),
    ('"it\'s"', "it's"),
    ("'say \"hi\"'", 'say "hi"'),
    ('"a\\"b"', 'a"b'),
    ('"a\\$HOME"', "a$HOME"),
    ('"a\\\\b"', "a\\b"),
    ('"a\\nb"', "a\\nb"),
    ('"a  b"', "a  b"),
    ('""', ""),
    ("x''y", "xy"),
    ("\"'$HOME'\"", "'/root'"),
    # Escapes
    ("\\$HOME", "$HOME"),
    ("\\${HOME}", "${HOME}"),
    ("\\\\$HOME", "\\/root"),
    ("a\\ b", "a b"),
    ("a\\nb", "anb"),
    ("a\\'b", "a'b"),
    ('a\\"b', 'a"b'),
    ("a\\", "a"),
    ("a\\\\", "a\\"),
    # Defaults
    ("${HOME:-x}", "/root"),
    ("${HOME-x}", "/root"),
    ("${EMPTY:-x}", "x"),
    ("${EMPTY-x}", ""),
    ("${nothing:-x}", "x"),
    ("${nothing-x}", "x"),
    ("${nothing:-}", ""),
    ("${nothing:-$HOME}", "/root"),
    ("${nothing:-${HOME}/x}", "/root/x"),
    ("${nothing:-${also:-deep}}", "deep"),
    ("${nothing:-a b}", "a b"),
    ("${nothing:-'a}b'}", "a}b"),
    ('${nothing:-"$HOME}"}', "/root}"),
    ("${nothing:-a\\}b}", "a}b"),
    ("${nothing:-\\$HOME}", "$HOME"),
    ("${nothing:-{}", "{"),
    ("${nothing:-a}}", "a}"),
    ('"${nothing:-a"b"}"', "ab"),
    # Alternatives
    ("${HOME:+x}", "x"),
    ("${HOME+x}", "x"),
    ("${EMPTY:+x}", ""),
    ("${EMPTY+x}", "x"),
    ("${nothing:+x}", ""),
    ("${nothing+x}", ""),
    ("${HOME:+${EMPTY:-y}}", "y"),
    # What must be set
    ("${HOME:?must}", "/root"),
    ("${HOME?}", "/root"),
    ("${EMPTY?must}", ""),
    # Prefixes
    ("${FILE#*.}", "tar.gz"),
    ("${FILE##*.}", "gz"),
    ("${FILE#archive}", ".tar.gz"),
    ("${FILE#tar}", "archive.tar.gz"),
    ("${FILE#?????}", "ve.tar.gz"),
    ("${FILE#}", "archive.tar.gz"),
    ("${FILE##}", "archive.tar.gz"),
    ("${FILE#*}", "archive.tar.gz"),
    ("${FILE##*}", ""),
    ("${FILE#a*r}", "chive.tar.gz"),
    ("${FILE##a*r}", ".gz"),
    ("${FILE##*a?}", ".gz"),
    ("${FILE#$PATTERN}", "tar.gz"),
    ("${nothing#x}", ""),
    ("${STARS#a\\*b\\?}", "c\\d"),
    ("${STARS#*c\\\\}", "d"),
    ("${STARS#[a]}", "a*b?c\\d"),
    ("${LINES#*o}", "ne\ntwo"),
    ("${LINES##*t}", "wo"),
    # Suffixes
    ("${FILE%.*}", "archive.tar"),
    ("${FILE%%.*}", "archive"),
    ("${FILE%.gz}", "archive.tar"),
    ("${FILE%.zip}", "archive.tar.gz"),
    ("${FILE%??}", "archive.tar."),
    ("${DIR%/*}", "/usr/local"),
    ("${DIR%%/*}", ""),
    ("${DIR%/}", "/usr/local/lib"),
    ("${FILE%a*r*}", "archive.t"),
    ("${FILE%%a*r*}", ""),
    ("${STARS%\\\\d}", "a*b?c"),
    # Replacement
    ("${AA/X/-}", "a-bXc"),
    ("${AA//X/-}", "a-b-c"),
    ("${AA//X/}", "abc"),
    ("${AA/Y/-}", "aXbXc"),
    ("${AA/X*X/-}", "a-c"),
    ("${AA//?X/-}", "--c"),
    ("${AA/*/-}", "-"),
    ("${AA//*/-}", "-"),
    ("${DIR//\\//-}", "-usr-local-lib"),
    ("${DIR/\\/usr/$HOME}", "/root/local/lib"),
    ("${nothing/a/b}", ""),
    ("${EMPTY/a/b}", ""),
    ("${STARS/\\*/x}", "axb?c\\d"),
]

ERRORS = [
    ("'open", "' that opens"),
    ('"open', '" that opens'),
    ('"open\\"', '" that opens'),
    ("a\\\\'b", "' that opens"),
    ("${HOME", "'}' is missing"),
    ("${", "'}' is missing"),
    ("${}", "a name must follow"),
    ("${.}", "a name must follow"),
    ("${:-x}", "a name must follow"),
    ("${{HOME}}", "a name must follow"),
    ("${HOME:-x", "'}' that ends"),
    ("${HOME:-${x}", "'}' that ends"),
    ("${HOME:=x}", "operator is not known"),
    ("${HOME=x}", "operator is not known"),
    ("${HOME:x}", "operator is not known"),
    ("${HOME:}", "operator is not known"),
    ("${HOME:#x}", "operator is not known"),
    ("${HOME^^}", "operator is not known"),
    ("${HOME:", "operator is not known"),
    ("${nothing?}", "'nothing' is not set"),
    ("${nothing:?say $HOME}", "'nothing' is not set: 'say /root'"),
    ("${EMPTY:?}", "'EMPTY' is empty"),
    ("${HOME#\\x}", "means nothing"),
    ("${HOME#x", "'}' that ends"),
    ("${HOME/x}", "'/' that ends"),
    ("${HOME//}", "'/' that ends"),
    ("${HOME/x/y", "'}' that ends"),
]


@pytest.mark.parametrize(("text", "expected"), ROWS)
def test_value(text: str, expected: str) -> None:
    assert expand(word(text), VARIABLES) == expected


@pytest.mark.parametrize(("text", "reason"), ERRORS)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(word(text), VARIABLES)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`$HOME", "$HOME"),
        ("c:\\dir\\$HOME", "c:\\dir\\/root"),
        ('"`"`$`\\"', '"$`\\'),
        ("${STARS#a`*b`?}", "c\\d"),
    ],
)
def test_backquote_as_escape_character(text: str, expected: str) -> None:
    assert expand(word(text), VARIABLES, escape="`") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('say "$HOME"\n', 'say "/root"\n'),
        ("it's ${nothing:-'x'} \\$HOME\n", "it's 'x' $HOME\n"),
    ],
)
def test_quotes_stay_in_heredocs(text: str, expected: str) -> None:
    assert expand(word(text), VARIABLES, quotes=False) == expected


def test_error_points_at_the_substitution() -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(word("/opt/${HOME:=x}/y"), VARIABLES)
    assert (caught.value.range.start.column, caught.value.range.end.column) == (6, 14)


def test_values_are_not_expanded_again() -> None:
    assert expand(word("$a"), {"a": "$b '${c}\\"}) == "$b '${c}\\"


def test_nesting_has_a_limit() -> None:
    def nested(depth: int) -> str:
        return "${x:-" * depth + "y" + "}" * depth

    assert expand(word(nested(MAX_DEPTH)), {}) == "y"
    with pytest.raises(DockerfileError, match="nested"):
        expand(word(nested(MAX_DEPTH + 1)), {})
    with pytest.raises(DockerfileError, match="nested"):
        expand(word(nested(200_000)), {})


@pytest.mark.parametrize("text", ["$a$a", "${b//x/$a}", "${u:-$a$a}"])
def test_growth_has_a_limit(text: str) -> None:
    variables = {"a": "y" * (MAX_GROWTH // 2 + 1), "b": "x" * 1000}
    with pytest.raises(DockerfileError, match="more than"):
        expand(word(text), variables)


def test_long_text_is_no_growth() -> None:
    text = "x" * (2 * MAX_GROWTH)
    assert expand(word(text), {}) == text


def test_wildcards_have_a_limit() -> None:
    with pytest.raises(DockerfileError, match="1000 characters"):
        expand(word("${a#" + "x?" * 600 + "}"), {"a": ""})


@pytest.mark.parametrize("text", ["x" * 100_000, "$a" * 50_000, "'x'" * 50_000, "\\x" * 50_000])
def test_work_grows_with_the_length(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the text moves on: the characters that are matched add up to its length."""
    seen = 0
    real = expansion._plain

    class Counting:
        def __init__(self, pattern: re.Pattern[str]) -> None:
            self.pattern = pattern

        def match(self, text: str, position: int) -> re.Match[str] | None:
            nonlocal seen
            found = self.pattern.match(text, position)
            seen += len(found.group()) if found else 1
            return found

    monkeypatch.setattr(expansion, "_plain", lambda *args: Counting(real(*args)))
    expand(word(text), {"a": ""})
    assert seen <= len(text)


PIECES = st.sampled_from(
    [*"$${}{}:-+?#%/\\'\"`*ab1 \n<é", "${", "${a", ":-", "//", "a", "${a:-", "${b#", "HOME"]
)


@given(
    st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60),
    st.dictionaries(st.sampled_from(["a", "b", "HOME"]), st.text(max_size=20)),
    st.sampled_from("\\`"),
    st.booleans(),
)
def test_any_text_has_a_value_or_is_refused(
    text: str, variables: dict[str, str], escape: str, quotes: bool
) -> None:
    try:
        value = expand(word(text), variables, escape=escape, quotes=quotes)
    except DockerfileError as error:
        assert error.range.start <= error.range.end
    else:
        assert isinstance(value, str)


@given(st.text())
def test_single_quotes_keep_everything(text: str) -> None:
    text = text.replace("'", "")
    assert expand(word(f"'{text}'"), {"a": "b"}) == text


@given(
    st.text(alphabet="ab.", max_size=12),
    st.text(alphabet="ab.*?", max_size=6),
)
def test_patterns_match_what_regular_expressions_match(value: str, pattern: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    ends = [n for n in range(len(value) + 1) if re.fullmatch(expression, value[:n])]
    starts = [n for n in range(len(value) + 1) if re.fullmatch(expression, value[n:])]
    variables = {"v": value, "p": pattern}

    def trimmed(operator: str) -> str:
        return expand(word(f"${{v{operator}$p}}"), variables)

    assert trimmed("#") == (value[min(ends) :] if ends else value)
    assert trimmed("##") == (value[max(ends) :] if ends else value)
    assert trimmed("%") == (value[: max(starts)] if starts else value)
    assert trimmed("%%") == (value[: min(starts)] if starts else value)
    first = re.search(expression, value, re.DOTALL)
    expected = value[: first.start()] + "-" + value[first.end() :] if first else value
    assert expand(word("${v/$p/-}"), variables) == expected
