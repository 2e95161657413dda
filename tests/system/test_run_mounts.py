"""``RUN --mount``, ``--network`` and ``--security`` with real containers, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Result, wait_until

pytestmark = pytest.mark.slow

Build = Callable[..., Result]

SECRET = "xyzzy-4711-plugh"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    """Builds a Dockerfile of the given text, as the image ``made`` unless told."""

    def build(text: str, *options: str | Path, tag: str = "made", check: bool = True) -> Result:
        (context / "Dockerfile").write_text(text)
        return daemon.klee("build", "-t", tag, *options, context, check=check)

    return build


@pytest.fixture
def run(daemon: Daemon) -> Callable[..., str]:
    """What a command prints in a container of the image ``made``."""

    def run(*command: str, image: str = "made") -> str:
        return daemon.klee("run", "-q", "--rm", image, *command).stdout

    return run


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret-file"
    path.write_text(SECRET)
    return path


def lines(result: Result) -> list[str]:
    return [line.strip() for line in result.stdout.splitlines()]


# --- Binds


def test_files_of_context_stages_and_images_are_there_for_one_step(
    build: Build, run: Callable[..., str], context: Path
) -> None:
    (context / "dir" / "sub").mkdir(parents=True)
    (context / "dir" / "sub" / "file").write_text("context\n")
    (context / "dir" / "ignored").write_text("x")
    (context / ".dockerignore").write_text("dir/ignored\n")
    os.chown(context / "dir" / "sub" / "file", 1234, 1234)
    text = (
        "FROM tiny AS maker\nRUN mkdir -p /out/d && echo stage >/out/d/file && ln -s /out/d /link\n"
        "FROM tiny\nARG where=/mnt/a\n"
        "RUN --mount=target=${where} --mount=type=bind,src=dir/sub/file,dst=/one/file "
        "--mount=from=maker,source=/link,target=/mnt/stage "
        "--mount=from=tiny,target=/tiny,rw <<EOF\n"
        "set -e\ncat /mnt/a/dir/sub/file /one/file /mnt/stage/file\nstat -c %u:%g /one/file\n"
        "test ! -e /mnt/a/dir/ignored\ntouch /tiny/new\n! touch /mnt/a/new\n! touch /mnt/stage/new\n"
        "find / -xdev | wc -l >/count\n"
        "EOF\n"
        "RUN find / -xdev | wc -l >/count2\n"
    )
    built = build(text)
    for expected in ("context", "stage", "0:0"):
        assert expected in lines(built)
    there = {*run("ls", "/", image="tiny").split(), "count", "count2"}
    assert set(run("ls", "/").split()) == there
    again = build(text)
    assert again.stdout.count("Using cached") == 3
    (context / "dir" / "sub" / "file").write_text("changed\n")
    assert "changed" in lines(build(text))


def test_mount_points_leave_no_trace(build: Build, run: Callable[..., str]) -> None:
    text = (
        "FROM tiny\nRUN mkdir /here && touch -d '2001-01-01 00:00:00' /here /etc\n"
        "RUN --mount=type=tmpfs,target=/here/a/b/c --mount=type=cache,target=/etc/x "
        "--mount=type=tmpfs,target=/here/a/b/c/d touch /here/a/b/c/file /etc/x/file && mv /here/a /here/z\n"
        "RUN --mount=type=tmpfs,target=/here/q,size=1m df /here/q | tail -n 1\n"
    )
    built = build(text)
    assert any("1024" in line and "/here/q" in line for line in lines(built))
    found = run("sh", "-c", "find /here; ls -d /etc/x; stat -c %Y /etc /here; true").split()
    assert "/etc/x" not in found
    assert "/here/a" not in found and "/here/q" not in found
    assert found.count("978307200") >= 1  # /etc; /here was changed by mv


# --- Caches


def test_a_cache_outlives_steps_builds_and_the_daemon(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    text = (
        "FROM tiny\nARG n\n"
        "RUN --mount=type=cache,id=mine,target=/c,uid=7,gid=8,mode=0751 "
        "echo $n >>/c/log && cat /c/log && stat -c '%u:%g %a' /c\n"
        "RUN --mount=type=cache,id=mine,target=/other,uid=7,gid=8,mode=0751 cat /other/log\n"
        "RUN test ! -e /c -a ! -e /other\n"
    )
    first = lines(build(text, "--build-arg", "n=1"))
    assert first.count("1") == 2
    assert "7:8 751" in first
    daemon.restart()
    assert {"1", "2"} <= set(lines(build(text, "--build-arg", "n=2")))
    assert any(name.startswith("cache/") for name in daemon.datasets())
    other = "FROM tiny\nRUN --mount=type=cache,id=${id:-x},target=/c ls -A /c | wc -l\n"
    assert "0" in lines(build(other))


def test_prune_frees_caches_that_no_step_has(build: Build, daemon: Daemon) -> None:
    build(
        "FROM tiny\nRUN --mount=type=cache,id=big,target=/c head -c 3000000 /dev/urandom >/c/data\n"
    )
    table = json.loads(daemon.klee("df", "--format", "json").stdout)
    kinds = {kind["kind"]: kind for kind in table["kinds"]}
    (big,) = (each for each in kinds["build cache"]["objects"] if each["name"] == "big")
    assert (big["kind"], big["prunable"]) == ("mount", True)
    assert 3_000_000 <= big["own"] <= 3_100_000
    assert kinds["build cache"]["prunable"] >= big["own"]
    assert f"cache/{big['id']}" in daemon.datasets()
    assert "big" in daemon.klee("build", "prune", stdin="n\n", check=False).stdout
    kept = daemon.klee("build", "prune", "-f", "--filter", "until=1d")
    assert big["id"] not in kept.stdout
    assert big["id"] in daemon.klee("build", "prune", "-f").stdout.split()
    assert not any(name.startswith("cache/") for name in daemon.datasets())
    again = build("FROM tiny\nRUN --mount=type=cache,id=big,target=/c ls -A /c | wc -l\n")
    assert "0" in lines(again)


def test_a_cache_can_begin_with_files(build: Build) -> None:
    text = (
        "FROM tiny AS a\nRUN mkdir /seed && echo seeded >/seed/file\nFROM tiny\n"
        "RUN --mount=type=cache,id=seeded,from=a,source=/seed,target=/c cat /c/file\n"
    )
    assert "seeded" in lines(build(text))


@pytest.mark.parametrize(("sharing", "together"), [("locked", False), ("shared", True)])
def test_a_locked_cache_is_had_by_one_build_at_a_time(
    daemon: Daemon, tmp_path: Path, sharing: str, together: bool
) -> None:
    """Each step says whether it met the other: with a lock it never does."""
    builds = []
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "Dockerfile").write_text(
            f"FROM tiny\nRUN --mount=type=cache,id={sharing},target=/c,sharing={sharing} set -e; "
            f"mkdir /c/in{number}; for i in $(seq 40); do test -e /c/in{1 - number} && "
            f"touch /c/met && break; test -e /c/met && break; sleep 0.05; done; rmdir /c/in{number}; "
            f"test -e /c/met && echo they-met || echo they-did-not\n"
        )
        builds.append(daemon.popen("build", directory))
    said = [process.communicate(timeout=120)[0].decode() for process in builds]
    assert all(process.returncode == 0 for process in builds), said
    assert all(("they-met\n" in text.replace("\r", "")) == together for text in said), said


# --- Secrets


def test_a_secret_is_there_for_its_step_and_nowhere_else(
    build: Build, run: Callable[..., str], daemon: Daemon, secret: Path, context: Path
) -> None:
    text = (
        "FROM tiny\n"
        "RUN --mount=type=secret,id=s,required wc -c </run/secrets/s; "
        "stat -c '%a %u:%g' /run/secrets/s; ! echo x 2>/dev/null >>/run/secrets/s; "
        "grep -c /run/secrets/s /proc/mounts\n"
        "RUN --mount=type=secret,id=s,target=/etc/deep/er/s,mode=0444,uid=3,gid=4 "
        "stat -c '%a %u:%g' /etc/deep/er/s\n"
        "RUN --mount=type=secret,id=s,env=TOKEN --mount=type=secret,id=v,env=OTHER "
        "echo ${#TOKEN} $OTHER; test ! -e /run/secrets\n"
        "RUN --mount=type=secret,id=absent test ! -e /run/secrets && env >/env && exit 0\n"
    )
    os.environ["KLEENE_TEST_SECRET"] = "of-variable"
    try:
        options = ("--secret", f"id=s,src={secret}", "--secret", "id=v,env=KLEENE_TEST_SECRET")
        built = build(text, *options)
    finally:
        del os.environ["KLEENE_TEST_SECRET"]
    said = lines(built)
    assert {str(len(SECRET)), "400 0:0", "1", "444 3:4", f"{len(SECRET)} of-variable"} <= set(said)
    assert run("sh", "-c", "ls -d /run/secrets /etc/deep; grep -c TOKEN /env; true").strip() == "0"
    failed = build(
        "FROM tiny\nRUN --mount=type=secret,id=s,env=T echo left >/left; exit 3\n",
        *options[:2],
        check=False,
    )
    assert failed.status != 0
    assert build(text.replace("absent", "absent2"), check=False).stdout.count("Using cached") == 3
    shown = built.stdout + failed.stdout + failed.stderr + daemon.log
    shown += daemon.klee("image", "inspect", "made").stdout
    assert SECRET not in shown
    # Neither on the daemon's disk, database included, nor in the image.
    found = subprocess.run(
        ["grep", "-rlaF", SECRET, daemon.root, daemon.pool(), f"/run/kleene/{daemon.marks[1]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_what_was_not_given_is_an_error_with_its_place(build: Build, secret: Path) -> None:
    for text, options, expected, hint in (
        (
            "RUN --mount=type=secret,id=s,required cat /run/secrets/s",
            (),
            "Dockerfile:2:13: the build was given no secret 's'",
            "klee build --secret id=s,src=FILE",
        ),
        (
            "RUN --mount=type=ssh,required true",
            (),
            "Dockerfile:2:13: the build was given no SSH agent 'default'",
            "klee build --ssh default",
        ),
        (
            "RUN --mount=type=nothing,target=/x true",
            (),
            ":2:18: unknown type of mount",
            "known are",
        ),
        ("RUN --mount=source=absent,target=/x true", (), ":2:13: 'absent' is not in", ""),
        (
            "RUN --mount=type=tmpfs,target=/ok \\\n  --mount=target=/etc/passwd true",
            (),
            "Dockerfile:3:11: '/etc/passwd' cannot be mounted on",
            "another target",
        ),
        (
            "RUN --mount=target=/a --mount=type=tmpfs,target=/a/b true",
            (),
            "Dockerfile:2:31: '/a/b' cannot be mounted on: it is missing, and lies in a read-only mount",
            "write rw",
        ),
        ("RUN --network=host true", ("-l", "disabled"), "not allowed", "--allow network.host"),
        ("RUN --security=insecure true", (), "not allowed", "--allow security.insecure"),
    ):
        failed = build(f"FROM tiny\n{text}\n", *options, check=False)
        assert failed.status == 1
        assert expected in failed.stderr, failed.stderr
        assert hint in failed.stderr


def test_a_mount_outside_the_context_is_refused(
    build: Build, context: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("private")
    (context / "link").symlink_to(tmp_path / "outside")
    failed = build("FROM tiny\nRUN --mount=source=link,target=/x cat /x\n", check=False)
    assert "leads out of the build context" in failed.stderr
    failed = build("FROM tiny\nRUN --mount=source=../outside,target=/x cat /x\n", check=False)
    assert "'outside' is not in the build context" in failed.stderr


def test_a_hostile_image_cannot_lead_a_mount_out(
    build: Build, daemon: Daemon, tmp_path: Path, secret: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    up = "/".join([".."] * 12)
    text = (
        f"FROM tiny\nRUN mkdir -p /{victim} && ln -s {up}{victim} /link && ln -s /proc/1/root /magic\n"
        "RUN --mount=type=secret,id=s,target=/link/a/b cat /link/a/b >/dev/null\n"
    )
    build(text, "--secret", f"id=s,src={secret}")
    assert list(victim.iterdir()) == []
    failed = build(
        text + "RUN --mount=type=tmpfs,target=/magic/tmp/x true\n",
        "--secret",
        f"id=s,src={secret}",
        check=False,
    )
    assert failed.status in (0, 1)
    assert list(victim.iterdir()) == []


# --- Agents


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """A socket that answers each line by the same in capitals."""
    path = tmp_path / "agent.sock"
    server = _Upper(path)
    server.start()
    yield path
    server.stop()


class _Upper(threading.Thread):
    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data.upper())

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def test_an_agent_is_lent_to_a_step(build: Build, agent: Path, run: Callable[..., str]) -> None:
    built = build(
        "FROM tiny\nUSER nobody\n"
        "RUN --mount=type=ssh,uid=65534,mode=0600 ls -ln $SSH_AUTH_SOCK; test -S $SSH_AUTH_SOCK\n"
        "RUN test -z $SSH_AUTH_SOCK && test ! -e /run/buildkit\n",
        "--ssh",
        f"default={agent}",
    )
    assert any(line.startswith("srw-------") and "65534" in line for line in lines(built))


def test_an_agent_needs_a_local_daemon(daemon: Daemon, agent: Path, context: Path) -> None:
    done = subprocess.run(
        [
            *daemon.command()[:1],
            "--host",
            "http://127.0.0.1:9",
            "build",
            "--ssh",
            f"a={agent}",
            context,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "'--ssh' needs kleened on this host" in done.stderr


# --- Walked into


STEP = """\
FROM tiny AS maker
RUN mkdir /out && echo stage >/out/file
FROM tiny
RUN echo n >>/n
WORKDIR /w
RUN --mount=type=bind,source=src,target=/context --mount=from=maker,source=/out,target=/stage \\
    --mount=from=origin,target=/origin,rw --mount=type=cache,id=walk,target=/cache \\
    --mount=type=tmpfs,target=/memory,size=1m --mount=type=secret,id=s --mount=type=secret,id=e,env=TOKEN \\
    --mount=type=ssh,id=a,target=/agent --network=none \\
    echo cached >/cache/log; echo half >half; exit 3
"""
LOOK = (
    "cat /context/file /stage/file /origin/file /cache/log half; ls /context; echo kept >>/cache/log; "
    "wc -c </run/secrets/s; echo $TOKEN; test -S $SSH_AUTH_SOCK && echo agent; ls /sys/class/net; "
    "df /memory | tail -n 1; touch /origin/x; ! touch /context/x 2>/dev/null; pwd"
)


def test_a_step_is_entered_with_its_mounts(
    build: Build, daemon: Daemon, context: Path, secret: Path, agent: Path
) -> None:
    (context / "src").mkdir()
    (context / "src" / "file").write_text("context\n")
    (context / "src" / "ignored").write_text("x")
    (context / ".dockerignore").write_text("src/ignored\n")
    build("FROM tiny\nRUN echo origin >/file\n", tag="origin")
    os.environ["TOKEN_OF_TEST"] = "token"
    given = (
        "--secret",
        f"id=s,src={secret}",
        "--secret",
        "id=e,env=TOKEN_OF_TEST",
        "--ssh",
        f"a={agent}",
    )
    assert build(STEP, *given, tag="walked", check=False).status == 1
    before = daemon.datasets()

    def shell(*options: str, look: str = LOOK) -> Result:
        return daemon.klee("build", "shell", *options, "walked:failed", "--", "sh", "-c", look)

    entered = shell(*given)
    said = lines(entered)
    assert said[:5] == ["context", "stage", "origin", "cached", "half"]
    assert said[5:9] == ["file", str(len(SECRET)), "token", "agent"]
    assert said[9] == "lo" and "/memory" in said[-2] and "1024" in said[-2] and said[-1] == "/w"
    assert entered.stderr == ""
    found = lines(shell("--step", "6", "--before", look="cat /cache/log; ls /w /context"))
    assert found == ["cached", "kept", "/context:", "file", "", "/w:"]
    assert lines(shell("--step", "4", look="ls /context /stage 2>/dev/null; ls / | wc -l")) != []
    # Nothing of it stays: no clone, no copy, no mount point in what is kept.
    shell("--keep", "kept", *given, look="true")
    assert daemon.klee("diff", "kept").stdout == ""
    again = daemon.klee(
        "exec", "-q", "kept", "sh", "-c", "cat /context/file /run/secrets/s; echo $TOKEN"
    )
    assert lines(again) == ["context", f"{SECRET}token"]
    wait_until(lambda: daemon.klee("lsc", "-q").stdout == "", "the container goes on")
    database = (daemon.root / "kleene.db").read_bytes() + (
        daemon.root / "kleene.db-wal"
    ).read_bytes()
    assert SECRET.encode() not in database
    daemon.klee("rmc", "-f", "kept")
    wait_until(lambda: daemon.datasets() == before, "a clone is left")
    assert not list((daemon.root / "build-mounts").iterdir())

    # What is not there any more is told by name.
    (context / "src" / "file").write_text("changed\n")
    changed = shell(*given, look="cat /context/file")
    assert "'src' of the build context has changed since" in changed.stderr
    assert changed.stdout == "changed\n"
    (context / "src" / "file").unlink()
    (context / "src").rename(context / "moved")
    daemon.klee("rmi", "origin")
    look = "ls -d /stage /context /origin /run/secrets 2>/dev/null; true"
    # What 'rmi' leaves unused is removed after it has answered.
    wait_until(
        lambda: lines(shell(look=look)) == ["/stage"], "the state of 'origin' is still there"
    )
    lost = shell(look=look)
    for note in (
        "'src' of the build context cannot be had, so '/context' is missing: 'src' is not in",
        "the state of 'origin' that the step saw is gone, so '/origin' is missing",
        "secret 's' was not given, so '/run/secrets/s' is missing: --secret id=s,src=FILE",
        "secret 'e' was not given, so 'TOKEN' is missing",
        "SSH agent 'a' was not given, so there is none: --ssh a",
    ):
        assert f"note: {note}" in lost.stderr, lost.stderr
    daemon.klee("rmi", "walked:failed")


def test_a_step_is_entered_with_its_privileges(build: Build, daemon: Daemon) -> None:
    text = "FROM tiny\nRUN --security=insecure touch /x\n"
    build(text, "--allow", "security.insecure", tag="privileged")
    mounting = (
        "privileged",
        "--",
        "sh",
        "-c",
        "mount -t tmpfs none /tmp 2>/dev/null && echo mounted; true",
    )
    refused = daemon.klee("build", "shell", *mounting)
    assert refused.stdout == ""
    assert "--allow security.insecure" in refused.stderr
    allowed = daemon.klee("build", "shell", "--allow", "security.insecure", *mounting)
    assert allowed.stdout == "mounted\n"
    daemon.klee("rmi", "privileged")


# --- Network and security


def test_steps_have_the_network_and_the_privileges_that_they_ask_for(
    build: Build, run: Callable[..., str]
) -> None:
    text = (
        "FROM tiny\nRUN echo 1 >/a; ls /sys/class/net | wc -l\n"
        "RUN --network=none cat /a; cat /proc/net/dev | grep -c : | sed s/^/devices:/\n"
        "RUN --network=host true\nRUN --network=default cat /a\n"
        "RUN --security=sandbox ! mount -t tmpfs none /mnt 2>/dev/null\n"
        "RUN --security=insecure mkdir -p /m && mount -t tmpfs none /m && echo mounted && touch /m/x\n"
        "RUN ls -A /m | wc -l\n"
    )
    built = build(text, "--allow", "security.insecure")
    assert {"devices:1", "mounted"} <= set(lines(built))
    assert run("ls", "-A", "/m") == ""


# --- What comes of a crash


def test_a_kill_in_the_middle_of_a_step_leaves_nothing(
    new_daemon: Callable[..., Daemon], context: Path, secret: Path
) -> None:
    daemon = new_daemon()
    before = daemon.datasets()
    (context / "Dockerfile").write_text(
        "FROM tiny\nRUN --mount=type=secret,id=s --mount=target=/c "
        "--mount=from=tiny,target=/t,rw echo now; sleep 600\n"
    )
    building = daemon.popen("build", "--secret", f"id=s,src={secret}", context)
    assert building.stdout is not None
    assert any(line.strip() == b"now" for line in building.stdout)
    daemon.restart()
    building.communicate()
    assert daemon.datasets() == before
    (context / "Dockerfile").write_text(
        "FROM tiny\nRUN --mount=target=/c --mount=from=tiny,target=/t,rw true\n"
    )
    daemon.klee("build", "-t", "entered", context)
    before = daemon.datasets()
    shell = daemon.popen("build", "shell", "entered", "--", "sh", "-c", "echo now; sleep 600")
    assert shell.stdout is not None
    assert any(line.strip() == b"now" for line in shell.stdout)
    daemon.restart()
    shell.communicate()
    daemon.klee("rmc", "-f", *daemon.klee("lsc", "-aq").stdout.split())
    assert daemon.datasets() == before
    assert not (daemon.root / "build-mounts").exists()
    wait_until(lambda: str(daemon.root / "build-mounts") not in _mounts(), "a mount is left")


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()
