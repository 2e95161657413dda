"""``make demo``: from a Dockerfile to a running container, each command shown as typed, with its output.

The daemon works on a socket and a data directory of its own, ``.demo/`` in the checkout. It goes on when
the demo is over, so that you can type commands of your own; ``make demo-clean`` ends it and removes
everything. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CONTEXT = CHECKOUT / "demo"
HOME = CHECKOUT / ".demo"
BIN = CHECKOUT / ".venv" / "bin"
SOCKET, PID_FILE, LOG = HOME / "kleened.sock", HOME / "kleened.pid", HOME / "kleened.log"
UNFINISHED = HOME / "unfinished"
SUBNET, NETWORK, IMAGE, BASE = "10.13.37.0/24", "testnet", "test:latest", "Debian"
ADDRESS = re.compile(r"\b10\.13\.37\.\d{1,3}\b")
IDENTIFIER = re.compile(r"\b[0-9a-f]{12}\b")
# A unix socket's path is at most 107 bytes: unix(7), sun_path.
LONGEST_SOCKET = 107


class DemoFailed(Exception):
    """The walk cannot go on; the message says why."""


def main() -> int:
    """Walk, or clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", action="store_true", help="end the daemon, remove everything")
    if parser.parse_args().clean:
        clean()
        return 0
    if os.geteuid() != 0:
        print("make demo needs root: it makes networks and containers", file=sys.stderr)
        return 1
    try:
        demo()
    except KeyboardInterrupt:
        print("\ninterrupted: removing what the demo made", file=sys.stderr)
        clean()
        return 130
    except DemoFailed as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        print(f"The daemon's log is {LOG}. To remove everything: make demo-clean", file=sys.stderr)
        return 1
    return 0


def demo() -> None:
    """Start the daemon if it does not run, and take the walk."""
    if UNFINISHED.exists():
        say("An earlier demo did not come to its end: removing what it left.")
        clean()
    start_daemon()
    UNFINISHED.touch()
    walk()
    UNFINISHED.unlink()
    say(
        "Done, and nothing left behind. The daemon still listens; to look around:\n"
        f"  export KLEE_HOST=http://{SOCKET} PATH={BIN}:$PATH\n"
        "To end it and remove everything: make demo-clean"
    )


def walk() -> None:
    """The commands, in order."""
    klee("image", "create", "-t", BASE, "fetch-auto")
    klee("network", "create", "--subnet", SUBNET, NETWORK)
    klee("build", "-t", IMAGE, ".")
    output = klee("run", "-d", "--network", NETWORK, IMAGE, keep=True)
    container = find(IDENTIFIER, output, "the container's id")
    inspected = klee("container", "inspect", container, keep=True)
    greet(find(ADDRESS, inspected, "the container's address"))
    klee("lsi")
    klee("lsc", "-a")
    klee("exec", container, "ps")
    klee("stop", container)
    klee("rmc", container)
    klee("rmi", IMAGE)
    klee("rmi", BASE)
    klee("rmn", NETWORK)


def greet(address: str) -> None:
    """Fetch the page, once the server in the container listens."""
    wait_until_listening(address, 8000)
    page = show(["curl", "-sS", f"http://{address}:8000/"], keep=True)
    print()
    if "Hello World!" not in page:
        raise DemoFailed("the page does not say 'Hello World!'")


def find(pattern: re.Pattern[str], text: str, what: str) -> str:
    """The first match in a command's output."""
    match = pattern.search(text)
    if match is None:
        raise DemoFailed(f"the output does not show {what}")
    return match[0]


def say(text: str) -> None:
    """Tell the user something that is no command's output."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def klee(*arguments: str, keep: bool = False) -> str:
    """Run ``klee``, shown as typed; ``keep`` its output, which is shown as it comes in any case."""
    return show(["klee", *arguments], keep=keep)


def show(command: Sequence[str], *, keep: bool) -> str:
    """Show a command as typed and run it in the build context.

    Raises:
        DemoFailed: it failed.
    """
    say("# " + " ".join(command))
    process = subprocess.Popen(
        command,
        cwd=CONTEXT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if keep else None,
    )
    output = b""
    if process.stdout is not None:
        while chunk := os.read(process.stdout.fileno(), 65536):
            output += chunk
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
    if (status := process.wait()) != 0:
        raise DemoFailed(f"'{' '.join(command)}' failed with exit status {status}")
    return output.decode(errors="replace")


def environment() -> dict[str, str]:
    """What a user would have exported, and no proxy between curl and the container."""
    path = f"{BIN}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    host = f"http://{SOCKET}"
    return {**os.environ, "PATH": path, "KLEE_HOST": host, "no_proxy": "*", "NO_PROXY": "*"}


def wait_until_listening(address: str, port: int) -> None:
    """Wait up to a minute for a server to accept connections."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.1)
    raise DemoFailed(f"nothing listens on {address}:{port} after a minute")


# --- The daemon


def start_daemon() -> None:
    """Start ``kleened`` unless it runs, and wait until it answers."""
    if daemon_pid() is not None:
        return
    refuse_what_is_in_the_way()
    HOME.mkdir(exist_ok=True)
    config = HOME / "config.yaml"
    config.write_text(
        f"kleene_root: {HOME}/root\napi_listening_sockets:\n  - address: http://{SOCKET}\n"
    )
    say(f"Starting kleened: data in {HOME}/root, log in {LOG}")
    with LOG.open("ab") as log:
        process = subprocess.Popen(
            [BIN / "kleened", "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    PID_FILE.write_text(str(process.pid))
    wait_for_daemon(process)


def wait_for_daemon(process: subprocess.Popen[bytes]) -> None:
    """Wait up to a minute for the daemon to answer on its socket."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(SOCKET))
            return
        time.sleep(0.05)
    tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-8:])
    raise DemoFailed(f"kleened did not start:\n{tail}")


def refuse_what_is_in_the_way() -> None:
    """Say what the user has to change before the demo can work."""
    if len(os.fsencode(SOCKET)) > LONGEST_SOCKET:
        raise DemoFailed(f"the path of the checkout is too long for a socket: {SOCKET}")
    result = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, check=True)
    for link in json.loads(result.stdout):
        if any(ADDRESS.fullmatch(address["local"]) for address in link["addr_info"]):
            raise DemoFailed(
                f"interface '{link['ifname']}' has an address of {SUBNET}, which the demo wants; "
                f"if it is a leftover: ip link delete {link['ifname']}"
            )


def daemon_pid() -> int | None:
    """The process id of the demo's daemon, if it runs."""
    try:
        pid = int(PID_FILE.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    # The file may be old and its number another process's by now.
    return pid if os.fsencode(f"{HOME}/config.yaml") in command else None


# --- Cleaning up


def clean() -> None:
    """Remove everything that the demo made, whatever state it is in. Quiet when there is nothing."""
    if not HOME.exists():
        return
    if (HOME / "root").exists():
        with contextlib.suppress(DemoFailed):
            start_daemon()
            remove_objects()
    stop_daemon()
    for where in mounts_below(HOME):
        subprocess.run(["umount", where], check=False)
    shutil.rmtree(HOME)
    print("The demo's daemon is stopped, its data removed.")


def remove_objects() -> None:
    """Remove the containers and networks: they would outlive the daemon."""
    for kind, options in (("c", ["--force"]), ("n", [])):
        listing = ask("ls" + kind, *(["--all"] if kind == "c" else []), "--quiet")
        if names := listing.split():
            ask("rm" + kind, *options, *names)


def ask(*arguments: str) -> str:
    """The output of a ``klee`` command; errors go to the terminal."""
    command = ["klee", *arguments]
    return subprocess.run(
        command, env=environment(), stdout=subprocess.PIPE, text=True, check=False
    ).stdout


def stop_daemon() -> None:
    """End the daemon, politely for half a minute, then by force."""
    pid = daemon_pid()
    if pid is None:
        return
    for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if daemon_pid() is None:
                return
            time.sleep(0.05)


def mounts_below(directory: Path) -> Iterator[str]:
    """Where something is mounted below a directory, the latest first."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        # proc(5): spaces and the like in the path are written as \\040.
        where = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
        if where.startswith(f"{directory}/"):
            yield where


if __name__ == "__main__":
    sys.exit(main())
