"""Templates, and filters as the user gives them."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.cli.templates import Template
from kleene.errors import InvalidInput
from kleene.schemas.filters import KEYS, Kind
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
        ('{{index .Labels "team"}}{{index .Labels "none"}}', "a"),
        ("{{index .Cmd 1}}{{index .Cmd 2}}", "run"),
        ('{{index .Mounts 1 "source"}}', "/srv"),
        ('{{.Label "tier"}}', "b"),
        ('{{if eq .Name "db" "web"}}yes{{end}}{{if ne .Name "web"}}no{{end}}', "yes"),
        ("{{if not .ExitCode}}none{{end}}", "none"),
        ("{{with .Health}}{{.Status}}{{end}}{{with .Nothing}}x{{else}}-{{end}}", "healthy-"),
        ("{{truncate .RestartPolicy 3}} {{title .Name}}", "alw Web"),
        ("{{.RestartPolicy | truncate 2}}", "al"),
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
        assert refused.value.hint == "did you mean '.status'? fields are: .status"


@pytest.mark.parametrize("template", ["{{join}}", "{{upper .Name .ID}}", "{{.Name .ID}}"])
def test_a_function_with_wrong_arguments(template: str) -> None:
    with pytest.raises(InvalidInput):
        Template(template).render(OBJECT)


def made(name: str, **fields: Any) -> dict[str, Any]:
    return CONTAINER | {"id": f"{name}0", "name": name, "created": f"2024-{len(name)}"} | fields


A = made("a", running=True)
BB = made("bb", started="2024", exit_code=3)
CCC = made(
    "ccc",
    restarting=True,
    exit_code=1,
    public_ports=[{"host_port": "80", "container_port": "8080", "protocol": "tcp"}],
)
DDDD = made("dddd", exit_code=3)
FULL = A | {"health": None, "restarting": False, "finished": "", "started": "2024"}
EACH = [A, BB, CCC, DDDD]


def test_lists_by_filter_number_and_template(daemon: ScriptedDaemon, klee: Klee) -> None:
    for every in ("true", "false"):
        daemon.answer("GET", f"/containers/list?all={every}", EACH)
    daemon.answer("GET", "/containers/a/inspect", {"container": A, "container_endpoints": []})
    words = "filter=status%3Dexited&filter=label%3Da%3Db"
    daemon.answer("GET", f"/containers/list?all=false&{words}", [BB])
    found = klee("ps", "-q", "--filter", "status=exited", "-f", "label=a=b")
    assert found.out == "bb0\n"
    assert (
        klee("lsc", "--latest", "--format", "{{.Name}}: {{.Status}}").out == "dddd: stopped (3)\n"
    )
    assert klee("lsc", "-n", "2", "-q").out == "ccc0\ndddd0\n"
    table = klee("lsc", "-a", "--format", "table {{.Name}}\\t{{.RestartPolicy}}").out.splitlines()
    assert table[:2] == ["NAME   RESTART POLICY", "a      on-startup"]
    wrong = klee("lsc", "--format", "{{.Colour}}")
    assert wrong.status == 2
    assert "there is no field '.Colour'" in wrong.err
    assert ".restart_policy" in wrong.err
    assert "did you mean '.restart_policy'?" in klee("lsc", "--format", "{{.RestartPolcy}}").err
    ports = klee("lsc", "-a", "--format", "{{.Names}} {{.State}} {{.Ports}}").out.splitlines()
    assert ports == ["a running ", "bb exited ", "ccc restarting 80->8080/tcp", "dddd created "]
    assert klee("isc", "--format", "{{.Name}} {{.Container.ID}}", "a").out == "a a0\n"
    endpoint = {"network_id": "n1", "container_id": "a0", "ip_address": "10.0.0.2"}
    full = {"container": FULL, "container_endpoints": [endpoint]}
    daemon.answer("GET", "/containers/a/inspect", full)
    assert klee("isc", "-f", "{{.State.Status}} {{.State.Running}}", "a").out == "running true\n"
    form = "{{.NetworkSettings.IPAddress}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert klee("isc", "-f", f"{form} {{{{.HostConfig.RestartPolicy.Name}}}}", "a").out == (
        f"10.0.0.2 10.0.0.2 {FULL['restart_policy']}\n"
    )
    assert klee("isc", "-f", "{{.Nonsense}}", "a").status == 2
    network = {"id": "n1", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    lan = {"network": network, "network_endpoints": [endpoint]}
    daemon.answer("GET", "/networks/lan/inspect", lan)
    form = "{{range .IPAM.Config}}{{.Subnet}}{{end}} {{range .Containers}}{{.IPv4Address}}{{end}}"
    assert klee("isn", "-f", form, "lan").out == "10.0.0.0/24 10.0.0.2\n"


def test_long_cells_are_shown_whole_if_asked_for(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/containers/list?all=false", [made("long", cmd=["x" * 100])])
    assert "x..." in klee("lsc").out
    assert "x" * 100 in klee("lsc", "--no-trunc").out


FILTERED = {
    "container": "lsc",
    "image": "lsi",
    "network": "lsn",
    "volume": "lsv",
    "snapshot": "volume snapshots x",
    "secret": "secret ls",
    "config": "config ls",
}


@pytest.mark.parametrize(("kind", "command"), FILTERED.items())
def test_each_list_takes_the_filters_of_its_kind(
    daemon: ScriptedDaemon, klee: Klee, kind: Kind, command: str
) -> None:
    told = " ".join(klee(*command.split(), "--help").out.split())
    assert all(key in told for key in KEYS[kind])
    wrong = klee(*command.split(), "--filter", "nmae=x")
    assert wrong.status == 2
    assert f"filter 'nmae=x' of {kind}s has an unknown key" in wrong.err
    assert "did you mean 'name'?" in wrong.err
    path = "/volumes/x/snapshots" if kind == "snapshot" else f"/{kind}s/list"
    query = "all=false&filter=name%3Dx" if kind == "container" else "filter=name%3Dx"
    daemon.answer("GET", f"{path}?{query}", [])
    assert klee(*command.split(), "-qf", "name=x").out == ""


@pytest.mark.parametrize("word", ["status=up", "health=fine", "dangling=maybe", "name", "name="])
def test_what_is_no_filter(klee: Klee, word: str) -> None:
    command = "lsi" if "dangling" in word else "lsc"
    refused = klee(command, "--filter", word)
    assert refused.status == 2
    assert f"filter '{word}'" in refused.err
    assert "hint: " in refused.err


def test_a_format_that_is_none(klee: Klee) -> None:
    refused = klee("lsc", "--format", "jsno")
    assert refused.status == 2
    assert "there is no format 'jsno'" in refused.err
    assert "did you mean 'json'?" in refused.err
