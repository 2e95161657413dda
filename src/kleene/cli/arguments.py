"""What users write for mounts, ports and variables, read into the API's configurations."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kleene.cli.command import Misused
from kleene.cli.settings_options import file_variables, settings_config
from kleene.schemas.constants import AUTO

_DRIVERS = {"host": "host", "none": "disabled"}
"""What Docker's users write for ``--network``, and the network driver that means: no network is called so."""

_PORT_FORM = "write HOST[:CONTAINER][/tcp|udp] or INTERFACE:HOST:CONTAINER[/tcp|udp]"
_MOUNT_FORM = (
    "write SOURCE:DESTINATION[:rw|ro]; a SOURCE with '/' or '.' first is a path of the host"
)
_MOUNT_FIELDS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_MOUNT_FIELDS_FORM = "write type=bind|volume,source=SOURCE,target=/PATH[,readonly]"
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_SIZE = re.compile(r"[0-9.]+[bkmgBKMG]?[bB]?")


def container_config(options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The ``ContainerConfig`` of what ``options.container_options`` took.

    Raises:
        Misused: a mount, port or address cannot be understood.
    """
    network = network_of(options)
    if network is None and (options.get("ip") or options.get("ip6")):
        raise Misused("an address needs a network", hint="name the network: --network NETWORK")
    wanted = _DRIVERS.get(options.get("network") or "host", "ipnet")
    driver = options.get("driver") or wanted
    if network is not None and driver in ("host", "disabled"):
        raise Misused(
            f"a container with driver '{driver}' cannot be on a network",
            hint="leave out --network, or use --driver ipnet or vnet",
        )
    return {
        "user": options["user"],
        "env": variables(options["env"], environ),
        "mounts": [mount(m) for m in options["mount"]],
        "jail_param": list(options["jailparam"]),
        "network_driver": driver,
    }


def network_of(options: Mapping[str, Any]) -> str | None:
    """The network of ``--network``; ``None`` for what means a driver."""
    network: str | None = options.get("network")
    return None if network in _DRIVERS else network


def creation_config(options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The ``ContainerConfig`` of what ``options.creation_options`` took."""
    own = settings_config(options, environ)
    variables_of_files = variables(file_variables(options), environ)
    config = container_config(options, environ)
    config["env"] = variables_of_files + config["env"]
    return (
        {"restart_policy": "no"}
        | own
        | config
        | {
            "name": options["name"],
            "image": options["image"],
            "cmd": list(options["command"]),
            "persist": options["persist"],
            "public_ports": [port(p) for p in options["publish"]],
            "auto_remove": options["rm"],
            "workdir": options["workdir"],
            "entrypoint": _entrypoint(options["entrypoint"]),
        }
    )


def _entrypoint(program: str | None) -> list[str] | None:
    if program is None:
        return None
    return [program] if program else []


def endpoint(
    network: str, container: str, ip: str | None = None, ip6: str | None = None
) -> dict[str, Any]:
    """An ``EndPointConfig``; an address that was not named is taken from the subnet."""
    return {
        "container": container,
        "network": network,
        "ip_address": AUTO if ip is None else ip,
        "ip_address6": AUTO if ip6 is None else ip6,
    }


def variables(words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """``NAME=VALUE`` for each ``NAME=VALUE`` or, of what ``environ`` has, ``NAME``."""
    return [f"{name}={value}" for name, value in _pairs(words, environ)]


def build_arguments(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The same as a mapping; the last one of a name counts."""
    return dict(_pairs(words, environ))


def _pairs(words: Sequence[str], environ: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, given, value = word.partition("=")
        if not name:
            raise Misused(f"variable '{word}' has no name", hint="write NAME=VALUE or NAME")
        if given or name in environ:
            pairs.append((name, value if given else environ[name]))
    return pairs


def mount(text: str) -> dict[str, Any]:
    """The ``MountPointConfig`` of ``SOURCE:DESTINATION[:rw|ro]``, or of ``type=...,source=...,target=...``.

    Raises:
        Misused: a part is missing, empty or unknown.
    """
    if "=" in text.partition(",")[0] and not text.startswith("/"):
        return _mount_of_fields(text)
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        hint = f"to limit memory: --memory {text}" if _SIZE.fullmatch(text) else _MOUNT_FORM
        hint = (
            f"name a volume for it: -m NAME:{text}" if len(parts) == 1 and text[:1] == "/" else hint
        )
        raise Misused(f"mount '{text}' cannot be understood", hint=hint)
    mode = parts[2] if len(parts) == 3 else "rw"
    if mode not in ("rw", "ro"):
        raise Misused(f"mount '{text}' has the unknown mode '{mode}'", hint=_MOUNT_FORM)
    if not parts[1].startswith("/"):
        raise Misused(
            f"mount '{text}' has the relative destination '{parts[1]}'",
            hint="the destination is an absolute path in the container",
        )
    source = _absolute(parts[0])
    return {
        "type": "nullfs" if source.startswith("/") else "volume",
        "source": source,
        "destination": parts[1],
        "read_only": mode == "ro",
    }


def _absolute(source: str) -> str:
    """A path that begins with '.', as no volume's name does, from the root on; all else as it is."""
    return os.path.abspath(source) if source.startswith(".") else source  # noqa: PTH100 - pathlib is dear


def _mount_of_fields(text: str) -> dict[str, Any]:
    """As Docker's ``--mount`` has it."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        name = _MOUNT_FIELDS.get(name, name)
        if name not in ("type", "source", "target", "readonly") or name in fields:
            raise Misused(f"mount '{text}' has the unknown part '{part}'", hint=_MOUNT_FIELDS_FORM)
        fields[name] = value
    kind, source, target = (fields.get(name, "") for name in ("type", "source", "target"))
    if kind == "tmpfs":
        raise Misused(
            f"mount '{text}' is a file system in memory",
            hint=f"write --tmpfs {target or '/PATH'}[:size=64m]",
        )
    if kind not in ("", "volume", "bind") or not source or not target:
        raise Misused(f"mount '{text}' cannot be understood", hint=_MOUNT_FIELDS_FORM)
    if source.startswith(("/", ".")) == (kind != "bind"):
        wanted = "the path of a bind mount begins" if kind == "bind" else "a volume does not begin"
        raise Misused(f"mount '{text}': {wanted} with '/'", hint=_MOUNT_FIELDS_FORM)
    read_only = fields.get("readonly", "false") not in ("false", "0")
    return mount(f"{source}:{target}:{'ro' if read_only else 'rw'}")


def port(text: str) -> dict[str, Any]:
    """The ``PublishedPortConfig`` of ``[INTERFACE:]HOST[:CONTAINER][/PROTOCOL]``.

    A port may be a range, ``FIRST-LAST``; the container's may then be left out or just be its first.

    Raises:
        Misused: a part is missing, no port, or the two ranges differ in length.
    """
    ports, slash, protocol = text.partition("/")
    if slash and protocol not in ("tcp", "udp"):
        raise Misused(f"port '{text}' has the unknown protocol '{protocol}'", hint=_PORT_FORM)
    parts = ports.split(":")
    if len(parts) > 3 or (len(parts) == 3 and not parts[0]):
        raise Misused(f"port '{text}' cannot be understood", hint=_PORT_FORM)
    interface = parts.pop(0) if len(parts) == 3 else ""
    if _ADDRESS.fullmatch(interface):
        other = ":".join(parts)
        everywhere = f"leave it out to publish on the default interface: -p {other}"
        hint = f"name its interface, as lo or eth0: -p lo:{other}; or {everywhere}"
        raise Misused(f"port '{text}' names the address '{interface}', not an interface", hint=hint)
    host = _range(text, parts[0])
    container = _range(text, parts[-1])
    host_port, container_port = _as_documented(text, host, container)
    return {
        "interfaces": [interface] if interface else [],
        "host_port": host_port,
        "container_port": container_port,
        "protocol": protocol or "tcp",
    }


def _range(text: str, ports: str) -> tuple[int, int]:
    first, dash, last = ports.partition("-")
    low = _number(text, first)
    high = _number(text, last) if dash else low
    if low > high:
        raise Misused(f"port '{text}' has a range that ends before it begins")
    return low, high


def _number(text: str, digits: str) -> int:
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
    if not 0 < number < 65536:
        raise Misused(f"port '{text}' has no valid port number '{digits}'", hint=_PORT_FORM)
    return number


def _as_documented(text: str, host: tuple[int, int], container: tuple[int, int]) -> tuple[str, str]:
    """Ranges as the API writes them: ``FIRST:LAST`` for the host, ``FIRST:*`` for the container."""
    host_count = host[1] - host[0]
    if container[1] - container[0] not in (0, host_count):
        raise Misused(
            f"port '{text}' has ranges of different lengths",
            hint="give the container's ports by their first only: 8000-8010:9000",
        )
    if host_count == 0:
        return str(host[0]), str(container[0])
    if container[0] + host_count > 65535:
        raise Misused(f"port '{text}' has a range that ends past 65535")
    return f"{host[0]}:{host[1]}", f"{container[0]}:*"
