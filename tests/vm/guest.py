"""In the virtual machine, for a power cut: a walk that tells what was acknowledged, and a look at it after.

``python -m tests.vm.guest walk N`` | ``python -m tests.vm.guest check FILE``; the data lies in ``/data``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.rootfs import write_tar
from tests.system.test_sudden_end import assert_whole

ACKNOWLEDGED = "acknowledged "
_HOME = Path("/data/d")
_LISTS = {
    "image": "SELECT name FROM images WHERE state = 'ready'",
    "container": "SELECT name FROM containers",
    "network": "SELECT name FROM networks",
    "volume": "SELECT name FROM volumes",
    "snapshot": "SELECT name FROM volume_snapshots",
    "secret": "SELECT name FROM secrets",
}


def commands(n: int) -> list[tuple[str, list[str]]]:
    """What the ``n``-th walk does: ``KIND NAME`` of what each command makes (``-``: takes away)."""
    base, context = f"file://{_HOME}/tiny.tar", f"{_HOME}/context"
    return [
        (f"image base{n}", ["image", "create", "-t", f"base{n}", "fetch", base]),
        (f"network net{n}", ["network", "create", "--subnet", f"10.99.{n}.0/24", f"net{n}"]),
        (
            f"image built{n}",
            ["build", "--no-cache", "--from", f"base{n}", "-t", f"built{n}", context],
        ),
        (f"container up{n}", ["run", "-d", "--name", f"up{n}", "-n", f"net{n}", f"built{n}"]),
        (f"volume v{n}", ["volume", "create", f"v{n}"]),
        (f"snapshot s{n}", ["volume", "snapshot", f"v{n}", f"s{n}"]),
        (f"secret x{n}", ["secret", "create", f"x{n}", f"{_HOME}/context/Dockerfile"]),
        (f"image kept{n}", ["commit", f"up{n}", f"kept{n}"]),
        (f"container made{n}", ["create", "--name", f"made{n}", "-m", f"v{n}:/v", f"kept{n}"]),
        (f"-container up{n}", ["rmc", "-f", f"up{n}"]),
        (f"-image built{n}", ["rmi", f"built{n}"]),
    ]


def walk(n: int) -> None:
    """Do it, and tell each thing that was acknowledged."""
    daemon = Daemon(home=_HOME, pool_size="1G")
    (_HOME / "context").mkdir(parents=True, exist_ok=True)
    lines = ["FROM base", "RUN echo one > /one", "COPY Dockerfile /two", "CMD sleep 600"]
    (_HOME / "context" / "Dockerfile").write_text("\n".join(lines) + "\n")
    write_tar(_HOME / "tiny.tar")
    daemon.start()
    while True:
        for made, command in commands(n):
            daemon.klee(*command)
            print(f"{ACKNOWLEDGED}{made}", flush=True)
        n += 1


def check(expected: list[str]) -> None:
    """See that all is there that was acknowledged and not taken away since, and nothing that is half-made."""
    daemon = Daemon(home=_HOME)
    (_HOME / "log").unlink(missing_ok=True)
    daemon.start()
    assert_whole(daemon)
    found = {f"{kind} {name}" for kind, query in _LISTS.items() for name in daemon.rows(query)}
    gone = {word.removeprefix("-") for word in expected if word.startswith("-")}
    lost = {word for word in expected if not word.startswith("-")} - gone - found
    assert not lost, lost
    assert not gone & found, gone & found
    images = sorted(word.split()[1] for word in found if word.startswith("image "))
    for image in images[-2:]:
        assert daemon.klee("run", "-q", "--rm", image, "echo", "whole").stdout == "whole\n"
    print(f"all of {len(found)} objects are there, and whole", flush=True)
    daemon.stop()


if __name__ == "__main__":
    if sys.argv[1] == "walk":
        walk(int(sys.argv[2]))
    else:
        check(Path(sys.argv[2]).read_text().splitlines())
