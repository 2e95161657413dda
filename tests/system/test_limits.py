"""What a container may use and what it looks like inside, seen from inside it and in the kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _no_containers_left(daemon: Daemon) -> Iterator[None]:
    """Each test begins without containers."""
    yield
    if names := daemon.klee("lsc", "-aq").stdout.split():
        daemon.klee("rmc", "-f", *names)


def inside(daemon: Daemon, *words: str, options: tuple[str, ...] = ()) -> str:
    """What a command in a new container writes."""
    return daemon.klee("run", "-q", "--rm", *options, "tiny", *words, check=False).stdout


def inspected(daemon: Daemon, name: str) -> dict[str, Any]:
    """What is known of a container."""
    found: dict[str, Any] = json.loads(daemon.klee("isc", name).stdout)["container"]
    return found


def group_value(daemon: Daemon, controller: str, file: str, v2: str) -> str:
    """A value of the group of the only container, whichever version the host has."""
    (instance,) = [mark for mark in daemon.marks if "/" not in mark]
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        controller, file = "", v2
    (found,) = (top / controller / f"kleene-{instance}").glob(f"*/{file}")
    return found.read_text().strip()


# --- Control groups


def test_a_container_that_takes_too_much_memory_is_killed(daemon: Daemon) -> None:
    script = "head -c 60000000 /dev/zero | tail > /dev/null; echo $?"
    free = inside(daemon, "sh", "-c", script)
    bound = inside(daemon, "sh", "-c", script, options=("--memory", "24m", "--memory-swap", "24m"))
    assert free == "0\n"
    assert bound == "137\n"


def test_a_container_cannot_make_more_processes_than_it_may(daemon: Daemon) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 600 & done; echo made"
    done = daemon.klee(
        "run", "-q", "--name", "box", "--pids-limit", "8", "tiny", "sh", "-c", script, check=False
    )
    assert "can't fork" in done.stderr
    assert "made" not in done.stdout
    assert int(group_value(daemon, "pids", "pids.current", "pids.current")) <= 8


def test_limits_change_while_the_container_runs(daemon: Daemon) -> None:
    daemon.klee("run", "-d", "--name", "box", "tiny", "sleep", "600")
    pid = group_value(daemon, "pids", "cgroup.procs", "cgroup.procs").split()[0]
    changed = daemon.klee(
        *"update --memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 30 box".split()
    )
    assert changed.stderr == ""
    assert group_value(daemon, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert group_value(daemon, "pids", "pids.max", "pids.max") == "30"
    assert group_value(daemon, "cpu", "cpu.cfs_quota_us", "cpu.max").startswith("50000")
    daemon.klee("update", "--memory", "128m", "--memory-swap", "128m", "box")
    assert group_value(daemon, "memory", "memory.limit_in_bytes", "memory.max") == str(128 * MIB)
    daemon.klee("update", "--memory", "32m", "--memory-swap", "0", "--pids-limit", "0", "box")
    assert group_value(daemon, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MIB)
    assert group_value(daemon, "pids", "pids.max", "pids.max") == "max"
    assert group_value(daemon, "pids", "cgroup.procs", "cgroup.procs").split()[0] == pid
    shown = inspected(daemon, "box")
    assert (shown["memory"], shown["cpus"], shown["pids_limit"]) == (32 * MIB, 0.5, 0)
    later = daemon.klee("update", "--read-only", "--hostname", "other", "box")
    assert "takes effect at the next start: read-only root, host name" in later.stderr
    daemon.klee("restart", "-t", "0", "box")
    assert daemon.klee("exec", "-q", "box", "hostname").stdout == "other\n"
    assert group_value(daemon, "cpu", "cpu.cfs_quota_us", "cpu.max").startswith("50000")


# --- Privileges


def capabilities(daemon: Daemon, *options: str) -> int:
    """The effective capabilities of root in a container, as a mask."""
    words = ("grep", "CapEff", "/proc/self/status")
    return int(inside(daemon, *words, options=options).split()[1], 16)


def test_capabilities_are_given_and_taken(daemon: Daemon) -> None:
    default = capabilities(daemon)
    chown, net_admin = 1 << 0, 1 << 12  # capabilities(7)
    assert default & chown
    assert not default & net_admin
    assert capabilities(daemon, "--cap-add", "net_admin") == default | net_admin
    assert capabilities(daemon, "--cap-drop", "CHOWN") == default & ~chown
    assert capabilities(daemon, "--cap-drop", "ALL") == 0
    assert capabilities(daemon, "--cap-drop", "ALL", "--cap-add", "CAP_CHOWN") == chown
    made = inside(daemon, "ip", "link", "add", "x", "type", "dummy", options=("-l", "disabled"))
    assert made == ""
    script = "touch /f; chown nobody /f && echo done"
    assert inside(daemon, "sh", "-c", script) == "done\n"
    assert inside(daemon, "sh", "-c", script, options=("--cap-drop", "CHOWN")) == ""


def test_a_privileged_container_and_process(daemon: Daemon) -> None:
    """In a network stack of its own, so that nothing of the host is at stake."""
    options = ("--privileged", "-l", "disabled")
    everything = capabilities(daemon, *options)
    assert everything & (1 << 21)  # CAP_SYS_ADMIN
    script = (
        "mkdir /m; mount -t tmpfs x /m && echo mounted;"
        " test -b /dev/loop0 -o -c /dev/fuse && echo devices; grep Seccomp: /proc/self/status"
    )
    lines = inside(daemon, "sh", "-c", script, options=options).split("\n")
    assert lines[:3] == ["mounted", "devices", "Seccomp:\t0"]
    daemon.klee("run", "-d", "--name", "box", "tiny", "sleep", "600")
    words = ("grep", "CapEff", "/proc/self/status")
    plain = daemon.klee("exec", "-q", "box", *words).stdout
    privileged = daemon.klee("exec", "-q", "--privileged", "-w", "/a/b", "box", *words).stdout
    assert int(plain.split()[1], 16) != everything == int(privileged.split()[1], 16)
    assert daemon.klee("exec", "-q", "-w", "/a/b", "box", "pwd").stdout == "/a/b\n"


def test_privileges_groups_and_devices_one_by_one(daemon: Daemon) -> None:
    options = (
        *("--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"),
        *("--group-add", "44", "--device", "/dev/null:/dev/other:r", "--shm-size", "8m"),
        *("-l", "disabled", "--sysctl", "net.core.somaxconn=77", "--dns-search", "a.b"),
    )
    script = (
        "grep -hE 'NoNew|Seccomp:' /proc/self/status; id -G; ls -l /dev/other | cut -c1;"
        " cat /proc/sys/net/core/somaxconn; df -k /dev/shm | tail -n 1 | awk '{print $2}';"
        " grep search /etc/resolv.conf"
    )
    assert inside(daemon, "sh", "-c", script, options=options).splitlines() == [
        *("NoNewPrivs:\t1", "Seccomp:\t0", "0 44", "c", "77", "8192", "search a.b"),
    ]


def test_limits_of_processes(daemon: Daemon) -> None:
    daemon.klee(
        "run",
        "-d",
        "--name",
        "box",
        "--ulimit",
        "nofile=100:200",
        *("--ulimit", "nproc=50:60"),
        "tiny",
        "sleep",
        "600",
    )
    # Go's runtime, in the OCI runtime, may set the soft limit of open files to the hard one.
    script = "ulimit -Hn; ulimit -u"
    assert daemon.klee("exec", "-q", "box", "sh", "-c", script).stdout == "200\n50\n"
    told = daemon.klee("create", "--ulimit", "files=1", "tiny", check=False)
    assert "'files' is not known" in told.stderr


# --- Looks


def test_a_read_only_root_with_a_file_system_in_memory(daemon: Daemon) -> None:
    options = ("--read-only", "--tmpfs", "/tmp:size=1m,mode=700")
    script = "touch /f || echo refused; touch /tmp/f && echo written; grep ' /tmp ' /proc/mounts"
    refused, written, mount = inside(daemon, "sh", "-c", script, options=options).splitlines()
    assert (refused, written) == ("refused", "written")
    for option in ("size=1024k", "mode=700", "nosuid", "nodev", "noexec"):
        assert option in mount
    full = inside(
        daemon, "sh", "-c", "head -c 2000000 /dev/zero > /tmp/f || echo full", options=options
    )
    assert full == "full\n"


def test_names_variables_and_servers(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_text("# of the test\nA=file\nB=file\n")
    options = (
        *("--hostname", "web.example", "--add-host", "db:10.9.8.7", "--dns", "10.9.8.6"),
        *("--env-file", str(file), "-e", "B=option", "-l", "disabled", "--init"),
    )
    script = "hostname; grep db /etc/hosts; cat /etc/resolv.conf; echo $A $B"
    found = inside(daemon, "sh", "-c", script, options=options)
    lines = found.splitlines()
    assert lines[0] == "web.example"
    assert lines[1].split() == ["10.9.8.7", "db"]
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 10.9.8.6"]
    assert lines[-1] == "file option"


def test_users_by_name_and_number(daemon: Daemon) -> None:
    for user, told in (("nobody", "65534:65534"), ("1000", "1000:0"), ("0:65534", "0:65534")):
        script = "echo $(id -u):$(id -g)"
        assert inside(daemon, "sh", "-c", script, options=("-u", user)) == f"{told}\n"
    refused = daemon.klee("run", "--rm", "-u", "www", "tiny", "true", check=False)
    assert "user 'www' does not exist in the container" in refused.stderr


def test_labels_are_inherited_from_the_image(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM tiny\nLABEL team=a tier=web\nSTOPSIGNAL QUIT\n")
    daemon.klee("build", "-t", "labelled", tmp_path)
    try:
        daemon.klee(
            "create", "--name", "box", "--label", "tier=db", "--label", "x", "labelled", "true"
        )
        shown = inspected(daemon, "box")
        assert shown["labels"] == {"team": "a", "tier": "db", "x": ""}
        assert shown["stop_signal"] == "SIGQUIT"
        daemon.klee("update", "--label", "only=1", "--stop-signal", "int", "box")
        shown = inspected(daemon, "box")
        assert (shown["labels"], shown["stop_signal"]) == ({"only": "1"}, "SIGINT")
        listed = daemon.klee("lsc", "-aq", "-f", "label=only=1", "-f", "ancestor=tiny").stdout
        assert listed == f"{shown['id']}\n"
        assert daemon.klee("lsc", "-aq", "-f", "label=team").stdout == ""
        names = ("--format", "{{.Names}} {{.State}}")
        made = daemon.klee("ps", "-f", "status=created", *names).stdout
        assert made == "box created\n"
        found = daemon.klee(
            "lsi", "-f", "since=tiny", "-f", "label=team=a", "--format", "{{.Name}}"
        )
        assert found.stdout == "labelled\n"
        daemon.klee("rmc", "box")
    finally:
        daemon.klee("rmi", "labelled")


def test_a_container_has_its_own_way_and_time_to_stop(daemon: Daemon) -> None:
    script = (
        "trap 'echo told; exit 3' USR1; trap '' TERM; touch /ready; while :; do sleep 0.1; done"
    )
    options = ("--stop-signal", "USR1", "--stop-timeout", "30s")
    daemon.klee("run", "-d", "--name", "box", *options, "tiny", "sh", "-c", script)
    daemon.klee("exec", "box", "sh", "-c", "until test -e /ready; do sleep 0.1; done")
    daemon.klee("stop", "box")
    assert daemon.klee("logs", "box").stdout == "told\n"
    assert daemon.klee("wait", "box").stdout == "3\n"
    deaf = "trap '' USR1; touch /ready2; while :; do sleep 0.1; done"
    daemon.klee("exec", "-d", "box", "sh", "-c", deaf)
    daemon.klee("exec", "box", "sh", "-c", "until test -e /ready2; do sleep 0.1; done")
    daemon.klee("stop", "-t", "100ms", "box")
    assert daemon.klee("wait", "box").stdout == "137\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--memory", "1m"], "too small for a container"),
        (["--memory-swap", "64m"], "needs one of memory"),
        (["--cpus", "0.001"], "not a number of processors"),
        (["--cap-add", "FLY"], "capability 'FLY' is not known"),
        (["--tmpfs", "run"], "tmpfs 'run' is not an absolute path"),
        (["--hostname", "a_b"], "host name 'a_b' is not valid"),
        (["--dns", "one"], "'one' is not an IP address"),
        (["--stop-signal", "LOUD"], "no such signal: 'LOUD'"),
        (["--health-retries", "2"], "there is no health check"),
        (["--sysctl", "vm.swappiness=1"], "'vm.swappiness' cannot be a container's own"),
        (["--sysctl", "net.core.somaxconn=1"], "belongs to a network stack"),
        (["--device", "fuse"], "device 'fuse' is not an absolute path"),
        (["--rm", "--restart", "always"], "cannot be restarted"),
    ],
)
def test_what_cannot_be_asked_for(daemon: Daemon, options: list[str], told: str) -> None:
    refused = daemon.klee("create", *options, "tiny", "true", check=False)
    assert told in refused.stderr
    assert "hint: " in refused.stderr
    assert daemon.klee("lsc", "-aq").stdout == ""


def test_the_host_keeps_its_own(daemon: Daemon) -> None:
    """Nothing of a container's settings reaches the host."""
    hostname = Path("/proc/sys/kernel/hostname").read_text()
    inside(daemon, "hostname", options=("--hostname", "inside", "--cap-add", "SYS_ADMIN"))
    assert Path("/proc/sys/kernel/hostname").read_text() == hostname
    assert "inside" not in subprocess.run(["mount"], capture_output=True, text=True).stdout
    wait_until(lambda: daemon.klee("lsc", "-aq").stdout == "", "it is not removed")
