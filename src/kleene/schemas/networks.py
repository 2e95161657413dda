"""Networks on the wire. Documented API: NetworkConfig, Network, NetworkInspect, EndPoint, EndPointConfig."""

from __future__ import annotations

from typing import Literal

import msgspec

from kleene.schemas.constants import AUTO as AUTO
from kleene.schemas.constants import HOST_GATEWAY as HOST_GATEWAY

NetworkType = Literal["bridge", "loopback", "custom"]


class EndPointConfig(msgspec.Struct):
    """A connection of a container to a network that is asked for.

    Attributes:
        ip_address: an address, ``<auto>`` for an unused one, ``""`` for none.
        ip_address6: the same for IPv6.
    """

    container: str
    network: str
    ip_address: str = ""
    ip_address6: str = ""


class EndPoint(msgspec.Struct):
    """A connection of a container to a network.

    Attributes:
        epair: the host's end of the interface pair, while the container runs.
    """

    id: str
    container_id: str
    network_id: str
    ip_address: str
    ip_address6: str
    epair: str | None = None


class NetworkConfig(msgspec.Struct):
    """What a new network shall be.

    Attributes:
        subnet: IPv4 in CIDR form, ``""`` for none.
        gateway: an address, ``<auto>`` for the first of the subnet, ``""`` for none.
        nat: the interface to translate outgoing traffic to, ``<host-gateway>``, or ``""`` for no NAT.
        icc: whether containers of the network reach each other.
        internal: whether outgoing traffic is forbidden.
        interface: name of the host's interface; ``""`` lets Kleene choose.
        labels: name -> value.
    """

    name: str
    type: NetworkType
    subnet: str = ""
    subnet6: str = ""
    gateway: str = ""
    gateway6: str = ""
    nat: str = HOST_GATEWAY
    icc: bool = True
    internal: bool = False
    interface: str = ""
    labels: dict[str, str] = {}


class Network(msgspec.Struct):
    """A network.

    Attributes:
        created: ISO 8601 in UTC.
    """

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
    labels: dict[str, str] = {}
    created: str = ""


class NetworkInspect(msgspec.Struct):
    """A network and the containers on it."""

    network: Network
    network_endpoints: list[EndPoint]
