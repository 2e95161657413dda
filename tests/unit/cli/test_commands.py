"""What commands ask of the daemon, print, and exit with."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from kleene.cli.main import root, run
from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import ScriptedDaemon

CONTAINER = {
    "id": "3f2a00000000",
    "name": "web",
    "image_id": "0123456789ab",
    "image_name": "flask",
    "image_tag": "latest",
    "dataset": "container/3f2a00000000",
    "created": "2024-01-01T00:00:00Z",
    "running": False,
    "cmd": ["flask", "run"],
    "env": [],
    "user": "",
    "jail_param": [],
    "network_driver": "host",
    "persist": False,
    "public_ports": [],
    "restart_policy": "on-startup",
    "exit_code": 3,
    "jid": None,
}


def _commands(group: click.Group, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = [path]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
        else:
            found.append((*path, name))
    return found


@pytest.mark.parametrize("path", _commands(root, ()), ids=" ".join)
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    text = capfd.readouterr().out
    _, found, examples = text.partition("Examples:\n")
    assert found
    assert examples.strip().startswith("klee ")
    assert "Usage: klee" in text


def test_list_of_containers(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/containers/list?all=false", [])
    daemon.answer("GET", "/containers/list?all=true", [CONTAINER, CONTAINER | {"running": True}])
    assert (
        klee("lsc").out.split()
        == "CONTAINER ID NAME IMAGE COMMAND CREATED AUTORUN STATUS JID".split()
    )
    lines = klee("container", "ls", "-a").out.splitlines()
    assert len(lines) == 3
    for word in ("3f2a00000000", "web", "flask:latest", "flask run", "ago", "yes", "stopped (3)"):
        assert word in lines[1]
    assert "running" in lines[2]
    assert klee("lsc", "-aq").out == "3f2a00000000\n" * 2
    assert json.loads(klee("lsc", "-a", "--format", "json").out)[0] == CONTAINER


def test_other_lists(daemon: ScriptedDaemon, klee: Klee) -> None:
    created = "2024-01-01T00:00:00Z"
    daemon.answer(
        "GET", "/images/list", [{"id": "i" * 12, "name": "", "tag": "", "created": created}]
    )
    network = {"id": "n" * 12, "name": "net", "type": "bridge", "subnet": "10.1.0.0/16"}
    daemon.answer("GET", "/networks/list", [network | {"subnet6": "fd00::/64"}])
    daemon.answer("GET", "/volumes/list", [{"name": "data", "created": created}])
    assert klee("lsi").out.splitlines()[1].startswith("iiiiiiiiiiii")
    assert klee("lsn").out.splitlines()[1].split() == [
        "n" * 12,
        "net",
        "bridge",
        "10.1.0.0/16",
        "fd00::/64",
    ]
    assert klee("lsv", "-q").out == "data\n"


def test_inspect_gives_an_object_or_an_array(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/networks/a/inspect", {"network": {"name": "a"}})
    daemon.answer("GET", "/networks/b/inspect", {"network": {"name": "b"}})
    daemon.answer(
        "GET", "/networks/none/inspect", {"message": "network 'none' does not exist"}, 404
    )
    assert json.loads(klee("isn", "a").out) == {"network": {"name": "a"}}
    done = klee("network", "inspect", "a", "none", "b")
    assert [each["network"]["name"] for each in json.loads(done.out)] == ["a", "b"]
    assert (done.status, done.err) == (1, "klee: network 'none' does not exist\n")


def test_one_failure_does_not_stop_the_others(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("DELETE", "/images/a", {"id": "a" * 12})
    used = {"message": "image 'b' is used by container 'api'", "hint": "klee rmc api"}
    daemon.answer("DELETE", "/images/b", used, 409)
    daemon.answer("DELETE", "/images/c", {"id": "c" * 12})
    done = klee("rmi", "a", "b", "c")
    assert done == (
        1,
        "aaaaaaaaaaaa\ncccccccccccc\n",
        "klee: image 'b' is used by container 'api'\nhint: klee rmc api\n",
    )


def test_details_stand_between_message_and_hint(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/info", {"message": "m", "details": "d1\nd2\n", "hint": "h"}, 500)
    assert klee("info").err == "klee: m\nd1\nd2\nhint: h\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["contaner"], "unknown command 'klee contaner'", "did you mean 'klee container'?"),
        (["pull", "web"], "unknown command 'klee pull'", "in Kleene: klee image create"),
        (["image", "lss"], "unknown command 'klee image lss'", "did you mean 'klee image ls'?"),
        (["xyzzy"], "unknown command 'klee xyzzy'", "klee --help"),
        (["run"], "missing argument 'IMAGE'", "klee run --help"),
        (["lsc", "--al"], "unknown option '--al'", "did you mean '--all'?"),
        (["image", "create", "fetch"], "the method 'fetch' needs a SOURCE", None),
        (["image", "create", "fetch-auto", "x"], "takes no SOURCE", None),
        (["network", "create", "-t", "custom", "n"], "needs --interface", None),
        (["container", "update", "c"], "nothing to change", "klee container update --help"),
        (["build", "-t", "a", "-t", "b", "."], "one name, not a and b", "build once for each"),
        (["build", ""], "the PATH of the build context is empty", "is a shell variable not set?"),
        (["-H", "tcp://x", "lsc"], "host 'tcp://x' has no known scheme", "write http:///PATH"),
        (["-H", "http://x:99999", "lsc"], "has no valid port", "a port is a number"),
        (["-H", "https://x", "--tlskey", "k", "lsc"], "--tlskey needs --tlscert", "name the"),
        (["-H", "https://x", "--tlscacert", "/none", "lsc"], "cannot load the TLS files", "they"),
        (["--config", "/none", "lsc"], "cannot read the configuration file", "name another"),
        (["network", "prune", "--filter", "name=x"], "has an unknown key", "one of: label, label!"),
    ],
)
def test_usage_errors_exit_2_with_a_hint(
    klee: Klee, arguments: list[str], message: str, hint: str | None
) -> None:
    done = klee(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("klee: ")
    assert message in done.err
    assert f"hint: {hint or 'klee'}" in done.err


def test_a_bad_variable_is_a_usage_error(klee: Klee, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TLS_VERIFY", "maybe"), ("THEME", "pink"), ("UPLOAD", "perhaps")):
        with monkeypatch.context() as patch:
            patch.setenv(f"KLEE_{name}", value)
            done = klee("lsc")
            assert (done.status, value in done.err) == (2, True), done.err


def test_bad_mount_or_port_fails_before_the_daemon_is_asked(
    daemon: ScriptedDaemon, klee: Klee
) -> None:
    assert klee("create", "-m", "x", "image").status == 2
    assert klee("create", "-p", "x", "image").status == 2
    assert daemon.requests == []


def test_no_daemon(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--host", "http:///none/s", "rmc", "a", "b"]) == 1
    err = capfd.readouterr().err
    assert err.count("no daemon listens at '/none/s'") == 1
    assert "hint: start it" in err


def test_create_sends_the_configuration(
    daemon: ScriptedDaemon, klee: Klee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "da")
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    done = klee(
        *"create --name web -u app -e A=1 -e LANG -e MISSING -m data:/data:ro -J allow.mount".split(),
        *"-p 8080:80 -P --restart on-startup --rm -w /w --entrypoint sh".split(),
        *"flask:2@3f2a run --port 80 -p".split(),
    )
    assert done == (0, "cccccccccccc\n", "")
    assert daemon.requests[0].body == {
        "name": "web",
        "image": "flask:2@3f2a",
        "cmd": ["run", "--port", "80", "-p"],
        "env": ["A=1", "LANG=da"],
        "user": "app",
        "jail_param": ["allow.mount"],
        "mounts": [{"type": "volume", "source": "data", "destination": "/data", "read_only": True}],
        "network_driver": "host",
        "persist": True,
        "public_ports": [
            {"interfaces": [], "host_port": "8080", "container_port": "80", "protocol": "tcp"}
        ],
        "restart_policy": "on-startup",
        "auto_remove": True,
        "workdir": "/w",
        "entrypoint": ["sh"],
    }


def test_container_goes_on_its_network(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    daemon.answer("POST", "/networks/connect", b"", 204)
    assert klee("create", "-n", "net", "--ip", "10.0.0.9", "i").out == "cccccccccccc\n"
    assert daemon.requests[0].body["network_driver"] == "ipnet"
    assert daemon.requests[1].body == {
        "container": "c" * 12,
        "network": "net",
        "ip_address": "10.0.0.9",
        "ip_address6": "<auto>",
    }


def test_container_that_cannot_be_connected_is_removed(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    daemon.answer("POST", "/networks/connect", {"message": "network 'net' is full"}, 409)
    daemon.answer("DELETE", f"/containers/{'c' * 12}", {"id": "c" * 12})
    assert klee("create", "-n", "net", "i") == (1, "", "klee: network 'net' is full\n")
    assert daemon.requests[-1].method == "DELETE"


def test_remove_stop_and_rename(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("DELETE", "/containers/web?force=true", {"id": "c" * 12})
    daemon.answer("POST", "/containers/web/stop", {"id": "c" * 12})
    daemon.answer("POST", "/containers/web/update", {"id": "c" * 12}, 201)
    assert klee("rmc", "-f", "web").out == "cccccccccccc\n"
    assert klee("stop", "web").out == "cccccccccccc\n"
    assert klee("container", "rename", "web", "www").out == "cccccccccccc\n"
    assert daemon.requests[-1].body == {"name": "www"}


def test_update_sends_only_what_is_given(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/containers/web/update", {"id": "c" * 12}, 201)
    klee("container", "update", "-J", "allow.mount", "--no-persist", "web", "sleep", "1")
    body = daemon.requests[0].body
    assert {k: v for k, v in body.items() if v is not None} == {
        "jail_param": ["allow.mount"],
        "persist": False,
        "cmd": ["sleep", "1"],
    }
    klee("container", "update", "-P", "web")
    assert daemon.requests[1].body["persist"] is True


def test_network_create(daemon: ScriptedDaemon, klee: Klee, tmp_path: Path) -> None:
    daemon.answer("POST", "/networks/create", {"id": "n" * 12}, 201)
    labels = tmp_path / "labels"
    labels.write_text("# of the team\na=1\n")
    assert klee("network", "create", "--subnet", "10.13.37.0/24", "testnet").out == "n" * 12 + "\n"
    assert daemon.requests[0].body == {
        "name": "testnet",
        "type": "loopback",
        "subnet": "10.13.37.0/24",
        "subnet6": "",
        "gateway": "<auto>",
        "gateway6": "<auto>",
        "nat": "<host-gateway>",
        "icc": True,
        "internal": False,
        "interface": "",
        "labels": {},
    }
    klee(
        *"network create -t custom -i em0 --gw 10.0.0.1 --no-nat --nat-if em1 --no-icc lab".split()
    )
    body = daemon.requests[1].body
    assert (body["interface"], body["gateway"], body["nat"], body["icc"]) == (
        "em0",
        "10.0.0.1",
        "",
        False,
    )
    klee(*f"network create --nat-if em1 lab2 --label-file {labels} --label b".split(), "--gw", "")
    assert (daemon.requests[2].body["nat"], daemon.requests[2].body["gateway"]) == ("em1", "")
    assert daemon.requests[2].body["labels"] == {"a": "1", "b": ""}


def test_words_of_docker_are_understood(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    for word, driver in (("host", "host"), ("none", "disabled")):
        klee("create", "--network", word, "tiny")
        assert daemon.requests[-1].body["network_driver"] == driver
    daemon.answer("POST", "/networks/create", {"id": "n" * 12}, 201)
    klee("network", "create", "-d", "bridge", "--gateway", "10.0.0.9", "lan")
    body = daemon.requests[-1].body
    assert (body["type"], body["gateway"], body["subnet"]) == ("bridge", "10.0.0.9", "")
    daemon.answer("GET", "/images/list?filter=reference%3Dweb", [])
    assert klee("lsi", "-a", "web").status == 0
    daemon.answer("DELETE", "/volumes/gone", {"message": "no such volume: 'gone'"}, 404)
    assert klee("rmv", "-f", "gone") == (0, "", "")
    assert klee("rmv", "gone").status == 1
    daemon.answer("DELETE", "/containers/web?force=true", {"id": "c" * 12})
    assert klee("rmc", "-fv", "web").status == 0
    assert klee("-v").out.startswith("klee ")
    missing = {"message": "no such container: 'lan'"}
    daemon.answer("GET", "/containers/lan/inspect", missing, 404)
    daemon.answer("GET", "/images/lan/inspect?size=true", missing, 404)
    daemon.answer("GET", "/networks/lan/inspect", {"network": {"id": "n1", "subnet": "s"}})
    assert klee("inspect", "-f", "{{.ID}}", "lan").out == "n1\n"
    assert klee("inspect", "--type", "container", "lan").status == 1
    for path in ("containers/x", "images/x", "networks/x", "volumes/x"):
        size = "?size=true" if path == "images/x" else ""
        daemon.answer("GET", f"/{path}/inspect{size}", missing, 404)
    assert "no such container, image, network or volume: 'x'" in klee("inspect", "x").err
    assert "-c 'LABEL author=NAME'" in klee("commit", "-a", "me", "web").err


def test_network_connect_and_disconnect(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/networks/connect", b"", 204)
    daemon.answer("POST", "/networks/net/disconnect/web", b"", 204)
    assert klee("network", "connect", "net", "web") == (0, "", "")
    assert daemon.requests[0].body["ip_address"] == "<auto>"
    assert klee("network", "disconnect", "net", "web") == (0, "", "")


def test_volumes(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("POST", "/volumes/create", {"id": "data"}, 201)
    daemon.answer("DELETE", "/volumes/data", {"id": "data"})
    assert klee("volume", "create", "data").out == "data\n"
    assert klee("rmv", "data").out == "data\n"


@pytest.mark.parametrize(
    ("answer", "status", "asked"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("", 1, 0)]
)
def test_prune_asks(
    daemon: ScriptedDaemon,
    klee: Klee,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: int,
    asked: int,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    daemon.answer("POST", "/containers/prune?filter=label%21%3Dx", ["a" * 12])
    done = klee("container", "prune", "--filter", "label!=x")
    assert (done.status, len(daemon.requests)) == (status, asked)
    assert done.out == ("aaaaaaaaaaaa\n" if asked else "")
    assert "all stopped containers that fit label!=x" in done.err


def test_forced_prune_of_images(daemon: ScriptedDaemon, klee: Klee) -> None:
    held = {"kind": "image", "id": "a" * 12, "name": "", "used": "2026-11-24", "own": 1, "size": 2}
    plan = {"objects": [held], "bytes": 2_100_000}
    daemon.answer("GET", "/images/prune?all=true&filter=until%3D7d", plan)
    daemon.answer("POST", f"/images/prune?all=true&filter=until%3D7d&only={'a' * 12}", ["a" * 12])
    done = klee("image", "prune", "-af", "--filter", "until=7d")
    assert done == (0, "aaaaaaaaaaaa\n", "freed 2.1 MB\n")
    refused = klee("build", "prune", "--filter", "label=x")
    assert (refused.status, "one of: until" in refused.err) == (2, True)


def test_what_is_pruned_is_shown_before(
    daemon: ScriptedDaemon, klee: Klee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    held = {
        "kind": "snapshot",
        "id": "b" * 12,
        "name": "RUN make",
        "used": "2026-11-24",
        "own": 1_500_000,
        "size": 2,
    }
    daemon.answer("GET", "/builds/prune?all=false", {"objects": [held], "bytes": 3000})
    done = klee("build", "prune")
    assert (done.status, len(daemon.requests)) == (1, 1)
    assert "RUN make" in done.out
    assert "1.5 MB" in done.out
    assert "This frees 3.0 kB." in done.err


def test_version_and_info(daemon: ScriptedDaemon, klee: Klee) -> None:
    daemon.answer("GET", "/version", {"version": "9.9", "api_version": "0.0.1"})
    info: dict[str, Any] = {"storage": "btrfs", "containers": 2, "probed": {"crun": "no"}}
    daemon.answer("GET", "/info", info)
    out = klee("version").out
    assert "kleened   9.9   API 0.0.1" in out
    assert "They do not fit" in out
    assert klee("info").out.endswith("storage: btrfs\ncontainers: 2\nprobed:\n  crun: no\n")
    told = json.loads(klee("info", "--format", "json").out)
    assert told.pop("klee")["host"] == daemon.host
    assert told == info


def test_reader_that_goes_away(daemon: ScriptedDaemon, klee_process: Any) -> None:
    daemon.answer("GET", "/images/list", [{"id": "i" * 12}] * 20000)
    process = klee_process("lsi", "-q", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == 1
    process.stderr.close()


def test_output_that_cannot_be_written(daemon: ScriptedDaemon, klee_process: Any) -> None:
    daemon.answer("GET", "/images/list", [{"id": "i" * 12}])
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        process = klee_process("lsi", "-q", stdout=full, stderr=subprocess.PIPE)
    assert b"klee: the output cannot be written: no space left on device" in process.stderr.read()
    assert process.wait(20) == 1
    process.stderr.close()
    # Closed, it must not be what the connection to the daemon gets.
    process = klee_process("lsi", "-q", preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE)
    assert (process.stderr.read(), process.wait(20)) == (b"", 0)
    process.stderr.close()


@pytest.mark.parametrize("answer", [[], {}, {"version": "1"}])
def test_what_answers_may_be_no_daemon(daemon: ScriptedDaemon, klee: Klee, answer: Any) -> None:
    daemon.answer("GET", "/version", answer)
    assert "is not a Kleene daemon" in klee("version").err
    daemon.answer("GET", "/volumes/list", {"detail": "Not Found"}, 404)
    assert "do klee and kleened fit? klee version" in klee("lsv").err
