"""What users of Docker type, and what it is in Kleene: for the hints of errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

COMMANDS: Mapping[str, str] = {
    "help": "klee --help, klee COMMAND --help",
    "pull": "klee image create, which makes a base image; there are no registries yet",
    "push": "there are no registries yet; klee volume export and klee cp move files",
    "login": "there are no registries yet",
    "logout": "there are no registries yet",
    "search": "there are no registries yet",
    "prune": "klee container prune; klee image, network, volume and build have one too",
    "system": "klee df, klee info, klee events",
    "builder": "klee build prune",
    "buildx": "klee build",
    "port": "klee isc CONTAINER, or klee lsc --format '{{.Name}} {{.Ports}}'",
    "import": "klee image create -t NAME fetch ARCHIVE",
    "load": "klee image create -t NAME fetch ARCHIVE",
    "save": "there is no archive of images yet; klee cp CONTAINER:/ - writes a container's files",
    "export": "klee cp CONTAINER:/ -",
    "pause": "containers are not paused; klee kill -s STOP CONTAINER stops its processes",
    "unpause": "klee kill -s CONT CONTAINER lets its processes go on",
    "swarm": "Kleene works on one host",
    "service": "Kleene works on one host: klee run -d --restart always",
    "stack": "Kleene works on one host",
    "node": "Kleene works on one host",
    "compose": "there is no compose file; see the tutorial for an application of two containers",
    "context": "klee --host ADDRESS, or KLEE_HOST in the environment",
}
"""Commands at the top, and what does that here."""

SYNONYMS: Mapping[str, str] = {
    "list": "ls",
    "ps": "ls",
    "remove": "rm",
    "delete": "rm",
    "del": "rm",
    "rmi": "rm",
    "show": "inspect",
    "info": "inspect",
    "add": "create",
    "new": "create",
    "log": "logs",
}
"""Other words for commands of a group."""

_ONE_HOST = "containers of one host need no links: put them on one network, --network NETWORK"
_NAMESPACES = "a container always has its own here; -J and --driver say what it shares"

OPTIONS: Mapping[str, str] = {
    "--pull": "there are no registries: an image is on this host, or klee image create makes it",
    "--platform": "images are of the host's own platform: leave it out",
    "--net": "--network NETWORK, or --driver host|ipnet|vnet|disabled",
    "--network-alias": "containers are reached by their addresses; add names by --add-host",
    "--net-alias": "containers are reached by their addresses; add names by --add-host",
    "--link": _ONE_HOST,
    "--publish-all": "name the ports: -p HOST:CONTAINER",
    "--expose": "every port of a container is open to its network; publish one by -p HOST:CONTAINER",
    "--volumes-from": "mount the same volume in both: -m VOLUME:/PATH",
    "--volume-driver": "volumes are datasets of Kleene's own storage: leave it out",
    "--storage-opt": "limit a volume: klee volume create --quota SIZE",
    "--log-driver": "logs are kept in bounded files, and read by klee logs",
    "--log-opt": "container_log_size and container_log_files in the configuration of kleened",
    "--gpus": "give it the devices: --device /dev/dri",
    "--runtime": "the daemon picks the runtime; klee info tells which",
    "--isolation": "leave it out",
    "--ipc": _NAMESPACES,
    "--pid": _NAMESPACES,
    "--uts": "--hostname NAME",
    "--userns": "user namespaces are not used: run processes as a user by --user",
    "--cgroupns": _NAMESPACES,
    "--cgroup-parent": "all containers are below the daemon's group: leave it out",
    "--mac-address": "addresses of interfaces are made from the container's id",
    "--memory-reservation": "--memory SIZE is the only limit of memory",
    "--memory-swappiness": "--memory-swap SIZE limits swap",
    "--kernel-memory": "--memory SIZE counts the kernel's too",
    "--oom-kill-disable": "leave it out",
    "--oom-score-adj": "leave it out",
    "--cpu-shares": "--cpus NUMBER",
    "--cpu-quota": "--cpus NUMBER",
    "--cpu-period": "--cpus NUMBER",
    "--cpuset-cpus": "--cpus NUMBER",
    "--cpuset-mems": "leave it out",
    "--blkio-weight": "there are no limits of disk traffic",
    "--device-read-bps": "there are no limits of disk traffic",
    "--device-write-bps": "there are no limits of disk traffic",
    "--domainname": "-J host.domainname=NAME",
    "--detach-keys": "ctrl-p ctrl-q detaches",
    "--sig-proxy": "signals are passed on to the process in a terminal",
    "--attach": "output is shown unless --detach is given; -i passes on input",
    "--annotation": "--label NAME=VALUE",
    "--opt": "leave it out",
    "--ipv6": "--subnet6 CIDR",
    "--squash": "an image has no layers to squash: every state is a snapshot",
    "--force-rm": "--rm, which removes a build that fails",
    "--load": "a build is on this host at once: leave it out",
    "--push": "there are no registries yet: leave it out",
    "--output": "klee cp CONTAINER:/PATH . takes files out",
    "--iidfile": "klee build -q prints the id",
    "--build-context": "name another image in COPY --from",
    "--cache-from": "every build finds every snapshot: leave it out, or see --cache-from-step",
    "--cache-to": "every state is kept as a snapshot: leave it out",
    "--details": "leave it out",
    "--digests": "images are named by their ids",
    "--size": "klee df -v tells what each object holds",
}
"""Options, and what does that here."""


_TOP = "leave it out: ids, user, start, processor time and command are shown, or what --format asks for"
_RMI = "an image that containers use stays: remove these first, klee rmc CONTAINER"
_FORMAT = "--format FORMAT"

OF_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "states:commit": {
        "-a": "-c 'LABEL author=NAME'",
        "--author": "-c 'LABEL author=NAME'",
        "-p": "leave it out: what is kept is a snapshot of one moment",
        "--pause": "leave it out: what is kept is a snapshot of one moment",
    },
    "listing:containers": {"-s": OPTIONS["--size"]},
    "listing:processes": dict.fromkeys(("-a", "-e", "-f", "-o", "-u", "-x"), _TOP),
    "stats:stats": {
        "-a": "leave it out: what does not run uses nothing",
        "--all": "leave it out: what does not run uses nothing",
        "--no-trunc": "leave it out: nothing is cut",
    },
    "volume:prune": {
        "-a": "leave it out: all go that no container mounts",
        "--all": "leave it out: all go that no container mounts",
    },
    "image:rm": {"-f": _RMI, "--force": _RMI},
    "container:stop": {
        "-s": "klee kill -s SIGNAL CONTAINER, or create it with --stop-signal",
        "--signal": "klee kill -s SIGNAL CONTAINER, or create it with --stop-signal",
    },
    "copy:cp": {"-q": "leave it out: it is quiet", "--quiet": "leave it out: it is quiet"},
    "system:version": {"-f": _FORMAT},
    "system:info": {"-f": _FORMAT},
    "build:build": {"-o": OPTIONS["--output"]},
}
"""The same of single commands, ``MODULE:FUNCTION``."""


def of_option(name: str, command: click.Command | None) -> str | None:
    """What to do in place of an option of Docker's; ``None`` if it is none."""
    callback = command.callback if command is not None else None
    place = f"{callback.__module__.rpartition('.')[2]}:{callback.__name__}" if callback else ""
    known = OF_COMMANDS.get(place, {}).get(name) or OPTIONS.get(name)
    return f"in Kleene: {known}" if known else None
