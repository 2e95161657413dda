"""Sizes, durations, limits and policies as people write them; options for a container's settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kleene.cli import values
from kleene.cli.docker_words import COMMANDS, OPTIONS
from kleene.cli.main import root
from kleene.errors import InvalidInput
from tests.unit.cli.conftest import Klee
from tests.unit.client.scripted import ScriptedDaemon


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.size, "512m", 512 * 1024**2),
        (values.size, "1.5G", 1536 * 1024**2),
        (values.size, "2GiB", 2 * 1024**3),
        (values.size, "1000", 1000),
        (values.size, "-1", -1),
        (values.duration, "1m30s", 90),
        (values.duration, "500ms", 0.5),
        (values.duration, "10", 10),
        (values.number, "1.5", 1.5),
        (values.restart_policy, "on-failure:5", ("on-failure", 5)),
        (values.restart_policy, "unless-stopped", ("unless-stopped", 0)),
        (values.ulimit, "nofile=10", {"name": "nofile", "soft": 10, "hard": 10}),
        (values.ulimit, "core=0:unlimited", {"name": "core", "soft": 0, "hard": -1}),
        (values.tmpfs, "/run", {"destination": "/run", "options": []}),
        (values.tmpfs, "/run:size=1m,ro", {"destination": "/run", "options": ["size=1m", "ro"]}),
        (values.label, "a=b=c", ("a", "b=c")),
        (values.label, "a", ("a", "")),
        (values.device, "/dev/x", {"source": "/dev/x", "destination": "", "permissions": "rwm"}),
        (values.device, "/a:/b", {"source": "/a", "destination": "/b", "permissions": "rwm"}),
        (values.device, "/a:r", {"source": "/a", "destination": "", "permissions": "r"}),
        (values.device, "/a:/b:rw", {"source": "/a", "destination": "/b", "permissions": "rw"}),
        (values.security_option, "no-new-privileges", {"no_new_privileges": True}),
        (values.security_option, "no-new-privileges:false", {"no_new_privileges": False}),
        (values.security_option, "seccomp=unconfined", {"seccomp": "unconfined"}),
    ],
)
def test_values(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (values.size, ["", "m", "1x", "-2", "1e3", "1 2"]),
        (values.duration, ["", "1y", "s", "-1s", "1s2"]),
        (values.number, ["", "-1", "nan", "1e3", "1."]),
        (values.restart_policy, ["", "never", "on-failure:", "on-failure:0", "always:3"]),
        (values.ulimit, ["nofile", "=1", "nofile=", "nofile=1:", "nofile=x", "nofile=-2"]),
        (values.label, ["=1"]),
        (values.device, ["/a:/b:r:w"]),
        (values.security_option, ["", "apparmor=x", "seccomp=/f.json", "no-new-privileges=maybe"]),
    ],
)
def test_what_is_no_value(read: Callable[[str], Any], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(InvalidInput):
            read(text)


def test_settings_are_sent(daemon: ScriptedDaemon, klee: Klee, tmp_path: Path) -> None:
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    (tmp_path / "labels").write_text("# ours\nteam=a\n\nx=1\n")
    (tmp_path / "env").write_text("A=1\nB=2\n")
    done = klee(
        *"create --memory 64m --memory-swap -1 --cpus 1.5 --pids-limit 9 --ulimit nofile=5:6".split(),
        *"--cap-add NET_ADMIN --cap-drop ALL --read-only --tmpfs /run:size=1m --hostname box".split(),
        *"--label-file labels --label x=2 --env-file env -e B=3 --stop-signal QUIT".split(),
        *"--stop-timeout 1m --add-host db:10.0.0.1 --dns 10.0.0.53 --init".split(),
        *"--dns-search a.b --dns-option ndots:1 --privileged --security-opt no-new-privileges".split(),
        *"--device /dev/fuse --group-add 44 --sysctl net.core.somaxconn=9 --shm-size 1m".split(),
        *("--health-cmd", "wget -q x", "--health-interval", "1s", "--health-retries", "2"),
        *"--restart on-failure:3 image".split(),
    )
    assert done.status == 0, done.err
    body = daemon.requests[0].body
    assert body["env"] == ["A=1", "B=2", "B=3"]
    wanted = {
        "memory": 64 * 1024**2,
        "memory_swap": -1,
        "cpus": 1.5,
        "pids_limit": 9,
        "ulimits": [{"name": "nofile", "soft": 5, "hard": 6}],
        "cap_add": ["NET_ADMIN"],
        "cap_drop": ["ALL"],
        "read_only": True,
        "tmpfs": [{"destination": "/run", "options": ["size=1m"]}],
        "hostname": "box",
        "labels": {"team": "a", "x": "2"},
        "stop_signal": "QUIT",
        "stop_timeout": 60.0,
        "add_hosts": ["db:10.0.0.1"],
        "dns": ["10.0.0.53"],
        "dns_search": ["a.b"],
        "dns_options": ["ndots:1"],
        "privileged": True,
        "no_new_privileges": True,
        "devices": [{"source": "/dev/fuse", "destination": "", "permissions": "rwm"}],
        "group_add": ["44"],
        "sysctls": {"net.core.somaxconn": "9"},
        "shm_size": 1024**2,
        "healthcheck": {"test": ["/bin/sh", "-c", "wget -q x"], "interval": 1.0, "retries": 2},
        "restart_policy": "on-failure",
        "restart_retries": 3,
    }
    assert {name: body.get(name) for name in wanted} == wanted


def test_an_update_tells_what_waits(daemon: ScriptedDaemon, klee: Klee) -> None:
    answer = {"id": "c" * 12, "notes": ["takes effect at the next start: environment"]}
    daemon.answer("POST", "/containers/web/update", answer, 201)
    done = klee("update", "--cpus", "2", "--dns", "", "web")
    assert done == (0, "cccccccccccc\n", "note: takes effect at the next start: environment\n")
    assert daemon.requests[0].body["dns"] == []
    assert daemon.requests[0].body["cpus"] == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--memory", "much"], "'much' is not a size"),
        (["--restart", "never"], "'never' is not a restart policy"),
        (["--stop-timeout", "soon"], "'soon' is not a duration"),
    ],
)
def test_wrong_values_are_usage_errors(klee: Klee, options: list[str], told: str) -> None:
    done = klee("create", *options, "image")
    assert done.status == 2
    assert told in done.err


def test_a_check_cannot_be_described_and_left_out(klee: Klee) -> None:
    done = klee("create", "--no-healthcheck", "--health-cmd", "true", "image")
    assert done.status == 2
    assert "leave out --no-healthcheck" in done.err


def test_the_id_of_a_container_in_a_file(
    daemon: ScriptedDaemon, klee: Klee, tmp_path: Path
) -> None:
    daemon.answer("POST", "/containers/create", {"id": "c" * 12}, 201)
    assert klee("create", "--cidfile", "id", "image").status == 0
    assert (tmp_path / "id").read_text() == "c" * 12
    again = klee("create", "--cidfile", "id", "image")
    assert again.status == 1
    assert "file 'id' exists" in again.err
    assert len(daemon.requests) == 1


def test_a_process_with_a_place_and_variables_of_its_own(
    daemon: ScriptedDaemon, klee: Klee, tmp_path: Path
) -> None:
    (tmp_path / "env").write_text("A=1\nB=2\n")
    daemon.answer("POST", "/exec/create", {"message": "no such container: 'web'"}, 404)
    klee("exec", "-w", "/srv", "--env-file", "env", "-e", "B=3", "--privileged", "web", "ls", "-l")
    assert daemon.requests[0].body == {
        "container_id": "web",
        "cmd": ["ls", "-l"],
        "env": ["A=1", "B=2", "B=3"],
        "user": "",
        "workdir": "/srv",
        "privileged": True,
        "tty": False,
        "stdin": False,
    }


@pytest.mark.parametrize(
    ("words", "told", "remedy"),
    [
        ("run --pull always x", "unknown option '--pull'", "in Kleene: there are no registries"),
        ("run --net host x", "unknown option '--net'", "--driver host"),
        ("run --memroy 1m x", "unknown option '--memroy'", "did you mean '--memory'?"),
        ("run -m 512m x", "mount '512m' cannot be understood", "--memory 512m"),
        ("lsc --al", "unknown option '--al'", "did you mean '--all'?"),
        ("pull x", "unknown command 'klee pull'", "in Kleene: klee image create"),
        ("login", "unknown command 'klee login'", "in Kleene: there are no registries yet"),
        ("stpo x", "unknown command 'klee stpo'", "did you mean 'klee stop'?"),
        ("network create -t brige n", "'brige' is not one of", "did you mean 'bridge'?"),
        ("completion fsh", "invalid value for 'SHELL'", "did you mean 'fish'?"),
        ("image list", "unknown command 'klee image list'", "did you mean 'klee image ls'?"),
        ("image remove x", "unknown command", "did you mean 'klee image rm'?"),
        ("run -p 127.0.0.1:80:80 x", "names the address '127.0.0.1'", "-p lo:80:80"),
        ("lsc -n x", "'x' is not a valid whole number", "klee lsc --help"),
        ("volume create --quota 1k v", "a quota of '1k' is too small", "1M or more"),
        ("events --filter evnet=x", "filter 'evnet=x' of events", "did you mean 'event'?"),
    ],
)
def test_what_users_of_docker_type(klee: Klee, words: str, told: str, remedy: str) -> None:
    done = klee(*words.split())
    assert done.status == 2
    assert told in done.err
    assert remedy in done.err


def test_an_empty_name_is_told(klee: Klee, daemon: ScriptedDaemon) -> None:
    done = klee("rmc", "")
    assert (done.status, daemon.requests) == (1, [])
    assert done.err == "klee: the name of an object is empty\nhint: is a shell variable not set?\n"


def test_an_option_that_is_none_here_is_one_nowhere() -> None:
    """The list of what Docker has and Kleene has not must not name what Kleene has."""
    group = root.get_command(root.make_context("klee", [], resilient_parsing=True), "run")
    assert group is not None
    known = {name for parameter in group.params for name in parameter.opts}
    assert known.isdisjoint(OPTIONS)
    assert not set(COMMANDS) & {*root.targets, *root.shortcuts}
