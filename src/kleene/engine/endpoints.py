"""Endpoints: which address a container has on which network, its interfaces while it is up, its
published ports, and the firewall's ruleset, which follows from all networks and endpoints together.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from kleene import names
from kleene.engine import lookup
from kleene.engine.core import Core
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.networks import EndpointRecord, NetworkRecord
from kleene.network import ipam
from kleene.network.driver import (
    ANY_INTERFACE,
    Attachment,
    NetworkRules,
    PortRules,
    Ruleset,
)
from kleene.network.ports import PublishedRange, check_published, parse_published
from kleene.runtime.driver import Network as RuntimeNetwork
from kleene.schemas.containers import NetworkDriver, PublishedPort, PublishedPortConfig
from kleene.schemas.networks import AUTO, EndPoint, EndPointConfig

_WITH_NAMESPACE = ("ipnet", "vnet")


class Endpoints:
    """Connections of containers to networks. Callers hold the container's lock."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.networks
        self._links = core.platform.links

    # Connecting

    async def connect(self, container: ContainerRecord, config: EndPointConfig) -> None:
        """Give a container an address on a network, and an interface at once if it runs.

        Raises:
            NotFound: no such network.
            Conflict: its driver has no networks, it is connected already, or no address is free.
        """
        network = lookup.network(self._store, config.network)
        if container.network_driver not in _WITH_NAMESPACE:
            raise Conflict(
                f"container '{container.name}' has network driver '{container.network_driver}', "
                "which has no networks",
                hint="create it with -l ipnet or -l vnet",
            )
        endpoint = EndpointRecord(
            id=names.new_id(),
            container_id=container.id,
            network_id=network.id,
            position=self._free_position(container),
            ip_address=self._allocate(network, network.subnet, network.gateway, config.ip_address),
            ip_address6=self._allocate(
                network, network.subnet6, network.gateway6, config.ip_address6
            ),
        )
        async with contextlib.AsyncExitStack() as undo:
            try:
                self._store.endpoints.insert(endpoint)
            except sqlite3.IntegrityError as error:
                raise Conflict(
                    f"container '{container.name}' is already connected to '{network.name}'",
                    hint=f"disconnect it first: klee network disconnect {network.name} "
                    f"{container.name}",
                ) from error
            undo.callback(self._store.endpoints.delete, endpoint.id)
            if container.running:
                await self._attach(container, endpoint)
                await self.refresh_firewall()
            undo.pop_all()

    def check_driver(self, container: ContainerRecord, driver: NetworkDriver) -> None:
        """See that a container may have this driver.

        Raises:
            Conflict: it is connected to networks, which the driver cannot have.
        """
        connected = self._store.endpoints_of_container(container.id)
        if connected and driver not in _WITH_NAMESPACE:
            network = self._store.networks.get(connected[0].network_id)
            assert network is not None
            raise Conflict(
                f"container '{container.name}' is connected to network '{network.name}', which "
                f"network driver '{driver}' does not allow",
                hint=f"disconnect it first: klee network disconnect {network.name} {container.name}",
            )

    def _free_position(self, container: ContainerRecord) -> int:
        taken = {e.position for e in self._store.endpoints_of_container(container.id)}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _allocate(
        self, network: NetworkRecord, subnet: str, gateway: str, wanted: str
    ) -> str | None:
        if not subnet:
            if wanted not in ("", AUTO):
                raise InvalidInput(
                    f"network '{network.name}' has no subnet for address '{wanted}'",
                    hint=f"klee network inspect {network.name} shows its subnets",
                )
            return None
        if not wanted:
            return None
        space = ip_network(subnet)
        router = ip_address(gateway) if gateway else None
        taken = {
            ip_address(text)
            for endpoint in self._store.endpoints_of_network(network.id)
            for text in (endpoint.ip_address, endpoint.ip_address6)
            if text
        }
        if wanted == AUTO:
            return str(ipam.next_address(space, router, taken))
        return str(ipam.check_address(wanted, space, router, taken))

    async def disconnect(self, network: NetworkRecord, container: ContainerRecord) -> None:
        """Take a container's connection away.

        Raises:
            NotFound: it is not connected to this network.
        """
        endpoint = self._store.endpoint(network.id, container.id)
        if endpoint is None:
            raise NotFound(
                f"container '{container.name}' is not connected to network '{network.name}'",
                hint=f"klee container inspect {container.name} shows its networks",
            )
        self._store.endpoints.delete(endpoint.id)
        if container.running:
            await self._links.detach(_host_interface(endpoint))
            await self.refresh_firewall()

    # Going up and down

    async def set_up(self, container: ContainerRecord) -> RuntimeNetwork:
        """Make what a container that goes up needs of the network."""
        if container.network_driver == "host":
            return RuntimeNetwork("host")
        if container.network_driver == "disabled":
            return RuntimeNetwork("none")
        path = await self._links.create_namespace(container.id)
        for endpoint in self._store.endpoints_of_container(container.id):
            await self._attach(container, endpoint)
        return RuntimeNetwork("namespace", path)

    def host_address(self, container: ContainerRecord) -> str:
        """Where a container reaches the host: the gateway of its first network.

        Raises:
            InvalidInput: it is on no network with a gateway.
        """
        if container.network_driver == "host":
            return "127.0.0.1"
        for endpoint in self._store.endpoints_of_container(container.id):
            network = self._store.networks.get(endpoint.network_id)
            if network is not None and (gateway := network.gateway or network.gateway6):
                return gateway
        raise InvalidInput(
            f"container '{container.name}' has no 'host-gateway': it is on no network with a gateway",
            hint="connect it to one: klee network connect NETWORK CONTAINER",
        )

    async def release(self, container: ContainerRecord) -> None:
        """Take away what :meth:`set_up` made; nothing happens if there is nothing."""
        await self._links.delete_namespace(container.id)

    async def _attach(self, container: ContainerRecord, endpoint: EndpointRecord) -> None:
        network = self._store.networks.get(endpoint.network_id)
        assert network is not None
        families = (
            (endpoint.ip_address, network.subnet, network.gateway),
            (endpoint.ip_address6, network.subnet6, network.gateway6),
        )
        # Without an address of a family there is no way to its gateway.
        had = [(address, subnet, gateway) for address, subnet, gateway in families if address]
        await self._links.attach(
            container.id,
            Attachment(
                bridge=network.interface,
                host_name=_host_interface(endpoint),
                container_name=f"eth{endpoint.position}",
                addresses=[
                    ip_interface(f"{address}/{subnet.partition('/')[2]}")
                    for address, subnet, _ in had
                ],
                gateways=[gateway for _, _, gateway in had if gateway],
                isolated=not network.icc,
            ),
        )

    # Published ports

    async def _check_interfaces(self, wanted: set[str]) -> None:
        """A port on an interface that is not there would never be reached, and nobody would say why."""
        if not wanted:
            return
        present = await self._links.links()
        for name in sorted(wanted - {*present, ANY_INTERFACE}):
            raise NotFound(
                f"no such interface: '{name}'", hint=f"the host has: {', '.join(present)}"
            )

    async def resolve_ports(
        self,
        ports: Sequence[PublishedPortConfig],
        driver: NetworkDriver,
        container: str,
    ) -> list[PublishedPortConfig]:
        """The ports with their interfaces named, checked against those of the other containers.

        Raises:
            InvalidInput: a port cannot be understood, or the driver cannot publish.
            NotFound: the host has no interface of a name.
            Conflict: a port is published already.
        """
        if not ports:
            return []
        if driver not in _WITH_NAMESPACE:
            raise InvalidInput(
                f"network driver '{driver}' cannot publish ports: the container has no address of "
                "its own",
                hint="put it on a network, klee run -n NETWORK -p ...; klee network create NETWORK makes one",
            )
        await self._check_interfaces({name for port in ports for name in port.interfaces})
        default = [await self._default_interface()] if any(not p.interfaces for p in ports) else []
        named = [
            PublishedPortConfig(p.interfaces or default, p.host_port, p.container_port, p.protocol)
            for p in ports
        ]
        others = [
            (record.name, _range(port))
            for record in self._core.containers.containers.where()
            if record.id != container
            for port in record.ports
        ]
        check_published([_range(port) for port in named], others)
        return named

    async def _default_interface(self) -> str:
        interface = await self._links.default_interface()
        if interface is None:
            raise InvalidInput(
                "the host has no default route, so no interface to publish on",
                hint="name one: klee run -p INTERFACE:HOST_PORT:CONTAINER_PORT ...",
            )
        return interface

    def published(self, container: ContainerRecord) -> list[PublishedPort]:
        """A container's published ports, with the addresses that their traffic goes to."""
        address, address6 = self._addresses(container)
        return [
            PublishedPort(
                p.interfaces, p.host_port, p.container_port, p.protocol, address, address6
            )
            for p in container.ports
        ]

    def _addresses(self, container: ContainerRecord) -> tuple[str, str]:
        endpoints = self._store.endpoints_of_container(container.id) if container.ports else []
        four = next((e.ip_address for e in endpoints if e.ip_address), "")
        six = next((e.ip_address6 for e in endpoints if e.ip_address6), "")
        return four, six

    # The firewall

    async def refresh_firewall(self) -> None:
        """Apply the ruleset that follows from the metadata."""
        # Read and applied under one lock, so that an older state never replaces a newer one.
        async with self._core.locks.hold("firewall"):
            networks = [_network_rules(record) for record in self._store.networks.where()]
            ports = [
                self._port_rules(container, port)
                for container in self._core.containers.running()
                for port in container.ports
            ]
            await self._core.platform.firewall.apply(Ruleset(networks, ports))

    def _port_rules(self, container: ContainerRecord, port: PublishedPortConfig) -> PortRules:
        published = _range(port)
        address, address6 = self._addresses(container)
        return PortRules(
            interfaces=published.interfaces,
            protocol=published.protocol,
            host_ports=published.host,
            container_ports=published.container,
            address=address or None,
            address6=address6 or None,
        )

    # On the wire

    def of_container(self, container: ContainerRecord) -> list[EndPoint]:
        """A container's endpoints."""
        return [self.wire(e) for e in self._store.endpoints_of_container(container.id)]

    def network_names(self, container: ContainerRecord) -> list[str]:
        """Names of the networks that a container is on."""
        found = (e.network_id for e in self._store.endpoints_of_container(container.id))
        return [n.name for i in found if (n := self._store.networks.get(i)) is not None]

    def wire(self, endpoint: EndpointRecord) -> EndPoint:
        """An endpoint as the API shows it."""
        container = self._core.containers.containers.get(endpoint.container_id)
        up = container is not None and container.running
        return EndPoint(
            id=endpoint.id,
            container_id=endpoint.container_id,
            network_id=endpoint.network_id,
            ip_address=endpoint.ip_address or "",
            ip_address6=endpoint.ip_address6 or "",
            epair=_host_interface(endpoint) if up else None,
        )


def _host_interface(endpoint: EndpointRecord) -> str:
    """15 characters at most (IFNAMSIZ), and no other endpoint's."""
    return f"kl{endpoint.id}"


def _range(port: PublishedPortConfig) -> PublishedRange:
    return parse_published(port.interfaces, port.host_port, port.container_port, port.protocol)


def _network_rules(record: NetworkRecord) -> NetworkRules:
    return NetworkRules(
        bridge=record.interface,
        subnet=IPv4Network(record.subnet) if record.subnet else None,
        subnet6=IPv6Network(record.subnet6) if record.subnet6 else None,
        nat=record.nat or None,
        icc=record.icc,
        internal=record.internal,
        own=record.type != "custom",
    )
