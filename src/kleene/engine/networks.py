"""Networks: made, listed, inspected, removed. How containers are connected to them: ``endpoints``."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)

from kleene import names
from kleene.engine import lookup
from kleene.engine.core import Core, log, now
from kleene.engine.endpoints import Endpoints
from kleene.engine.filters import Words
from kleene.engine.pruning import prune
from kleene.errors import Conflict, InvalidInput, KleeneError, NotFound
from kleene.metadata.networks import NetworkRecord
from kleene.network import ipam
from kleene.network.driver import ANY_INTERFACE, Bridge
from kleene.network.interfaces import check_interface_name
from kleene.schemas.networks import (
    AUTO,
    HOST_GATEWAY,
    EndPointConfig,
    Network,
    NetworkConfig,
    NetworkInspect,
    NetworkType,
)

_LOCK = "networks"
_PREFIX = "kleene"
_ANY_SUBNET = IPv4Network("10.0.0.0/24")
"""As large as this is the subnet that a network is given."""


class Networks:
    """All that can be done with networks."""

    def __init__(self, core: Core, endpoints: Endpoints) -> None:
        self._core = core
        self._endpoints = endpoints
        self._store = core.networks
        self._links = core.platform.links

    async def create(self, config: NetworkConfig) -> str:
        """Make a network with its interface and its firewall rules; its id.

        Raises:
            InvalidInput, Conflict: the name, the subnet or the interface cannot be used.
        """
        async with self._core.locks.hold(_LOCK), contextlib.AsyncExitStack() as undo:
            record = await self._describe(config)
            try:
                self._store.networks.insert(record)
            except sqlite3.IntegrityError as error:
                raise Conflict(
                    f"network name '{record.name}' is taken",
                    hint=f"choose another, or remove that network: klee rmn {record.name}",
                ) from error
            undo.push_async_callback(self._endpoints.refresh_firewall)
            undo.callback(self._store.networks.delete, record.id)
            if record.type != "custom":
                undo.push_async_callback(self._links.delete_link, record.interface)
            await self._set_up(record)
            await self._endpoints.refresh_firewall()
            undo.pop_all()
        self._core.events.emit("network", "create", record.id, record.name)
        return record.id

    async def _describe(self, config: NetworkConfig) -> NetworkRecord:
        if config.type == "custom" and config.internal:
            raise InvalidInput(
                f"custom network '{config.name}' cannot be internal",
                hint="the interface is yours, and its traffic is not filtered: leave out --internal",
            )
        subnet = ipam.parse_subnet4(config.subnet) if config.subnet else None
        subnet6 = ipam.parse_subnet6(config.subnet6) if config.subnet6 else None
        names.check_labels(config.labels)
        taken = await self._taken(config.type)
        if subnet is None and subnet6 is None:
            subnet = _free_subnet(config, [held for _, held in taken])
        for wanted in (subnet, subnet6):
            if wanted is not None:
                ipam.check_overlap(wanted, taken)
        return NetworkRecord(
            id=names.new_id(),
            name=_checked_name(config.name),
            type=config.type,
            subnet=str(subnet or ""),
            subnet6=str(subnet6 or ""),
            gateway=_gateway(config.type, config.gateway, subnet),
            gateway6=_gateway(config.type, config.gateway6, subnet6),
            nat=await self._nat(config),
            icc=config.icc,
            internal=config.internal,
            interface=await self._interface(config),
            created=now(),
            labels=config.labels,
        )

    async def _taken(self, kind: NetworkType) -> list[tuple[str, IPv4Network | IPv6Network]]:
        """The subnets that a new network may not have, and who has them."""
        taken: list[tuple[str, IPv4Network | IPv6Network]] = [
            (f"network '{network.name}'", ip_network(text))
            for network in self._store.networks.where()
            for text in (network.subnet, network.subnet6)
            if text
        ]
        if kind != "custom":
            # A custom network is made over an interface that has the subnet already.
            taken += [("the host", held) for held in await self._links.host_subnets()]
        return taken

    async def _nat(self, config: NetworkConfig) -> str:
        if config.internal or not config.nat:
            return ""
        if config.nat == HOST_GATEWAY:
            return await self._links.default_interface() or ANY_INTERFACE
        return await self._existing(config.nat)

    async def _interface(self, config: NetworkConfig) -> str:
        if config.type == "custom":
            if not config.interface:
                raise InvalidInput(
                    f"custom network '{config.name}' names no interface",
                    hint="name one of the host: klee network create --type custom -i IFACE ...",
                )
            await self._links.check_bridge(config.interface)
            return config.interface
        present = set(await self._links.links())
        if config.interface:
            if config.interface in present:
                raise Conflict(
                    f"interface '{config.interface}' exists on the host",
                    hint="choose another name, or leave it out to be given one",
                )
            return check_interface_name(config.interface)
        taken = present | {network.interface for network in self._store.networks.where()}
        return next(n for i in range(len(taken) + 1) if (n := f"{_PREFIX}{i}") not in taken)

    async def _existing(self, interface: str) -> str:
        check_interface_name(interface)
        present = await self._links.links()
        if interface not in present:
            raise NotFound(
                f"no such interface: '{interface}'", hint=f"the host has: {', '.join(present)}"
            )
        return interface

    async def _set_up(self, record: NetworkRecord) -> None:
        await self._links.enable_forwarding(ipv6=bool(record.subnet6))
        if record.type != "custom":
            await self._links.create_bridge(Bridge(record.interface, _host_addresses(record)))

    async def restore(self) -> None:
        """After a start: have every network's interface, and no namespace of a container that is down."""
        for record in self._store.networks.where():
            try:
                await self._set_up(record)
            except KleeneError as error:
                log.error("network %s cannot be set up: %s", record.name, error.message)
        running = {record.id for record in self._core.containers.running()}
        for namespace in await self._links.namespaces():
            if namespace not in running:
                await self._links.delete_namespace(namespace)

    async def inspect(self, reference: str) -> NetworkInspect:
        """A network and the endpoints on it."""
        record = lookup.network(self._store, reference)
        endpoints = self._store.endpoints_of_network(record.id)
        return NetworkInspect(_wire(record), [self._endpoints.wire(e) for e in endpoints])

    async def connect(self, config: EndPointConfig) -> None:
        """Connect a container, running or not, to a network.

        Raises:
            Conflict: its driver has no networks, it is connected already, or no address is free.
        """
        container = lookup.container(self._core.containers, config.container)
        async with self._core.locks.hold(f"container/{container.id}"):
            await self._endpoints.connect(container, config)
        network = lookup.network(self._store, config.network)
        self._core.events.emit(
            "network", "connect", network.id, network.name, container=container.name
        )

    async def disconnect(self, reference: str, container_reference: str) -> None:
        """Disconnect a container, running or not, from a network.

        Raises:
            NotFound: it is not connected to it.
        """
        network = lookup.network(self._store, reference)
        container = lookup.container(self._core.containers, container_reference)
        async with self._core.locks.hold(f"container/{container.id}"):
            await self._endpoints.disconnect(network, container)
        self._core.events.emit(
            "network", "disconnect", network.id, network.name, container=container.name
        )

    async def remove(self, reference: str) -> str:
        """Remove a network; containers on it are disconnected, those that run too.

        Raises:
            Conflict: a container was connected to it and started meanwhile.
        """
        record = lookup.network(self._store, reference)
        for endpoint in self._store.endpoints_of_network(record.id):
            with contextlib.suppress(NotFound):  # somebody else disconnected or removed it
                await self.disconnect(record.id, endpoint.container_id)
        async with self._core.locks.hold(_LOCK):
            for endpoint in self._store.endpoints_of_network(record.id):
                container = self._core.containers.containers.get(endpoint.container_id)
                if container is not None and container.running:
                    raise Conflict(
                        f"network '{record.name}' is used by running container '{container.name}'",
                        hint=f"stop it first: klee stop {container.name}",
                    )
            self._store.networks.delete(record.id)
            await self._endpoints.refresh_firewall()
            if record.type != "custom":
                await self._links.delete_link(record.interface)
        self._core.events.emit("network", "remove", record.id, record.name)
        return record.id

    async def prune(self, filters: Words = ()) -> list[str]:
        """Remove every network that no container is connected to and the filters fit; their ids."""
        unused = (
            record
            for record in self._store.networks.where()
            if not self._store.endpoints_of_network(record.id)
        )
        return await prune(unused, filters, self._remove_unused)

    async def _remove_unused(self, record: NetworkRecord) -> str:
        if self._store.endpoints_of_network(record.id):
            raise Conflict(f"network '{record.name}' is used by now")
        return await self.remove(record.id)

    async def list(self) -> list[Network]:
        """All networks, oldest first."""
        return [_wire(record) for record in self._store.networks.where()]


def _checked_name(name: str) -> str:
    if name in ("host", "none"):
        raise InvalidInput(
            f"network name '{name}' has a meaning of its own", hint="choose another name"
        )
    return names.check_object_name("network", name)


def _free_subnet(config: NetworkConfig, taken: Sequence[ipam.Subnet]) -> IPv4Network:
    """The subnet of a network that names none.

    Raises:
        InvalidInput: it is over an interface that has one; or none is free.
    """
    found = None if config.type == "custom" else ipam.free_subnet(_ANY_SUBNET, taken)
    if not isinstance(found, IPv4Network):
        raise InvalidInput(
            f"network '{config.name}' has no subnet",
            hint="give it one: klee network create --subnet 10.13.37.0/24 NAME",
        )
    return found


def _gateway(kind: NetworkType, wanted: str, subnet: IPv4Network | IPv6Network | None) -> str:
    """A loopback network always has one: on Linux its containers reach the host only through it."""
    if subnet is None:
        return ""
    if wanted == AUTO or (not wanted and kind == "loopback"):
        return "" if kind == "custom" else str(ipam.first_address(subnet))
    return str(ipam.parse_gateway(wanted, subnet)) if wanted else ""


def _host_addresses(record: NetworkRecord) -> list[IPv4Interface | IPv6Interface]:
    """The bridge has the gateway's address if it is the first of the subnet; any other is a router
    of the user's."""
    pairs = ((record.gateway, record.subnet), (record.gateway6, record.subnet6))
    return [
        ip_interface(f"{gateway}/{subnet.partition('/')[2]}")
        for gateway, subnet in pairs
        if gateway and gateway == str(ipam.first_address(ip_network(subnet)))
    ]


def _wire(record: NetworkRecord) -> Network:
    return Network(
        id=record.id,
        name=record.name,
        type=record.type,
        subnet=record.subnet,
        subnet6=record.subnet6,
        gateway=record.gateway,
        gateway6=record.gateway6,
        nat=record.nat,
        icc=record.icc,
        internal=record.internal,
        interface=record.interface,
        labels=record.labels,
        created=record.created,
    )
