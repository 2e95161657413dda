"""What is written in a way that the Dockerfile reference names comes back as it was; checks never fail."""

from __future__ import annotations

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from kleene.dockerfile.expand import expand
from kleene.dockerfile.instructions import Cmd, Copy, Env, ExecForm
from kleene.dockerfile.lint import Facts, lint
from kleene.dockerfile.lint_variables import Parent
from kleene.dockerfile.rules import RULES
from kleene.dockerfile.source import DockerfileError
from tests.unit.dockerfile.words import read

# What a line can hold: anything but the ends of lines, and what cannot be in a Dockerfile at all.
ON_A_LINE = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))
NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
LINES = st.lists(
    st.sampled_from(
        [
            *("FROM a AS B", "from $x as b", "ARG x=$y", "ARG x", "# check=skip=all", "# x is y"),
            *("ENV a=$x b='", "COPY ../$a ${b} /", "COPY <<E /a", "E", "$e", "EXPOSE 1:2/TCP $x"),
            *("CMD a", "ENTRYPOINT ['a']", "WORKDIR $x/y", "LABEL $a=$b", "USER ${u?no}", "", "\\"),
            *("HEALTHCHECK CMD x", "ONBUILD CMD y", 'SHELL ["s"]', "FROM --platform=$p/x b"),
        ]
    ),
    max_size=15,
)


@given(st.lists(ON_A_LINE, min_size=1))
def test_an_array_is_what_json_says(arguments: list[str]) -> None:
    (cmd,) = read(f"FROM a\nCMD {json.dumps(arguments)}\n").stages[0].instructions
    assert isinstance(cmd, Cmd) and isinstance(cmd.command, ExecForm)
    assert [word.text for word in cmd.command.arguments] == arguments


@given(NAMES, ON_A_LINE, st.sampled_from("\\`"))
def test_an_escaped_value_is_kept(name: str, value: str, escape: str) -> None:
    quoted = "".join(f"{escape}{c}" if c in f'"${escape}' else c for c in value)
    text = f'# escape={escape}\nFROM a\nENV {name}="{quoted}" next=1\n'
    (env,) = read(text).stages[0].instructions
    assert isinstance(env, Env)
    (word, found), _ = env.pairs
    assert (word.text, expand(found, {}, escape=escape)) == (name, value)


@given(st.lists(ON_A_LINE.filter(lambda line: line != "END"), max_size=8))
def test_a_heredoc_is_kept(lines: list[str]) -> None:
    body = "".join(f"{line}\n" for line in lines)
    (copy,) = read(f"FROM a\nCOPY <<'END' /x\n{body}END\n").stages[0].instructions
    assert isinstance(copy, Copy)
    (source,) = copy.sources
    assert getattr(source, "content", None) == body


@given(LINES, st.booleans())
def test_checks_say_something_or_nothing(lines: list[str], known: bool) -> None:
    try:
        dockerfile = read("FROM a\n" + "\n".join(lines) + "\n")
    except DockerfileError:
        return
    facts = Facts({"x": "1"}, {}, lambda _: Parent({"a": "b"}) if known else None)
    found = lint(dockerfile, facts)
    assert all(warning.rule in RULES for warning in found)
    assert [w.range.start for w in found] == sorted(w.range.start for w in found)


def test_checks_take_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        text = "FROM a\n" + "".join(f"ENV v{n}=$u{n}\n" for n in range(count))
        dockerfile = read(text)
        begun = time.process_time()
        assert len(lint(dockerfile, Facts(parent=lambda _: Parent()))) == count
        return time.process_time() - begun

    # Ten times as much, in the square of that: a hundred times as long.
    assert seconds(5000) < 50 * max(seconds(500), 0.005)
