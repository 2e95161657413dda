"""Templates and filters of lists."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.cli import filters
from kleene.cli.templates import Template
from kleene.errors import InvalidInput, NotFound
from tests.unit.cli.conftest import Klee
from tests.unit.cli.test_commands import CONTAINER
from tests.unit.client.scripted import ScriptedDaemon

OBJECT = {
    "id": "3f2a",
    "name": "web",
    "running": True,
    "exit_code": None,
    "restart_policy": "always",
    "cmd": ["flask", "run"],
    "labels": {"team": "a", "tier": "b"},
    "mounts": [{"source": "data"}, {"source": "/srv"}],
    "health": {"status": "healthy"},
    "nothing": [],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}} {{ .ID }}", "web 3f2a"),
        ("{{.RestartPolicy}}={{.restart_policy}}", "always=always"),
        ("{{.Running}}/{{.ExitCode}}/", "true//"),
        ("{{.Health.Status}}", "healthy"),
        ("{{json .Cmd}}", '["flask", "run"]'),
        ('{{join .Cmd " "}}', "flask run"),
        ('{{.Cmd | join ";"}}', "flask;run"),
        ("{{.Labels | join}}", "team=a,tier=b"),
        ("{{.Name | upper}}{{lower .Name}}{{len .Cmd}}", "WEBweb2"),
        ("{{range .Mounts}}[{{.Source}}]{{end}}", "[data][/srv]"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .Running}}up{{else}}down{{end}}", "up"),
        ("{{if .ExitCode}}{{.ExitCode}}{{end}}.", "."),
        ("{{range .Cmd}}{{.}} {{end}}", "flask run "),
        ("a\\tb", "a\tb"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert Template(template).render(OBJECT) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{.Name",
        "}}",
        "{{}}",
        "{{shout .Name}}",
        "{{range .Mounts}}",
        "{{.Name |}}",
        "{{end}}",
        "{{.a.}}",
    ],
)
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(InvalidInput, match="template"):
        Template(template)


@pytest.mark.parametrize("template", ["{{.Nmae}}", "{{.Health.State}}", "{{.Name.First}}"])
def test_an_unknown_field(template: str) -> None:
    with pytest.raises(InvalidInput, match="there is no field") as refused:
        Template(template).render(OBJECT)
    if template == "{{.Health.State}}":
        assert refused.value.hint == "fields are: .status"


@pytest.mark.parametrize("template", ["{{join}}", "{{upper .Name .ID}}", "{{.Name .ID}}"])
def test_a_function_with_wrong_arguments(template: str) -> None:
    with pytest.raises(InvalidInput):
        Template(template).render(OBJECT)


def made(name: str, **fields: Any) -> dict[str, Any]:
    return CONTAINER | {"id": f"{name}0", "name": name, "created": f"2024-{len(name)}"} | fields


A = made("a", running=True, labels={"team": "x"}, networks=["net"], health={"status": "healthy"})
BB = made("bb", started="2024", exit_code=3, labels={"team": "y", "z": ""}, mounts=["data:/d:ro"])
CCC = made("ccc", image_id="ffff", image_name="", restarting=True, exit_code=1)
DDDD = made("dddd", image_name="db", image_tag="2")
EACH = [A, BB, CCC, DDDD]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["status=running"], "a"),
        (["status=exited"], "bb"),
        (["status=stopped"], "bb dddd"),
        (["status=created", "status=restarting"], "ccc dddd"),
        (["name=c"], "ccc"),
        (["label=team"], "a bb"),
        (["label=team=y", "label=z"], "bb"),
        (["image=flask"], "a bb"),
        (["image=db:2", "image=ff"], "ccc dddd"),
        (["image=db"], ""),
        (["network=net"], "a"),
        (["volume=data"], "bb"),
        (["volume=/d"], "bb"),
        (["health=healthy"], "a"),
        (["health=none", "name=b"], "bb"),
        (["exited=3"], "bb"),
        (["before=bb"], "a"),
        (["since=bb"], "ccc dddd"),
        (["restart=on-startup", "status=running"], "a"),
        (["ancestor=base"], "a bb dddd"),
    ],
)
def test_filters(words: list[str], names: str) -> None:
    images: list[dict[str, Any]] = [
        {"id": "aaaa", "name": "base", "tag": "latest"},
        {"id": "bbbb", "name": "", "tag": "", "parent": "aaaa@1"},
        {"id": CONTAINER["image_id"], "name": "flask", "tag": "latest", "parent": "bbbb@2"},
    ]
    found = filters.select(EACH, filters.parse(words), images)
    assert " ".join(c["name"] for c in found) == names


@pytest.mark.parametrize("word", ["running", "colour=red", "status=up", "health=fine"])
def test_what_is_no_filter(word: str) -> None:
    with pytest.raises(InvalidInput, match=f"filter '{word}'"):
        filters.parse([word])


def test_a_filter_by_a_container_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="'none'"):
        filters.select(EACH, filters.parse(["before=none"]))


def test_lists_by_filter_number_and_template(daemon: ScriptedDaemon, klee: Klee) -> None:
    for every in ("true", "false"):
        daemon.answer("GET", f"/containers/list?all={every}", EACH)
    daemon.answer("GET", "/containers/a/inspect", {"container": A, "container_endpoints": []})
    assert klee("ps", "-q", "--filter", "status=exited").out == "bb0\n"
    assert (
        klee("lsc", "--latest", "--format", "{{.Name}}: {{.Status}}").out == "dddd: stopped (3)\n"
    )
    assert klee("lsc", "-n", "2", "-q").out == "ccc0\ndddd0\n"
    table = klee("lsc", "-a", "--format", "table {{.Name}}\\t{{.RestartPolicy}}").out.splitlines()
    assert table[:2] == ["NAME   RESTART POLICY", "a      on-startup"]
    wrong = klee("lsc", "--format", "{{.Colour}}")
    assert wrong.status == 1
    assert "there is no field '.Colour'" in wrong.err
    assert ".restart_policy" in wrong.err
    assert klee("isc", "--format", "{{.Name}} {{.Container.ID}}", "a").out == "a a0\n"


def test_long_cells_are_shown_whole_if_asked_for(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/containers/list?all=false", [made("long", cmd=["x" * 100])])
    assert "x..." in klee("lsc").out
    assert "x" * 100 in klee("lsc", "--no-trunc").out
