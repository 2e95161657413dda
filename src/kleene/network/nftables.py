"""The firewall on Linux: one nftables table per daemon, which lives in the kernel until it is replaced.

Beside the table this owns ``net.ipv4.conf.<bridge>.route_localnet`` (ip-sysctl) of Kleene's bridges: it
lets the host reach published ports by 127.0.0.1, and may only be on while the table's ``loopback`` chain
guards it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from kleene.errors import CommandFailed, HostUnavailable
from kleene.host import process
from kleene.network.conntrack import forget_stale
from kleene.network.driver import NetworkRules, PortRules, Ruleset
from kleene.network.namespaces import in_own_thread
from kleene.network.ruleset import bridges_of_local_ports, render, render_removal, table_name

_CONF = Path("/proc/sys/net/ipv4/conf")

_EVERYTHING = Ruleset(
    [NetworkRules("k0", IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"), "k1", True, True)],
    [PortRules(["k1"], "tcp", (1, 2), (3, 4), "10.0.0.2", "fd00::2")],
)


class NftablesFirewall:
    """The rules of the daemon ``instance``, in the table ``kleene_<instance>``."""

    def __init__(self, instance: str) -> None:
        table_name(instance)
        self._instance = instance
        self._lock = asyncio.Lock()
        self._redirected: set[str] = set()
        self._had_udp = False

    async def probe(self) -> None:
        """See that this host has all that the rules need; changes nothing.

        Raises:
            HostUnavailable: ``nft`` is missing, or the kernel or the privileges do not suffice.
        """
        try:
            await _nft(render(self._instance, _EVERYTHING), "--check")
        except CommandFailed as error:
            raise HostUnavailable(
                "the firewall of this host cannot be used by nftables",
                hint="run as root, on a kernel of version 5.6 or later with nf_tables and NAT",
                details=error.details,
            ) from error

    async def apply(self, ruleset: Ruleset) -> None:
        """Replace all rules of this daemon in one transaction; nothing changes if it raises.

        Raises:
            HostUnavailable: ``nft`` is missing.
            CommandFailed: the kernel refused the rules.
        """
        script = render(self._instance, ruleset)
        reached, others = bridges_of_local_ports(ruleset)
        async with self._lock:
            await _nft(script)
            _route_localnet(self._redirected.difference(reached).union(others), on=False)
            _route_localnet(reached, on=True)
            self._redirected = set(reached)
            has_udp = any(port.protocol == "udp" for port in ruleset.ports)
            if has_udp or self._had_udp:
                # A kernel without ctnetlink has the rules none the less.
                with contextlib.suppress(OSError):
                    await in_own_thread(lambda: forget_stale(ruleset))
            self._had_udp = has_udp

    async def clear(self) -> None:
        """Remove all rules of this daemon.

        Raises:
            HostUnavailable: ``nft`` is missing.
            CommandFailed: the kernel refused.
        """
        async with self._lock:
            _route_localnet(await self._bridges_in_force(), on=False)
            await _nft(render_removal(self._instance))
            self._redirected = set()

    async def _bridges_in_force(self) -> list[str]:
        """Bridges that the table in the kernel knows, an earlier daemon's too (libnftables-json(5))."""
        argv = ["nft", "-j", "list", "set", "inet", table_name(self._instance), "bridges"]
        listed = await process.run(argv)
        if listed.status != 0:
            return []
        objects = json.loads(listed.stdout)["nftables"]
        return [name for item in objects for name in item.get("set", {}).get("elem", [])]


async def _nft(script: str, *options: str) -> None:
    """Have ``nft`` run a script as one transaction."""
    try:
        done = await process.run(["nft", *options, "-f", "-"], stdin=script.encode())
    except HostUnavailable as error:
        raise HostUnavailable(error.message, hint="install it: apt-get install nftables") from error
    done.check()


def _route_localnet(bridges: Iterable[str], *, on: bool) -> None:
    """A bridge that is gone needs nothing."""
    for bridge in bridges:
        with contextlib.suppress(FileNotFoundError):
            (_CONF / bridge / "route_localnet").write_text("1" if on else "0")
