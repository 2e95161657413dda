"""Options for what a container may use and looks like inside, and what they mean to the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from kleene.cli import values
from kleene.cli.command import Misused, WholeNumber
from kleene.cli.labels import label_options, labels_of, lines_of
from kleene.errors import InvalidInput

F = TypeVar("F", bound=Callable[..., Any])


class Parsed(click.ParamType[Any]):
    """A value that a function reads.

    Args:
        name: what help calls it.
        read: raises InvalidInput for a text that it cannot read.
    """

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Read the value, or refuse it in click's way."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except InvalidInput as error:
            self.fail(f"{error.message}: {error.hint}" if error.hint else error.message, param, ctx)


RESTART = Parsed("POLICY", values.restart_policy)
_SIZE = Parsed("SIZE", values.size)
_DURATION = Parsed("DURATION", values.duration)
_MANY = {"multiple": True}

restart = click.option(
    "--restart",
    type=RESTART,
    metavar="POLICY",
    help="When to start the container by itself: no, on-startup (with kleened), on-failure[:N], always, or"
    " unless-stopped.  [default: no]",
)

env_file = click.option(
    "--env-file",
    multiple=True,
    metavar="FILE",
    help="Set the variables in FILE, NAME=VALUE or NAME a line; --env counts over it. Repeatable.",
)

_OPTIONS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--memory", {"type": _SIZE}, "Memory that it may use: 512m, 2g; 0 for no limit."),
    ("--memory-swap", {"type": _SIZE}, "Memory and swap together; -1 for no limit of swap."),
    (
        "--cpus",
        {"type": Parsed("NUMBER", values.number)},
        "Processors' worth of time: 1.5; 0 for no limit.",
    ),
    (
        "--pids-limit",
        {"type": WholeNumber(), "metavar": "N"},
        "Processes and threads; 0 for no limit.",
    ),
    (
        "--ulimit",
        {**_MANY, "metavar": "NAME=SOFT[:HARD]"},
        "Limit of each process, as nofile=1024:2048. Repeatable.",
    ),
    ("--cap-add", {**_MANY, "metavar": "NAME"}, "Give a capability, or ALL. Repeatable."),
    ("--cap-drop", {**_MANY, "metavar": "NAME"}, "Take a capability away, or ALL. Repeatable."),
    (
        "--read-only/--no-read-only",
        {"default": None},
        "Make the root file system read-only.",
    ),
    (
        "--tmpfs",
        {**_MANY, "metavar": "PATH[:OPTION,...]"},
        "Mount a file system in memory: /run:size=64m,mode=755. Repeatable.",
    ),
    (
        "--secret",
        {**_MANY, "metavar": "NAME[:PATH[:MODE]]"},
        "Give it a secret, as a file in memory; else /run/secrets/NAME, 0400. Repeatable.",
    ),
    (
        "--config",
        {**_MANY, "metavar": "NAME[:PATH[:MODE]]"},
        "Give it a config, as a read-only file; else /NAME, 0444. Repeatable.",
    ),
    ("--hostname", {"metavar": "NAME"}, "Host name in the container.  [default: its id]"),
    ("--stop-signal", {"metavar": "SIGNAL"}, "Signal that asks its processes to end."),
    (
        "--stop-timeout",
        {"type": _DURATION},
        "Time between that signal and the kill.  [default: 10s]",
    ),
    (
        "--add-host",
        {**_MANY, "metavar": "NAME:ADDRESS"},
        "Add a line to its /etc/hosts. Repeatable.",
    ),
    ("--dns", {**_MANY, "metavar": "ADDRESS"}, "Name server, in place of the host's. Repeatable."),
    (
        "--dns-search",
        {**_MANY, "metavar": "DOMAIN"},
        "Domain to look names up in, in place of the host's; '.' is none. Repeatable.",
    ),
    (
        "--dns-option",
        {**_MANY, "metavar": "OPTION"},
        "Option of resolv.conf, as ndots:1, in place of the host's. Repeatable.",
    ),
    (
        "--privileged/--no-privileged",
        {"default": None},
        "Let it do all that the daemon may, with all devices of the host.",
    ),
    (
        "--security-opt",
        {**_MANY, "metavar": "OPTION"},
        "no-new-privileges[=false], or seccomp=unconfined|default. Repeatable.",
    ),
    (
        "--device",
        {**_MANY, "metavar": "PATH[:PATH[:rwm]]"},
        "Give it a device of the host, as /dev/fuse. Repeatable.",
    ),
    (
        "--group-add",
        {**_MANY, "metavar": "GROUP"},
        "Further group of its processes, by name or number. Repeatable.",
    ),
    (
        "--sysctl",
        {**_MANY, "metavar": "NAME=VALUE"},
        "Kernel parameter of its own, as net.core.somaxconn=1024. Repeatable.",
    ),
    ("--shm-size", {"type": _SIZE}, "Size of its /dev/shm.  [default: 64m]"),
    (
        "--health-cmd",
        {"metavar": "COMMAND"},
        "Ask whether it is well by this command, given to /bin/sh -c.",
    ),
    ("--health-interval", {"type": _DURATION}, "Time between two checks.  [default: 30s]"),
    ("--health-timeout", {"type": _DURATION}, "Time that a check may take.  [default: 30s]"),
    (
        "--health-start-period",
        {"type": _DURATION},
        "Time after the start in which failures do not count.  [default: 0s]",
    ),
    (
        "--health-start-interval",
        {"type": _DURATION},
        "Time between two checks in the start period.  [default: 5s]",
    ),
    (
        "--health-retries",
        {"type": WholeNumber(), "metavar": "N"},
        "Failures in a row after which it is unhealthy.  [default: 3]",
    ),
    ("--no-healthcheck", {"is_flag": True}, "Do without the image's health check."),
)


def settings_options(function: F) -> F:
    """Options for a container's settings, when it is made and when it is changed."""
    function = label_options()(env_file(function))
    for name, attributes, text in reversed(_OPTIONS):
        function = click.option(name, help=text, **attributes)(function)
    return function


init = click.option(
    "--init",
    is_flag=True,
    help="For those who come from Docker: a container always has an init that reaps processes.",
)


def settings_config(options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The part of a ``ContainerConfig`` that :func:`settings_options` took; what was not given is left out.

    A repeatable option that is given as ``''`` alone takes all away.

    Raises:
        InvalidInput: a value or a file cannot be understood.
    """
    config = {
        name: options[name]
        for name in (
            "memory memory_swap cpus pids_limit read_only hostname stop_signal stop_timeout"
            " privileged shm_size"
        ).split()
    }
    for name, key, read in (
        ("ulimit", "ulimits", values.ulimit),
        ("cap_add", "cap_add", str),
        ("cap_drop", "cap_drop", str),
        ("tmpfs", "tmpfs", values.tmpfs),
        ("secret", "secrets", values.file_mount),
        ("config", "configs", values.file_mount),
        ("add_host", "add_hosts", str),
        ("dns", "dns", str),
        ("dns_search", "dns_search", str),
        ("dns_option", "dns_options", str),
        ("group_add", "group_add", str),
        ("device", "devices", values.device),
    ):
        if options[name]:
            config[key] = [read(word) for word in options[name] if word]
    if options["sysctl"]:
        config["sysctls"] = dict(values.pair("kernel parameter", w) for w in options["sysctl"] if w)
    for word in options["security_opt"]:
        config |= values.security_option(word)
    if options["label"] or options["label_file"]:
        config["labels"] = labels_of(options["label"], options["label_file"])
    config["healthcheck"] = _health_check(options)
    if options.get("restart") is not None:
        config["restart_policy"], retries = options["restart"]
        config["restart_retries"] = retries or None
    return {name: value for name, value in config.items() if value is not None}


def file_variables(options: Mapping[str, Any]) -> list[str]:
    """The lines of the files of variables."""
    return lines_of(options.get("env_file") or ())


def _health_check(options: Mapping[str, Any]) -> dict[str, Any] | None:
    command = options["health_cmd"]
    details = ("interval", "timeout", "start_period", "start_interval", "retries")
    given = {n: v for n in details if (v := options[f"health_{n}"]) is not None}
    if options["no_healthcheck"]:
        if command is not None or given:
            raise Misused(
                "a health check cannot be described and left out", hint="leave out --no-healthcheck"
            )
        return {"test": ["NONE"]}
    if command is not None:
        given["test"] = ["/bin/sh", "-c", command]
    return given or None
