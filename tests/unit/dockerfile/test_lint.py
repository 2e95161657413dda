"""The checks of Dockerfiles: what each rule warns of, where, and what it lets pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kleene.dockerfile.lint import Facts, base_images, lint
from kleene.dockerfile.lint_variables import Parent
from kleene.dockerfile.rules import RULES, violations
from kleene.dockerfile.source import DockerfileError
from tests.unit.dockerfile.words import read

PLATFORM = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64"}


def checked(text: str, build_args: Mapping[str, str] | None = None) -> list[tuple[str, int]]:
    """The rules that warn, with their lines."""
    facts = Facts(
        build_args or {},
        PLATFORM,
        lambda name: Parent({"PATH": "/bin"}, name == "shelled") if name != "unknown" else None,
        lambda path: path.endswith(".log"),
    )
    return [(w.rule, w.range.start.line) for w in lint(read(text), facts)]


CASES = [
    ("BrokenContinuation", "FROM a\nRUN b \\\n", [2]),
    ("ConsistentInstructionCasing", "FROM a\nRUN b\nWorkdir /c\n", [3]),
    ("ConsistentInstructionCasing", "from a\nrun b\nWORKDIR /c\n", [3]),
    ("ConsistentInstructionCasing", "arg x\nFROM a\n", []),
    ("CopyIgnoredFile", "FROM a\nCOPY a.log b.txt /\nADD c/../d.log /\n", [2, 3]),
    ("CopyIgnoredFile", "FROM a\nCOPY --from=b a.log /\nADD http://h/a.log /\n", []),
    ("CopyOutsideContext", "FROM a\nCOPY ../x a/../../y a/../z /d/\n", [2, 2]),
    ("DeviceNotGranted", "FROM a\nRUN --device=b c\nRUN --device=b,required c\n", [2]),
    ("DuplicateStageName", "FROM a AS b\nFROM a AS B\nFROM a\n", [2]),
    ("ExposeInvalidFormat", "FROM a\nEXPOSE 80 8080:80\nEXPOSE 127.0.0.1:80:81/tcp\n", [2, 3]),
    ("ExposeProtoCasing", "FROM a\nEXPOSE 80/TCP 81/tcp 82\n", [2]),
    ("FromAsCasing", "FROM a as b\nFROM a AS c\nfrom a AS d\n", [1, 3]),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/arm64 a\n", [1]),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=arm64 a AS for-arm64\n", []),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=$BUILDPLATFORM a\n", []),
    ("InvalidDefaultArgInFrom", "ARG T\nFROM a:$T\nFROM b:${T:-1}\n", [2]),
    ("InvalidDefaultArgInFrom", "ARG T=1\nFROM docker.io/a/b:$T@sha256:00\n", []),
    ("InvalidDefinitionDescription", "# check=experimental=all\n# x\n\n# y\nFROM a AS b\n", [5]),
    ("InvalidDefinitionDescription", "# check=experimental=all\n\n# b is x\nFROM a AS b\n", []),
    ("InvalidDefinitionDescription", "# x\nFROM a AS b\n# x\nARG c\n", []),
    ("InvalidJSON", 'FROM a\nCMD [\'b\']\nRUN ["c"\nVOLUME ["d]\n', [2, 3, 4]),
    ("JSONArgsRecommended", "FROM a\nCMD b\nENTRYPOINT c\n", [2, 3]),
    ("JSONArgsRecommended", 'FROM a\nSHELL ["x"]\nCMD b\nFROM shelled\nCMD b\n', []),
    ("JSONArgsRecommended", 'FROM a AS b\nSHELL ["x"]\nFROM b\nCMD b\n', []),
    ("LeadingWhiteSpace", "FROM a\n  RUN b\n", [2]),
    ("LegacyKeyValueFormat", "FROM a\nENV b c\nLABEL d e\nENV f=g\n", [2, 3]),
    ("MaintainerDeprecated", "FROM a\nMAINTAINER b\n", [2]),
    ("MultipleInstructionsDisallowed", 'FROM a\nCMD ["b"]\nCMD ["c"]\nCMD ["d"]\n', [2, 3]),
    ("MultipleInstructionsDisallowed", 'FROM a AS b\nCMD ["b"]\nFROM b\nCMD ["c"]\n', []),
    ("NoEmptyContinuation", "FROM a\nRUN b \\\n\n  c\n", [3]),
    ("RedundantTargetPlatform", "FROM --platform=${TARGETPLATFORM} a\n", [1]),
    ("ReservedStageName", "FROM a AS scratch\nFROM a AS context\n", [1, 2]),
    ("SecretsUsedInArgOrEnv", "FROM a\nARG API_KEY\nENV x=1 MY_TOKEN=2 passwd=3\n", [2, 3, 3]),
    ("SecretsUsedInArgOrEnv", "FROM a\nENV KEYBOARD=1 PUBLIC_KEY=2 TOKEN_FILE=3\n", []),
    ("StageNameCasing", "FROM a AS Big\n", [1]),
    ("UndefinedArgInFrom", "ARG b=1\nFROM a:$b\nFROM a:$c\nFROM --platform=$d a\n", [3, 4]),
    ("UndefinedVar", "FROM a\nCOPY $x /\nARG y\nCOPY $y $PATH /d/\nENV z=$x\n", [2, 5]),
    ("UndefinedVar", "ARG g=1\nFROM a\nRUN $x\nENV b=1\nLABEL c=$b\nLABEL c=$g\n", [6]),
    ("UndefinedVar", "FROM a AS b\nENV c=1\nFROM b\nUSER $c\nCOPY <<E /\n$d\nE\n", [6]),
    ("UndefinedVar", "FROM unknown\nUSER $c\n", []),
    ("UnknownCheck", "# check=skip=NoRule\nFROM a\n", [1]),
    ("UppercaseInstruction", "# check=skip=all // remark\nfrom a\n", []),
    ("UppercaseInstruction", "#!/usr/bin/env klee\n# check=skip=all\nfrom a\n", []),
    ("UppercaseInstruction", "from a\n", [1]),
    ("WorkdirRelativePath", "FROM a AS b\nWORKDIR c\nWORKDIR d\nFROM b\nWORKDIR e\n", [2]),
    ("WorkdirRelativePath", "FROM a\nWORKDIR /c\nWORKDIR d\n", []),
]


@pytest.mark.parametrize(("rule", "text", "lines"), CASES)
def test_rule(rule: str, text: str, lines: list[int]) -> None:
    assert [line for name, line in checked(text) if name == rule] == lines


def test_every_rule_is_tested_and_described() -> None:
    assert {rule for rule, _, lines in CASES if lines} == set(RULES)
    page = Path(__file__).parents[3] / "docs/checks.md"
    described = {line[3:] for line in page.read_text().splitlines() if line.startswith("## ")}
    assert described - {"Choosing rules"} == set(RULES)


def test_a_good_dockerfile_has_nothing_to_warn_of() -> None:
    text = (
        "ARG TAG=12\nFROM debian:$TAG AS build\nWORKDIR /srv\nCOPY . .\nENV A=1 B=$PATH\n"
        'RUN make\nFROM scratch\nCOPY --from=build /srv/web /web\nCMD ["/web"]\n'
    )
    assert checked(text) == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("# check=skip=all\nfrom a as B\n", []),
        ("# check=skip=StageNameCasing\nFROM a as B\n", ["FromAsCasing"]),
        ("# check=skip=StageNameCasing, FromAsCasing;error=true\nFROM a as B\n", []),
        (
            "FROM a\n# check=skip=JSONArgsRecommended\nCMD b\nENTRYPOINT c\n",
            ["JSONArgsRecommended"],
        ),
        ("FROM a\n# check=nonsense\nCMD b\n", ["JSONArgsRecommended"]),
    ],
)
def test_skipped_rules(text: str, rules: list[str]) -> None:
    assert [rule for rule, _ in checked(text)] == rules


@pytest.mark.parametrize("value", ["skip", "what=x", "error=maybe", "skip=all;x"])
def test_a_directive_that_cannot_be_read(value: str) -> None:
    with pytest.raises(DockerfileError, match=r"^Dockerfile:1:9: ") as caught:
        read(f"# check={value}\nFROM a\n")
    assert caught.value.hint


def test_what_fails_a_check() -> None:
    dockerfile = read("# check=error=true\nfrom a AS b\n")
    assert dockerfile.check.error
    found = lint(dockerfile, Facts())
    assert [warning.rule for warning in violations(found)] == ["FromAsCasing"]


def test_near_names_are_suggested() -> None:
    found = lint(read("FROM a\nARG version\nUSER $verison\n"), Facts(parent=lambda _: Parent()))
    assert [w.hint for w in found] == ["did you mean '$version'?"]


def test_stages_above_are_no_images_to_look_up() -> None:
    file = read("ARG x=one\nFROM a AS One\nFROM $x AS b\nFROM B\nFROM two\nFROM a AS two\n")
    assert base_images(file, Facts()) == {"a", "two"}
