"""Links on Linux: bridges and pairs of interfaces by rtnetlink, namespaces as files in the run directory.

Owns the bridges that it made (known by their hardware address, which is derived from the instance and the
name) and the files in ``<run>/netns``, which outlive the daemon and end with the host's restart.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from kleene.errors import Conflict, HostUnavailable, InvalidInput, NotFound
from kleene.network import namespaces, rtnl
from kleene.network.driver import Attachment, Bridge
from kleene.network.interfaces import check_interface_name
from kleene.network.namespaces import in_own_thread
from kleene.network.netlink import Netlink

_SYSCTL = Path("/proc/sys/net")


class LinuxLinks:
    """Interfaces and namespaces of the daemon ``instance``."""

    def __init__(self, run_dir: Path, instance: str) -> None:
        self._directory = run_dir / "netns"
        self._instance = instance

    async def create_bridge(self, bridge: Bridge) -> None:
        """Make the bridge if it is missing, and give it exactly these addresses; it is up then.

        Raises:
            Conflict: an interface of that name exists and is not a bridge of Kleene.
            HostUnavailable: the kernel refuses.
        """
        name = check_interface_name(bridge.name)

        def work() -> None:
            with _telling(f"make bridge '{name}'"), Netlink() as kernel:
                link = rtnl.find(kernel, name) or self._new_bridge(kernel, name)
                self._check_own(link)
                rtnl.set_addresses(kernel, link.index, bridge.addresses)
                rtnl.set_up(kernel, link.index)

        await in_own_thread(work)

    async def check_bridge(self, name: str) -> None:
        """See that the user's own interface can carry the containers of a ``custom`` network.

        Raises:
            NotFound: there is no interface of that name.
            InvalidInput: it is not a bridge.
        """
        check_interface_name(name)

        def work() -> None:
            with _telling(f"look at interface '{name}'"), Netlink() as kernel:
                _bridge(kernel, name)

        await in_own_thread(work)

    async def delete_link(self, name: str) -> None:
        """Remove an interface; a name that does not exist is passed over. Takes some 20 ms.

        Raises:
            Conflict: it is a bridge, but not one of Kleene's.
            HostUnavailable: the kernel refuses.
        """
        check_interface_name(name)

        def work() -> None:
            with _telling(f"remove interface '{name}'"), Netlink() as kernel:
                link = rtnl.find(kernel, name)
                if link is not None:
                    if link.kind != "veth":
                        self._check_own(link)
                    _delete(kernel, name)

        await in_own_thread(work)

    async def links(self) -> list[str]:
        """Names of the host's interfaces."""

        def work() -> list[str]:
            with _telling("list interfaces"), Netlink() as kernel:
                return [link.name for link in rtnl.every(kernel)]

        return await in_own_thread(work)

    async def default_interface(self) -> str | None:
        """The interface that has the host's default IPv4 route, the preferred one if there are several."""

        def work() -> str | None:
            with _telling("list routes"), Netlink() as kernel:
                routes = [
                    route
                    for route in rtnl.routes(kernel)
                    if route.destination == IPv4Network("0.0.0.0/0") and route.index
                ]
                names = {link.index: link.name for link in rtnl.every(kernel)}
            best = min(routes, key=lambda route: route.metric, default=None)
            return names.get(best.index) if best else None

        return await in_own_thread(work)

    async def host_subnets(self) -> list[IPv4Network | IPv6Network]:
        """Subnets that the host's interfaces and routes have, the default route left out: also when it is
        written as two halves, as VPNs do to come before it."""

        def work() -> list[IPv4Network | IPv6Network]:
            with _telling("list subnets"), Netlink() as kernel:
                held = [address.network for address in rtnl.addresses(kernel)]
                routed = [route.destination for route in rtnl.routes(kernel)]
            wanted = (n for n in held + routed if n.prefixlen > 1 and not n.is_link_local)
            return list(dict.fromkeys(wanted))

        return await in_own_thread(work)

    async def create_namespace(self, name: str) -> Path:
        """Make a network namespace whose loopback is up; a file that names it, for the runtime.
        One of that name that is left from before is replaced.

        Raises:
            HostUnavailable: the kernel refuses.
        """
        file = self._file(name)

        def work() -> None:
            with _telling(f"make network namespace '{name}'"):
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                namespaces.remove(file)
                namespaces.make(file)

        await in_own_thread(work)
        return file

    async def delete_namespace(self, name: str) -> None:
        """Remove a namespace with the interfaces in it; one that does not exist is passed over.

        The kernel takes the interfaces away when the last process of the namespace is gone, and does so
        after this returns.
        """
        file = self._file(name)

        def work() -> None:
            with _telling(f"remove network namespace '{name}'"):
                namespaces.remove(file)

        await in_own_thread(work)

    async def namespaces(self) -> list[str]:
        """Names of the namespaces that this driver made."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(file.name for file in self._directory.iterdir())
        return []

    async def attach(self, namespace: str, attachment: Attachment) -> None:
        """Connect a namespace to a bridge by a pair of interfaces.

        Raises:
            NotFound: there is no such namespace or bridge.
            InvalidInput: the interface to connect to is not a bridge.
            HostUnavailable: the kernel refuses.
        """
        file = self._file(namespace)
        check_interface_name(attachment.host_name)
        check_interface_name(attachment.container_name)
        what = f"connect '{attachment.container_name}' to bridge '{attachment.bridge}'"

        def work() -> None:
            with _telling(what), Netlink() as host:
                bridge = _bridge(host, check_interface_name(attachment.bridge))
                try:
                    _connect(host, file, bridge, attachment)
                except FileNotFoundError as error:
                    raise NotFound(f"network namespace '{namespace}' does not exist") from error

        await in_own_thread(work)

    async def detach(self, host_name: str) -> None:
        """Remove a pair by the name of its host's end; one that does not exist is passed over."""
        await self.delete_link(host_name)

    async def enable_forwarding(self, *, ipv6: bool) -> None:
        """Let the host route between interfaces (ip_forward in ip-sysctl).

        Raises:
            HostUnavailable: the kernel refuses.
        """

        def work() -> None:
            with _telling("let the host forward packets"):
                (_SYSCTL / "ipv4/ip_forward").write_text("1")
                if ipv6:
                    _forward_ipv6()

        await in_own_thread(work)

    def _new_bridge(self, kernel: Netlink, name: str) -> rtnl.Link:
        rtnl.add_bridge(kernel, name, self._hardware_address(name))
        link = rtnl.find(kernel, name)
        assert link is not None
        rtnl.set_alias(kernel, link.index, f"kleene:{self._instance}")
        return link

    def _check_own(self, link: rtnl.Link) -> None:
        """The hardware address is the mark: unlike an alias it is there from the first moment on."""
        if link.kind != "bridge" or link.address != self._hardware_address(link.name):
            raise Conflict(
                f"interface '{link.name}' exists already and is not of this Kleene",
                hint="use another name for the network's interface, or a network of type custom",
            )

    def _hardware_address(self, name: str) -> bytes:
        """A locally administered address (the second bit of the first byte, RFC 9542)."""
        digest = hashlib.sha256(f"{self._instance}/{name}".encode()).digest()
        return b"\x02" + digest[:5]

    def _file(self, name: str) -> Path:
        if not name or "/" in name or name in (".", ".."):
            raise InvalidInput(f"network namespace '{name}' is not a valid name")
        return self._directory / name


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turn the kernel's refusal into an error that says what was being done."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.EPERM: "run the daemon as root",
            errno.EACCES: "run the daemon as root",
            errno.EOPNOTSUPP: "load the kernel's modules: modprobe bridge veth",
        }
        hint = hints.get(error.errno or 0)
        raise HostUnavailable(f"cannot {what}: {error.strerror or error}", hint=hint) from error


def _bridge(kernel: Netlink, name: str) -> rtnl.Link:
    """The bridge of that name."""
    link = rtnl.find(kernel, name)
    if link is None:
        raise NotFound(f"interface '{name}' does not exist", hint="'ip link' lists the host's")
    if link.kind != "bridge":
        raise InvalidInput(
            f"interface '{name}' is not a bridge, so no container can be connected to it",
            hint="make a bridge and name that: ip link add br0 type bridge && ip link set br0 up",
        )
    return link


def _connect(host: Netlink, file: Path, bridge: rtnl.Link, attachment: Attachment) -> None:
    """Make the pair, or nothing. ``host`` speaks for the host even when the thread has left it."""
    with file.open("rb") as namespace:
        _make_pair(host, bridge, namespace.fileno(), attachment)
    try:
        namespaces.enter(file)
        _configure_inside(attachment)
        rtnl.set_port(host, attachment.host_name, isolated=attachment.isolated)
    except BaseException:
        _delete(host, attachment.host_name)
        raise


def _make_pair(host: Netlink, bridge: rtnl.Link, namespace: int, attachment: Attachment) -> None:
    """A name that is taken is that of a pair whose namespace the kernel has not yet cleared away."""
    names = (attachment.host_name, attachment.container_name)
    try:
        rtnl.add_pair(host, names[0], bridge, namespace, names[1])
    except FileExistsError:
        old = rtnl.find(host, names[0])
        if old is not None and old.kind != "veth":
            raise
        _delete(host, names[0])
        rtnl.add_pair(host, names[0], bridge, namespace, names[1])


def _configure_inside(attachment: Attachment) -> None:
    """Addresses, up, routes; for a thread that is in the namespace."""
    with Netlink() as kernel:
        link = rtnl.find(kernel, attachment.container_name)
        assert link is not None
        for address in attachment.addresses:
            rtnl.add_address(kernel, link.index, address)
        rtnl.set_up(kernel, link.index)
        for gateway in attachment.gateways:
            rtnl.add_default_route(kernel, link.index, gateway)


def _delete(kernel: Netlink, name: str) -> None:
    """Whoever takes it away first, it is gone."""
    try:
        rtnl.delete(kernel, name)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _forward_ipv6() -> None:
    """A router does not take its own routes from others' announcements unless told to: an interface that
    did so far must go on, or the host loses its way out."""
    conf = _SYSCTL / "ipv6/conf"
    forwarding = conf / "all/forwarding"
    if forwarding.read_text().strip() != "0":
        return
    for file in conf.glob("*/accept_ra"):
        if file.parent.name != "all" and file.read_text().strip() == "1":
            file.write_text("2")
    forwarding.write_text("1")
