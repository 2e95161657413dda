"""What decides a key, what is in scope, and that any Dockerfile is planned or refused."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kleene.build.commands import MAX_STRING
from kleene.build.config import ImageConfig
from kleene.build.paths import in_context, is_directory, join
from kleene.build.plan import Plan, plan, stages_of
from kleene.build.script import script_argv
from kleene.build.steps import ConfigStep, CopyStep, RunStep, Step, step_key
from kleene.dockerfile.document import Dockerfile, read_dockerfile
from kleene.dockerfile.source import DockerfileError, Source
from kleene.errors import InvalidInput
from kleene.names import ImageReference

BASE = ImageConfig(env=("PATH=/bin",))


def make(text: str, build_args: Mapping[str, str] | None = None, base: ImageConfig = BASE) -> Plan:
    source = Source.from_text("Dockerfile", "FROM base\n" + text)
    return planned(read_dockerfile(source), base, build_args or {})


def planned(
    dockerfile: Dockerfile, base: ImageConfig, build_args: Mapping[str, str], user: str = ""
) -> Plan:
    """The plan, when every image is ``base``."""
    nodes = stages_of(dockerfile, build_args)
    bases = {node.base: base for node in nodes if isinstance(node.base, ImageReference)}
    return plan(dockerfile, nodes, bases, build_args, user=user)


def key(text: str, build_args: Mapping[str, str] | None = None, parent: str = "p") -> str:
    """Key of the state after the last step."""
    for step in make(text, build_args).steps:
        digest = "d" if isinstance(step, CopyStep) else None
        parent = step_key(parent, step, copied_digest=digest)
    return parent


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RUN a", "RUN a  "),
        ("RUN a", "# comment\nrun   a"),
        ("RUN a b", "RUN a \\\nb"),
        ('RUN ["/bin/sh", "-c", "a"]', "RUN a"),
        ("ENV A=1\nENV B=2\nRUN a", "ENV B=2 A=1\nRUN a"),
        ("ENV A=1\nRUN a", "ARG A=1\nRUN a"),
        ("WORKDIR /a/b\nRUN a", "WORKDIR /a/x/../b/\nRUN a"),
        ("RUN a", "RUN a\nENV late=1\nCMD x\nUSER u"),
        ("COPY a /b/", "ENV x=1\nUSER u\nCOPY a /b/"),
        ("COPY $x a /b/", "COPY c/../x a /b/"),
    ],
)
def test_same_state_same_key(one: str, other: str) -> None:
    args = {"x": "x"}
    assert key("ARG x\n" + one, args) == key("ARG x\n" + other, args)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RUN a", "RUN b"),
        ("RUN a", 'RUN ["a"]'),
        ("RUN a", "RUN a\nRUN a"),
        ("RUN a", "ENV A=1\nRUN a"),
        ("RUN a", "USER u\nRUN a"),
        ("ENV A=1\nRUN a", "ENV A=2\nRUN a"),
        ("WORKDIR /a\nRUN a", "WORKDIR /b\nRUN a"),
        ("WORKDIR /a\nCOPY a /", "WORKDIR /b\nCOPY a /"),
        ("COPY a /b", "COPY a /b/"),
        ("COPY a /b", "COPY a /c"),
        ("COPY a /b/", "COPY c /b/"),
        ("COPY a /b", "COPY --chmod=600 a /b"),
        ("COPY a /b", "COPY --chown=u a /b"),
        ("COPY <<a /b\n1\na", "COPY <<a /b\n2\na"),
    ],
)
def test_other_state_other_key(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_everything_from_outside_counts() -> None:
    copy = make("COPY a /b").steps[-1]
    keys = {
        step_key("p", copy, copied_digest="d", environment="e"),
        step_key("q", copy, copied_digest="d", environment="e"),
        step_key("p", copy, copied_digest="f", environment="e"),
        step_key("p", copy, copied_digest="d", environment="g"),
    }
    assert len(keys) == 4
    assert all(len(found) == 64 for found in keys)


def test_steps_that_change_no_file_keep_the_key() -> None:
    steps = make("ENV a=b\nARG c\nUSER d\nCMD e").steps
    assert all(isinstance(step, ConfigStep) for step in steps[1:])
    assert {step_key("p", step) for step in steps} == {"p"}


def test_a_proxy_does_not_count_unless_declared() -> None:
    one, other = {"http_proxy": "http://1"}, {"http_proxy": "http://2"}
    assert key("RUN a", one) == key("RUN a", other) == key("RUN a")
    assert key("ARG http_proxy\nRUN a", one) != key("ARG http_proxy\nRUN a", other)


def test_a_proxy_is_seen_by_run_and_not_kept() -> None:
    found = make("RUN a", {"HTTPS_PROXY": "http://p"})
    (run,) = [step for step in found.steps if isinstance(step, RunStep)]
    assert {"HTTPS_PROXY=http://p", "https_proxy=http://p"} <= set(run.env)
    assert found.config.env == ("PATH=/bin",)


def test_an_argument_is_not_kept() -> None:
    found = make("ARG a=1\nARG b\nENV c=$a\nRUN x", {"b": "2"})
    assert found.config.env == ("PATH=/bin", "c=1")
    run = found.steps[-1]
    assert isinstance(run, RunStep) and set(run.env) == {"PATH=/bin", "a=1", "b=2", "c=1"}


def test_the_environment_of_the_parent_wins_over_an_argument() -> None:
    run = make("ARG PATH=/mine\nRUN x").steps[-1]
    assert isinstance(run, RunStep) and run.env == ("PATH=/bin",)


def test_the_user_of_the_build_container_is_not_kept() -> None:
    dockerfile = read_dockerfile(Source("D", "FROM a\nRUN b\n"))
    found = planned(dockerfile, replace(BASE, user="app"), {}, user="root")
    run = found.steps[-1]
    assert isinstance(run, RunStep) and run.user == "root"
    assert found.config.user == "app"


def test_the_image_that_a_build_starts_from() -> None:
    dockerfile = read_dockerfile(Source("D", "ARG t=1\nFROM web:$t@beef\n"))

    def base(build_args: Mapping[str, str], override: str = "") -> object:
        return stages_of(dockerfile, build_args, override)[-1].base

    assert base({}) == ImageReference("web", "1", "beef")
    assert base({"t": "2"}) == ImageReference("web", "2", "beef")
    assert base({}, "0a1b@c") == ImageReference("0a1b", None, "c")
    with pytest.raises(InvalidInput, match="no valid tag"):
        base({}, "a:b:c")
    with pytest.raises(DockerfileError, match=r"^D:2:6: .* no valid tag"):
        base({"t": "a b"})


def test_a_stage_inherits_all_from_the_stage_that_it_starts_from() -> None:
    first = "FROM base AS first\nARG a=1\nENV e=2\nUSER u\nWORKDIR /w\nLABEL l=3\n"
    source = Source("D", first + "FROM first\nRUN x\nFROM other\n")
    dockerfile = read_dockerfile(source)
    nodes = stages_of(dockerfile, {}, target="1")
    found = plan(dockerfile, nodes, {ImageReference("base"): BASE}, {})
    run = found.steps[-1]
    assert isinstance(run, RunStep)
    assert (run.cwd, run.user) == ("/w", "u")
    assert set(run.env) == {"PATH=/bin", "a=1", "e=2"}
    assert found.config.settings.labels == {"l": "3"}
    assert [stage.node.stage.index for stage in found.stages] == [0, 1]


@pytest.mark.parametrize("build_args", [{"": "x"}, {"a=b": "x"}, {"a": "\0"}, {"a": "\ud800"}])
def test_build_args_that_cannot_be(build_args: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="build argument"):
        make("", build_args)


@pytest.mark.parametrize(
    "text",
    [
        "RUN {}",
        'RUN ["x", "{}"]',
        "RUN <<E\n{}\nE",
        "CMD {}",
        "ENV a={}",
        "ENV a {}",
        "ARG a={}",
        "ARG b",
    ],
)
def test_what_no_process_could_be_given(text: str) -> None:
    long = "x" * (MAX_STRING + 1)
    with pytest.raises(DockerfileError, match="the kernel passes on 131071"):
        make(text.replace("{}", long), {"b": long})


def test_an_environment_that_no_process_could_be_given() -> None:
    lines = [f"ENV a{n}={'x' * 100_000}\n" for n in range(11)]
    make("".join(lines[:10]))
    with pytest.raises(DockerfileError, match="more than 1048576 bytes"):
        make("".join(lines))
    make("".join("ENV a=" + "x" * 100_000 + "\n" for _ in range(20)))


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/", "a", "/a"),
        ("/a", "b/c", "/a/b/c"),
        ("/a", "/b", "/b"),
        ("/a", "//b//c/", "/b/c"),
        ("/a/b", "..", "/a"),
        ("/a", "../../..", "/"),
        ("/a", ".", "/a"),
        ("/", "", "/"),
    ],
)
def test_join(directory: str, path: str, expected: str) -> None:
    assert join(directory, path) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", "a"),
        ("/a/", "a"),
        ("./a//b", "a/b"),
        ("a/../b", "b"),
        (".", "."),
        ("a/..", "."),
        ("..", "."),
        ("a/../../b", "b"),
        ("/..", "."),
        ("\\../b", "b"),
        ("\\.\\./b", "b"),
        ("*/../../b", "b"),
        ("..a/b", "..a/b"),
    ],
)
def test_in_context(pattern: str, expected: str) -> None:
    assert in_context(pattern) == expected


@given(st.text(alphabet="./ab\\*", max_size=20), st.text(alphabet="./ab", max_size=20))
def test_paths_are_clean(path: str, directory: str) -> None:
    joined = join("/" + directory, path)
    assert joined.startswith("/") and "//" not in joined
    assert not {"..", "."} & set(joined.split("/"))
    inside = in_context(path)
    assert not inside.startswith("/") and ".." not in inside.split("/")


def test_is_directory() -> None:
    assert [is_directory(path) for path in ("/", "a/", ".", "..", "a/.", "a", "a..")] == [
        *(True, True, True, True, True, False, False)
    ]


def test_a_script_runs_by_its_interpreter(tmp_path: Path) -> None:
    script = '#!/bin/sh -e\nread line\necho "$line" >out\nfalse\necho no >>out\n'
    argv = script_argv(script)
    assert argv is not None
    done = subprocess.run(argv, cwd=tmp_path, input=b"from stdin\n", check=False)
    assert done.returncode == 1
    assert (tmp_path / "out").read_text() == "from stdin\n"


@pytest.mark.parametrize("script", ["echo", "#! \necho", "", "# !/bin/sh\n"])
def test_no_interpreter(script: str) -> None:
    assert script_argv(script) is None


LINES = st.sampled_from(
    [
        *("ARG a", "ARG a=$b b=${a:-x}", "ENV a=$a$a b='$a'", "ENV ${a}=1", "ENV a ${b#*x}"),
        *("RUN $a", 'RUN ["$a"]', "RUN <<E\n$a\nE", "COPY <<E /x/\n$a ${\nE", "COPY <<E x\n$b\nE"),
        *("COPY $a /x/", "COPY ../$a x", 'COPY ["a", "$b/"]', "COPY --chmod=$a --chown=$b c d"),
        *("WORKDIR $a", "WORKDIR ../x", "USER $b", "CMD $a", "CMD []", "FROM $a AS x"),
    ]
)


@given(
    st.lists(LINES, max_size=12),
    st.dictionaries(st.sampled_from(["a", "b", "http_proxy"]), st.text(max_size=10), max_size=3),
)
def test_any_dockerfile_is_planned_or_refused(lines: list[str], build_args: dict[str, str]) -> None:
    source = Source("Dockerfile", "FROM base\n" + "\n".join(lines))
    try:
        found = planned(read_dockerfile(source), BASE, build_args)
    except InvalidInput:
        return
    assert [step.number for step in found.steps] == list(range(1, len(found.steps) + 1))
    if not any(line.startswith("FROM") for line in lines):
        assert len(found.steps) == len(lines) + 1
    assert all(_is_sane(step) for step in found.steps)


def _is_sane(step: Step) -> bool:
    if isinstance(step, RunStep):
        return step.cwd.startswith("/") and bool(step.args)
    if isinstance(step, CopyStep):
        inside = all(".." not in source.split("/") for source in step.sources)
        return inside and step.destination.startswith("/")
    return "\n" not in step.text
