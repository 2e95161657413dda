"""Networks and the endpoints that connect containers to them, in the metadata."""

from __future__ import annotations

from dataclasses import dataclass

from kleene.metadata.database import Database
from kleene.metadata.table import Table
from kleene.schemas.networks import NetworkType


@dataclass(frozen=True)
class NetworkRecord:
    """A row of ``networks``. ``nat`` names an interface, or is ``""`` for no translation."""

    id: str
    name: str
    type: NetworkType
    subnet: str
    subnet6: str
    gateway: str
    gateway6: str
    nat: str
    icc: bool
    internal: bool
    interface: str
    created: str
    labels: dict[str, str]


@dataclass(frozen=True)
class EndpointRecord:
    """A row of ``endpoints``. ``position``: of its interface in the container: ``eth0`` is 0."""

    id: str
    container_id: str
    network_id: str
    position: int
    ip_address: str | None
    ip_address6: str | None


class NetworkStore:
    """Reads and writes of networks and endpoints."""

    def __init__(self, database: Database) -> None:
        self.networks = Table(database, "networks", NetworkRecord)
        self.endpoints = Table(database, "endpoints", EndpointRecord)

    def by_name(self, name: str) -> NetworkRecord | None:
        found = self.networks.where("name = ?", [name])
        return found[0] if found else None

    def by_prefix(self, prefix: str) -> list[NetworkRecord]:
        """Networks whose id begins with ``prefix`` (hex digits only)."""
        return self.networks.where("id GLOB ?", [f"{prefix}*"])

    def endpoints_of_network(self, network_id: str) -> list[EndpointRecord]:
        return self.endpoints.where("network_id = ?", [network_id])

    def endpoints_of_container(self, container_id: str) -> list[EndpointRecord]:
        return self.endpoints.where("container_id = ?", [container_id])

    def endpoint(self, network_id: str, container_id: str) -> EndpointRecord | None:
        found = self.endpoints.where(
            "network_id = ? AND container_id = ?", [network_id, container_id]
        )
        return found[0] if found else None
