"""``klee network``: create, rm, prune, connect, disconnect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.arguments import endpoint
from kleene.cli.command import OneOf, command, prune_filter
from kleene.cli.labels import label_options, labels_of
from kleene.cli.options import force_prompt, ip, ip6, missing_ok
from kleene.cli.output import each
from kleene.cli.prompt import may_prune
from kleene.cli.session import Session, pass_session
from kleene.schemas.constants import AUTO, HOST_GATEWAY


@command(
    examples=(
        "klee network create --subnet 10.13.37.0/24 testnet",
        "klee network create -t bridge --subnet 10.1.0.0/16 --gw 10.1.0.254 --no-nat lab",
        "klee network create --label team=web web",
    )
)
@click.option(
    "--type",
    "-t",
    "--driver",
    "-d",
    "type",
    type=OneOf(["loopback", "bridge", "custom"]),
    default="loopback",
    show_default=True,
    help="What connects the containers; custom: an interface that exists.",
)
@click.option("--interface", "-i", default="", help="Interface of the host; else Kleene names it.")
@click.option(
    "--subnet",
    default="",
    metavar="CIDR",
    help="IPv4 subnet, such as 10.13.37.0/24; else a free one.",
)
@click.option("--subnet6", default="", metavar="CIDR", help="IPv6 subnet.")
@click.option(
    "--gw",
    "--gateway",
    "gw",
    default="auto",
    show_default=True,
    metavar="ADDRESS",
    help="Gateway; auto: the first address of the subnet; '': none.",
)
@click.option(
    "--gw6", default="auto", show_default=True, metavar="ADDRESS", help="IPv6 gateway, likewise."
)
@click.option(
    "--nat/--no-nat",
    default=True,
    show_default=True,
    help="Translate the addresses of outgoing traffic.",
)
@click.option(
    "--nat-if",
    metavar="INTERFACE",
    help="Translate to that of INTERFACE; else the default route's.",
)
@click.option(
    "--icc/--no-icc", default=True, show_default=True, help="Let the containers reach each other."
)
@click.option("--internal", is_flag=True, help="Forbid outgoing traffic.")
@label_options()
@click.argument("name")
@pass_session
def create(session: Session, /, **options: Any) -> None:
    """Create a network.

    Without a subnet it is given a free private one of 254 addresses.
    """
    if options["type"] == "custom" and not options["interface"]:
        raise click.UsageError("a custom network needs --interface")
    click.echo(session.client.networks.create(network_config(options)))


def network_config(options: dict[str, Any]) -> dict[str, Any]:
    """The ``NetworkConfig`` of the options of ``create``."""
    return {
        **{k: options[k] for k in ("name", "type", "subnet", "subnet6", "icc", "internal")},
        "interface": options["interface"],
        "gateway": AUTO if options["gw"] == "auto" else options["gw"],
        "gateway6": AUTO if options["gw6"] == "auto" else options["gw6"],
        "nat": (options["nat_if"] or HOST_GATEWAY) if options["nat"] else "",
        "labels": labels_of(options["label"], options["label_file"]),
    }


@command(examples=("klee rmn testnet",))
@missing_ok
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@pass_session
def rm(session: Session, networks: Sequence[str], force: bool) -> int:
    """Remove networks; their containers are disconnected."""
    return each(networks, session.client.networks.remove, missing_ok=force)


@command(examples=("klee network prune -f", "klee network prune --filter label=team=web"))
@prune_filter()
@force_prompt
@pass_session
def prune(session: Session, filters: Sequence[str], force: bool) -> int:
    """Remove the networks without containers."""
    if not may_prune("all networks without containers", force, filters):
        return 1
    for network in session.client.networks.prune(filters=filters):
        click.echo(network)
    return 0


@command(
    examples=(
        "klee network connect testnet web",
        "klee network connect --ip 10.13.37.9 testnet web",
    )
)
@ip
@ip6
@click.argument("network")
@click.argument("container")
@pass_session
def connect(
    session: Session, network: str, container: str, ip: str | None, ip6: str | None
) -> None:
    """Connect CONTAINER to NETWORK, also while it runs."""
    session.client.networks.connect(endpoint(network, container, ip, ip6))


@command(examples=("klee network disconnect testnet web",))
@click.argument("network")
@click.argument("container")
@pass_session
def disconnect(session: Session, network: str, container: str) -> None:
    """Take CONTAINER off NETWORK, also while it runs."""
    session.client.networks.disconnect(network, container)
