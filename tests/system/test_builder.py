"""Builds for real, by ``klee build``: what comes of every instruction, seen from inside the image."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Result, wait_until

pytestmark = pytest.mark.slow

Build = Callable[..., Result]
MODIFIED = 1_445_412_480
"""When what the web server has was modified."""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def build(daemon: Daemon, context: Path) -> Build:
    """Builds a Dockerfile of the given text, as the image ``made`` unless told."""

    def build(text: str | bytes, *options: str, tag: str = "made", check: bool = True) -> Result:
        data = text if isinstance(text, bytes) else text.encode()
        (context / "Dockerfile").write_bytes(data)
        return daemon.klee("build", "-t", tag, *options, context, check=check)

    return build


@pytest.fixture
def run(daemon: Daemon) -> Callable[..., str]:
    """What a command prints in a container of the image ``made``."""

    def run(*command: str, image: str = "made") -> str:
        return daemon.klee("run", "-q", "--rm", image, *command).stdout

    return run


def inspected(daemon: Daemon, kind: str, name: str) -> dict[str, Any]:
    """What ``inspect`` shows of one object."""
    found = json.loads(daemon.klee(kind, "inspect", name).stdout)
    (one,) = found if isinstance(found, list) else [found]
    return dict(one)


def test_bytes_that_are_no_text_are_shown_by_their_place(build: Build) -> None:
    failed = build(b"FROM tiny\nRUN \xff\n", check=False)
    assert failed.status == 1
    assert "Dockerfile:2:5: byte 0xff is not valid UTF-8" in failed.stderr


def test_a_name_with_a_registrys_port_is_a_name_everywhere(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    name = "localhost:5000/team/web:1"
    build("FROM docker.io/library/tiny:latest\nRUN echo a >/a\n", tag=name)
    build(f"FROM {name}\nCOPY --from={name} /a /b\n")
    assert run("cat", "/b") == "a\n"
    assert run("cat", "/a", image=name) == "a\n"
    assert inspected(daemon, "image", name)["name"] == "localhost:5000/team/web"
    failed = build("FROM tiny\nRUN false\n", tag=name, check=False)
    assert "klee run -it localhost:5000/team/web:failed@" in failed.stderr
    daemon.klee("rmi", name)


# --- Instructions that configure


def test_the_command_is_the_arguments_of_the_entrypoint(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    build('FROM tiny\nENTRYPOINT ["/bin/echo", "said:"]\nCMD ["a", "b"]\n')
    assert run() == "said: a b\n"
    assert run("c") == "said: c\n"
    container = daemon.klee("container", "create", "made").id
    assert daemon.klee("exec", "-q", container, "/bin/echo", "alone").stdout == "alone\n"


def test_an_entrypoint_takes_the_command_of_the_parent_away(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    build('FROM tiny\nCMD ["parent"]\n')
    daemon.klee("image", "tag", "made", "parent")
    build('FROM parent\nENTRYPOINT ["/bin/echo", "said:"]\n')
    assert run() == "said:\n"


def test_configuration_is_inherited_and_shown(build: Build, daemon: Daemon) -> None:
    build(
        'FROM tiny\nLABEL a=1 b="2 3"\nEXPOSE 80 53/udp\nSTOPSIGNAL QUIT\nVOLUME /data\n'
        "HEALTHCHECK --interval=5s CMD true\nMAINTAINER me\n"
    )
    daemon.klee("image", "tag", "made", "parent")
    built = build("FROM parent\nLABEL a=3\n", "--label", "a=4", "--label", "c")
    image = inspected(daemon, "image", "made")
    assert image["labels"] == {"a": "4", "b": "2 3", "c": "", "maintainer": "me"}
    assert image["exposed_ports"] == ["80/tcp", "53/udp"]
    assert image["volumes"] == ["/data"]
    assert image["stop_signal"] == "SIGQUIT"
    assert image["healthcheck"]["test"] == ["/bin/sh", "-c", "true"]
    assert image["healthcheck"]["interval"] == 5
    assert "warning" not in built.stdout + built.stderr


def test_the_shell_of_the_image_runs_shell_forms(build: Build, run: Callable[..., str]) -> None:
    build('FROM tiny\nSHELL ["/bin/echo", "shell:"]\nRUN a | b\nCMD c $d\n')
    assert run() == "shell: c $d\n"


def test_the_stop_signal_is_what_stop_sends(build: Build, daemon: Daemon) -> None:
    build(
        "FROM tiny\nSTOPSIGNAL SIGUSR1\n"
        "CMD trap 'touch /mark; exit 0' USR1; touch /ready; while :; do sleep 0.1; done\n"
    )
    container = daemon.klee("run", "-d", "made").id
    wait_until(
        lambda: (
            daemon.klee("exec", "-q", container, "test", "-e", "/ready", check=False).status == 0
        ),
        "the trap is not set",
    )
    daemon.klee("stop", container)
    assert daemon.klee("exec", "-q", container, "ls", "/mark").stdout.strip() == "/mark"
    daemon.klee("rmc", "-f", container)


def test_a_volume_is_filled_from_the_image_and_goes_with_its_container(
    build: Build, daemon: Daemon
) -> None:
    build(
        "FROM tiny\nRUN mkdir /data && echo kept >/data/file && chmod 700 /data\nVOLUME /data /e\n"
    )
    before = daemon.klee("lsv", "-q").stdout.split()
    container = daemon.klee("container", "create", "-m", "mine:/e", "made").id
    anonymous = set(daemon.klee("lsv", "-q").stdout.split()) - {*before, "mine"}
    assert anonymous == {f"{container}-1"}
    assert daemon.klee("exec", "-q", container, "cat", "/data/file").stdout == "kept\n"
    daemon.klee("rmc", "-f", container)
    assert set(daemon.klee("lsv", "-q").stdout.split()) == {*before, "mine"}
    assert f"volume/{container}-1" not in daemon.datasets()
    daemon.klee("rmv", "mine")


def test_onbuild_is_carried_out_in_the_child_and_only_there(
    build: Build, run: Callable[..., str], context: Path, daemon: Daemon
) -> None:
    (context / "app").write_text("mine\n")
    build("FROM tiny\nONBUILD COPY app /app\nONBUILD RUN echo built >>/app\n")
    daemon.klee("image", "tag", "made", "maker")
    assert daemon.klee("run", "--rm", "maker", "ls", "/app", check=False).status != 0
    build("FROM maker\nRUN echo last >>/app\n")
    assert run("cat", "/app") == "mine\nbuilt\nlast\n"
    daemon.klee("image", "tag", "made", "child")
    build("FROM child\n")
    assert run("cat", "/app") == "mine\nbuilt\nlast\n"


def test_onbuild_names_stages_of_the_child_and_images(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    build("FROM tiny\nRUN echo image >/out\n", tag="stock")
    build(
        "FROM tiny\nONBUILD COPY --from=parts /out /part\nONBUILD COPY --from=stock /out /stock\n"
        "ONBUILD RUN --mount=from=parts,target=/m cat /m/out >/mounted\n",
        tag="maker",
    )
    build("FROM tiny AS parts\nRUN echo stage >/out\nFROM maker AS child\nFROM child\n")
    assert run("cat", "/part", "/stock", "/mounted") == "stage\nimage\nstage\n"


# --- Stages


def test_files_come_from_stages_and_images(
    build: Build, run: Callable[..., str], context: Path, daemon: Daemon
) -> None:
    (context / "source").write_text("text\n")
    build("FROM tiny\nRUN echo other >/other && ln -s /other /link\n", tag="other")
    built = build(
        "FROM tiny AS builder\nWORKDIR /src\nCOPY source .\n"
        "RUN cat source source >out && chown 7:8 out && chmod 640 out\n"
        "FROM tiny AS unused\nRUN false\n"
        "FROM tiny\nCOPY --from=builder /src/out /a/\nCOPY --from=0 --chown=9 src/o* /b/\n"
        "COPY --from=other /link /c\n"
    )
    assert "RUN false" not in built.stdout
    assert run("cat", "/a/out", "/c") == "text\ntext\nother\n"
    owners = run("stat", "-c", "%u:%g %a", "/a", "/a/out", "/b/out").splitlines()
    assert owners == ["0:0 755", "7:8 640", "9:9 640"]


def test_what_a_stage_made_is_cached_and_goes_with_its_image(
    build: Build, context: Path, daemon: Daemon
) -> None:
    (context / "source").write_text("1")
    text = (
        "FROM tiny AS builder\nRUN echo noise >/noise\nCOPY source /source\nRUN cat /source >/made\n"
        "FROM tiny\nCOPY --from=builder /made /made\nRUN cat /made\n"
    )
    before = daemon.datasets()
    build(text, tag="staged")
    assert build(text, tag="again").stdout.count("Using cached") == 5
    # The same file from a stage that was built anew: what copies it is not done again.
    changed = text.replace("echo noise", "echo nose")
    assert build(changed, tag="third").stdout.count("Using cached") == 2
    daemon.restart()
    assert build(text, tag="fourth").stdout.count("Using cached") == 5
    for tag in ("staged", "third", "again", "fourth"):
        daemon.klee("rmi", tag)
    assert daemon.datasets() == before


def test_a_target_is_built_and_what_comes_after_it_is_not(
    build: Build, run: Callable[..., str]
) -> None:
    text = "FROM tiny AS one\nRUN echo 1 >/n\nFROM one AS two\nRUN echo 2 >>/n\n"
    assert "Step 4/4" in build(text).stdout
    assert run("cat", "/n") == "1\n2\n"
    assert "Step 2/2" in build(text, "--target", "one").stdout
    assert run("cat", "/n") == "1\n"


def test_a_build_from_nothing(build: Build, daemon: Daemon, run: Callable[..., str]) -> None:
    build(
        'FROM scratch\nCOPY --from=tiny /bin/busybox /bin/busybox\nCMD ["/bin/busybox", "ls", "/"]\n'
    )
    assert "bin" in run().split()
    assert build("FROM scratch\nLABEL a=b\n").status == 0
    assert inspected(daemon, "image", "made")["parent"] == ""
    assert build("FROM scratch\nWORKDIR /a/b\n").status == 0
    again = build("FROM scratch AS x\nWORKDIR /a/b\nFROM tiny\nCOPY --from=x / /got/\n")
    assert again.status == 0
    assert run("ls", "/got/a") == "b\n"


def test_a_failed_stage_is_kept_with_its_last_good_state(
    build: Build, run: Callable[..., str], daemon: Daemon
) -> None:
    before = daemon.datasets()
    text = "FROM tiny AS a\nRUN echo good >/file\nRUN exit 3\nFROM tiny\nCOPY --from=a /file /\n"
    assert build(text, "--rm", tag="bad", check=False).status != 0
    assert daemon.datasets() == before
    failed = build(text, tag="bad", check=False)
    assert "bad:failed" in failed.stdout + failed.stderr
    assert run("cat", "/file", image="bad:failed") == "good\n"
    daemon.klee("rmi", "bad:failed")
    assert daemon.datasets() == before


def test_a_kill_in_the_middle_leaves_nothing_of_any_stage(
    new_daemon: Callable[..., Daemon], context: Path
) -> None:
    daemon = new_daemon()
    before = daemon.datasets()
    (context / "Dockerfile").write_text(
        "FROM tiny AS a\nRUN echo 1 >/file\nFROM tiny\nCOPY --from=a /file /\nRUN echo now; sleep 600\n"
    )
    building = daemon.popen("build", "-t", "made", context)
    assert building.stdout is not None
    assert any(line.strip() == b"now" for line in building.stdout)
    assert len(daemon.datasets()) > len(before)
    daemon.restart()
    building.communicate()
    assert daemon.datasets() == before


def test_origins_that_are_not_there(build: Build) -> None:
    for text, place in (
        ("FROM tiny\nCOPY --from=absent /x /\n", "Dockerfile:2:13: no such image: 'absent:latest'"),
        ("FROM tiny\nCOPY --from=tiny /absent /\n", "'absent' is not in 'tiny'"),
        ("FROM tiny AS a\nFROM tiny\nCOPY --from=a /absent /\n", "'absent' is not in 'stage 0'"),
        ("FROM tiny AS a\nCOPY --from=b /x /\nFROM a AS b\n", "needs itself"),
        ("FROM tiny\nCOPY --from=scratch /x /\n", "Dockerfile:2:13: 'scratch' has no files"),
        ("FROM tiny\nRUN --mount=from=scratch,target=/s true\n", "2:18: 'scratch' has no files"),
    ):
        failed = build(text, check=False)
        assert failed.status != 0
        assert place in failed.stdout + failed.stderr


# --- ADD


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[[str, bytes], str]]:
    """Serves files on the loopback; gives the URL of each."""
    directory = tmp_path / "web"
    directory.mkdir()
    handler = functools.partial(_Silent, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(name: str, content: bytes) -> str:
        (directory / name).write_bytes(content)
        os.utime(directory / name, (MODIFIED, MODIFIED))
        return f"http://127.0.0.1:{server.server_port}/{name}"

    yield serve
    server.shutdown()
    server.server_close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    """Of ``private`` it wants to know a word."""

    def do_GET(self) -> None:
        if self.path == "/private" and self.headers["Authorization"] != "Bearer word":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def archive(mode: str = "w:gz", name: str = "inside/file") -> bytes:
    """An archive with one file of user 5 in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as made:  # type: ignore[call-overload]
        entry = tarfile.TarInfo(name)
        entry.size, entry.uid, entry.mode = 8, 5, 0o751
        made.addfile(entry, io.BytesIO(b"content\n"))
    return data.getvalue()


def test_add_extracts_archives_by_their_content(
    build: Build, run: Callable[..., str], context: Path
) -> None:
    (context / "plain").write_bytes(archive("w"))
    (context / "packed.bin").write_bytes(archive("w:xz", "other"))
    (context / "text.tar").write_text("no archive\n")
    (context / "zipped.gz").write_bytes(gzip.compress(b"no archive"))
    built = build(
        "FROM tiny\nADD plain packed.bin text.tar zipped.gz /x/\nCOPY plain /copied\n"
        "ADD --chown=3:4 --chmod=700 plain /y/\n"
    )
    assert (
        "warning: Dockerfile:4:1: 'plain' is an archive: its files keep their modes" in built.stdout
    )
    assert run("stat", "-c", "%u:%g %a", "/y", "/y/inside", "/y/inside/file").splitlines() == [
        "3:4 755",
        "3:4 755",
        "3:4 751",
    ]
    assert run("ls", "-A", "/x").split() == ["inside", "other", "text.tar", "zipped.gz"]
    assert run("stat", "-c", "%u %a %n", "/x/inside/file", "/x/other").splitlines() == [
        "5 751 /x/inside/file",
        "5 751 /x/other",
    ]
    assert run("tar", "-tf", "/copied") == "inside/file\n"


def test_add_refuses_an_archive_that_escapes(build: Build, context: Path, daemon: Daemon) -> None:
    before = daemon.datasets()
    (context / "bad.tar").write_bytes(archive("w", "../../outside"))
    failed = build("FROM tiny\nADD bad.tar /x/\n", "--rm", tag="bad", check=False)
    assert failed.status != 0
    assert "leads out of the archive" in failed.stdout + failed.stderr
    assert daemon.datasets() == before


def test_add_of_a_url(
    build: Build, run: Callable[..., str], web: Callable[[str, bytes], str]
) -> None:
    url = web("file.tar", archive("w"))
    text = f"FROM tiny\nADD {url} /got/\nADD --chown=3 --chmod=644 {url} /named\n"
    build(text)
    assert run("tar", "-tf", "/got/file.tar") == "inside/file\n"
    assert run("stat", "-c", "%u:%g %a %Y", "/got/file.tar", "/named").splitlines() == [
        f"0:0 600 {MODIFIED}",
        f"3:3 644 {MODIFIED}",
    ]
    assert build(text).stdout.count("Using cached") == 2
    web("file.tar", archive("w", "changed"))
    assert build(text).stdout.count("Using cached") == 0
    assert run("tar", "-tf", "/got/file.tar") == "changed\n"


def test_add_logs_in_with_a_secret(
    build: Build, run: Callable[..., str], context: Path, web: Callable[[str, bytes], str]
) -> None:
    url = web("private", b"for few")
    (context / "token").write_text("word\n")
    secret = f"--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,src={context / 'token'}"
    assert "401" in build(f"FROM tiny\nADD {url} /f\n", check=False).stderr
    build(f"FROM tiny\nADD {url} /f\n", secret)
    assert run("cat", "/f") == "for few"


def test_add_with_a_checksum(
    build: Build, run: Callable[..., str], web: Callable[[str, bytes], str]
) -> None:
    url = web("file", b"right\n")
    digest = hashlib.sha256(b"right\n").hexdigest()
    right = f"FROM tiny\nADD --checksum=sha256:{digest} {url} /f\n"
    build(right)
    assert run("cat", "/f") == "right\n"
    web("file", b"wrong\n")
    # What the cache has is not fetched again.
    assert build(right).stdout.count("Using cached") == 1
    failed = build(right, "--no-cache", "--rm", check=False)
    assert failed.status != 0
    assert "the file has the checksum 'sha256:" in failed.stdout + failed.stderr
    absent = build(f"FROM tiny\nADD {url}x /f\n", "--rm", check=False)
    assert "404" in absent.stdout + absent.stderr


def test_a_built_in_argument_names_the_host(build: Build, run: Callable[..., str]) -> None:
    text = "FROM tiny\nRUN hostname >/name; grep -c box /etc/hosts >>/name\n"
    built = build(text, "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=box")
    assert "is declared by no ARG" not in built.stdout
    assert run("cat", "/name") == "box\n1\n"


# --- Explained


def test_every_miss_is_explained(build: Build, context: Path) -> None:
    (context / "file").write_text("1")
    text = "FROM tiny\nARG a=1\nCOPY file /file\nRUN echo $a\nRUN true\n"

    def reasons(*options: str) -> list[str]:
        told = build(text, "--explain", *options).stdout.splitlines()
        return [line for line in told if line.startswith(("--> cached:", "--> not cached:"))]

    build(text)
    assert all("cached: it was made in the build of image" in line for line in reasons())
    follows = "--> not cached: a step before it was not in the cache"
    assert reasons("--build-arg", "a=2")[1:] == ["--> not cached: variable 'a' changed", follows]
    (context / "file").write_text("2")
    assert reasons() == ["--> not cached: the files changed: 'file' (content)", follows, follows]
    (context / "file").chmod(0o600)
    assert reasons()[0] == "--> not cached: the files changed: 'file' (mode)"
    assert reasons("--no-cache") == ["--> not cached: the cache was not asked"] * 3
    (context / "file").write_text("1")
    (context / "file").chmod(0o644)
    # What was used last is what is compared with, not what was made last.
    assert "cached: it was made" in reasons()[0]
    (context / "file").write_text("3")
    (context / "file").chmod(0o644)
    assert reasons()[0] == "--> not cached: the files changed: 'file' (content)"


def test_the_image_or_the_stage_that_changed_is_named(build: Build) -> None:
    text = "FROM tiny AS first\nRUN echo {}\nFROM first\nRUN true\n"
    build(text.format(1), tag="below")
    build("FROM below\nRUN true\n")
    other = build(text.format(2), "--explain", tag="below").stdout
    assert "not cached: nothing was built from stage 'first' as it is now" in other
    above = build("FROM below\nRUN true\n", "--explain").stdout
    assert "not cached: nothing was built from image 'below' as it is now" in above


def test_files_of_stages_and_images_that_changed_are_named(build: Build) -> None:
    def reasons(content: str, mode: str) -> list[str]:
        text = (
            f"FROM tiny AS maker\nRUN mkdir /out && echo {content} >/out/a && echo b >/out/b "
            f"&& chmod {mode} /out/b\nFROM tiny\nCOPY --from=maker /out /out\n"
            "RUN --mount=from=maker,source=/out,target=/m true\n"
        )
        told = build(text, "--explain").stdout.splitlines()
        return [line for line in told if line.startswith("--> not cached: the files")]

    build("FROM tiny\nRUN echo one >/file\n", tag="origin")
    copy = "FROM tiny\nCOPY --from=origin /file /etc/group /\n"
    build(copy)
    reasons("one", "0644")
    assert reasons("two", "0600") == [
        "--> not cached: the files changed: 'out/a' (content) and 'out/b' (mode)"
    ]
    build("FROM tiny\nRUN echo two >/file && chown 5:6 /file\n", tag="origin")
    told = build(copy, "--explain").stdout
    assert "--> not cached: the files changed: 'file' (owner, content)" in told
    mount = "FROM tiny\nRUN --mount=from=origin,target=/m true\n"
    build(mount)
    build("FROM tiny\nRUN echo three >/file\n", tag="origin")
    told = build(mount, "--explain").stdout
    assert "--> not cached: the files in the mounts changed: 'origin:/' (content)" in told


def test_files_of_mounts_that_changed_are_named(build: Build, context: Path) -> None:
    (context / "d").mkdir()
    for name in ("d/a", "d/b", "top"):
        (context / name).write_text("1")

    def told() -> list[str]:
        text = (
            "FROM tiny AS s\nCOPY top /x/top\nFROM tiny\nRUN --mount=target=/c,source=d "
            "--mount=from=s,source=/x,target=/s true\n"
        )
        lines = build(text, "--explain").stdout.splitlines()
        return [line for line in lines if line.startswith("--> not cached: the files in")]

    told()
    (context / "d/a").write_text("2")
    (context / "d/b").unlink()
    (context / "top").write_text("2")
    assert told() == [
        "--> not cached: the files in the mounts changed: 'd/a' (content), 'd/b' (removed) "
        "and 'stage 0:/x/top' (content)"
    ]


# --- Failed steps


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("COPY f absent /x/", 8),
        ('ADD ["f", "absent", "/x/"]', 12),
        ("COPY --from=tiny /etc/passwd /absent /x/", 30),
    ],
)
def test_the_source_that_is_not_there_is_pointed_to(
    build: Build, context: Path, text: str, column: int
) -> None:
    (context / "f").write_text("")
    failed = build(f"FROM tiny\n{text}\n", "--rm", check=False)
    assert f"Dockerfile:2:{column}: 'absent' is not in " in failed.stderr


@pytest.mark.parametrize("after", ["", "RUN true\n"])
def test_a_working_directory_that_cannot_be_made_is_pointed_to(
    build: Build, daemon: Daemon, after: str
) -> None:
    failed = build(f"FROM tiny\nRUN true\nWORKDIR /bin/sh\n{after}", tag="bad", check=False)
    assert "Dockerfile:3:1: '/bin/sh' cannot be made in the image" in failed.stderr
    assert "3 | WORKDIR /bin/sh" in failed.stderr
    daemon.klee("rmi", "bad:failed")


def test_what_a_failed_step_left_is_kept_beside_the_last_good_state(
    build: Build, run: Callable[..., str], context: Path, daemon: Daemon
) -> None:
    before = daemon.datasets()
    text = (
        "FROM tiny AS a\nRUN echo good >/file\nUSER 5\nENV who=me\nWORKDIR /tmp\n"
        "RUN echo half >/tmp/file; \\\n  exit 3\n"
    )
    failed = build(text, tag="bad", check=False)
    assert failed.status == 1
    assert run("ls", "/tmp", image="bad:failed") == ""
    with contextlib.closing(sqlite3.connect(daemon.root / "kleene.db")) as database:
        database.row_factory = sqlite3.Row
        rows = list(database.execute("SELECT * FROM instructions ORDER BY rowid DESC LIMIT 6"))
    steps = [dict(row) for row in reversed(rows)]
    last = steps[-1]
    assert run("cat", "/tmp/file", image=f"bad:failed@{last['snapshot_id']}") == "half\n"
    assert (last["failed"], last["user"], last["cwd"]) == (1, "5", "/tmp")
    assert (last["first_line"], last["last_line"], last["stage_name"]) == (6, 7, "a")
    assert "who=me" in json.loads(last["env"])
    assert (
        last["before"]
        == steps[1]["snapshot_id"]
        == inspected(daemon, "image", "bad:failed")["snapshot"]
    )
    assert [json.loads(step["sets"]) for step in steps] == [[], [], [], ["who=me"], [], []]
    daemon.klee("rmi", "bad:failed")
    build(text, "--rm", tag="bad", check=False)
    assert daemon.datasets() == before
