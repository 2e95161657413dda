"""Options that several commands share."""

from __future__ import annotations

import click

from kleene.cli.command import OneOf, together
from kleene.cli.settings_options import init, restart, settings_options

# What follows the image or container belongs to the command in it, options too.
COMMAND_LAST = {"allow_interspersed_args": False}


jailparam = click.option(
    "--jailparam",
    "-J",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Jail parameter, such as allow.raw_sockets. Repeatable.",
)
env = click.option(
    "--env",
    "-e",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Environment variable; without VALUE, the one that klee has. Repeatable.",
)
ip = click.option("--ip", metavar="ADDRESS", help="IPv4 address; else an unused one of the subnet.")
ip6 = click.option(
    "--ip6", metavar="ADDRESS", help="IPv6 address; else an unused one of the subnet."
)
missing_ok = click.option("--force", "-f", is_flag=True, help="Pass over those that are not there.")
force_prompt = click.option("--force", "-f", is_flag=True, help="Do not ask.")

container_options = together(
    click.option("--user", "-u", default="", metavar="USER[:GROUP]", help="Run processes as USER."),
    env,
    click.option(
        "--mount",
        "-m",
        "--volume",
        "-v",
        "mount",
        multiple=True,
        metavar="SOURCE:DESTINATION[:rw|ro]",
        help="Mount a volume, or a path of the host if SOURCE begins with '/' or '.'; also as"
        " type=bind|volume,source=...,target=...,readonly. Repeatable.",
    ),
    jailparam,
    click.option(
        "--driver",
        "-l",
        type=OneOf(["host", "ipnet", "vnet", "disabled"]),
        help="Network driver.  [default: ipnet with a network, else host]",
    ),
    click.option(
        "--network",
        "-n",
        metavar="NETWORK",
        help="Connect the container to NETWORK; host and none are the drivers host and disabled.",
    ),
    ip,
    ip6,
)
"""Configure a container, also the one that an image is built in."""

creation_options = together(
    click.option("--name", metavar="NAME", help="Name of the container; else one is invented."),
    container_options,
    click.option(
        "--publish",
        "-p",
        multiple=True,
        metavar="PORT",
        help="Publish a port: HOST[:CONTAINER][/PROTOCOL] or INTERFACE:HOST:CONTAINER[/PROTOCOL];"
        " HOST may be a range, 8000-8010. Repeatable.",
    ),
    click.option("--persist", "-P", is_flag=True, help="Spare the container when pruning."),
    restart,
    click.option(
        "--workdir", "-w", metavar="PATH", help="Start processes in PATH; it is made if missing."
    ),
    click.option(
        "--entrypoint",
        metavar="PROGRAM",
        help="Put PROGRAM before the command, in place of the image's entrypoint; '' for nothing.",
    ),
    click.option("--rm", is_flag=True, help="Remove the container when it stops."),
    click.option(
        "--cidfile", metavar="FILE", help="Write the container's id to FILE, which must not exist."
    ),
    init,
    settings_options,
)
"""Configure a new container."""

process_options = together(
    click.option("--detach", "-d", is_flag=True, help="Only start the process; -i overrides this."),
    click.option("--interactive", "-i", is_flag=True, help="Pass on standard input."),
    click.option("--tty", "-t", is_flag=True, help="Give the process a terminal."),
)
"""Say how a process is connected to ``klee``."""

quiet = click.option(
    "--quiet", "-q", is_flag=True, help="Print only what the process writes (with -d: the id)."
)
