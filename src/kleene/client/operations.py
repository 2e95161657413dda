"""The operations of the API, in plain JSON values.

An operation takes a mapping (or a wire type) and answers what ``json.loads`` made of the daemon's
answer. ``kleene.client.api`` puts the wire types over this; ``klee`` uses it as it is, because
importing msgspec would take it longer than most commands run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from kleene.client.address import DEFAULT_HOST, Address, Query, parse_address, shown, target, utf8
from kleene.client.answers import Ids as Ids
from kleene.client.answers import id_of
from kleene.client.context_operations import Contexts as Contexts
from kleene.client.failures import not_understood, request_failed
from kleene.client.pruning import Builds as Builds
from kleene.client.pruning import prune, unused
from kleene.client.stored_files import StoredFiles as StoredFiles
from kleene.client.transport import HttpConnection, Tls

if TYPE_CHECKING:
    from typing import Self

    import msgspec

    from kleene.client.streams import Stream

    Body = Mapping[str, Any] | msgspec.Struct

DEFAULT_TIMEOUT = 120.0


class Request(Protocol):
    """Sends a request to the daemon."""

    def __call__(
        self,
        method: str,
        target: str,
        body: Body | None = None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> Any: ...


class Containers:
    """Operations on containers. ``ref`` is an id, a unique prefix of one, or a name."""

    def __init__(
        self, request: Request, stream: Callable[[str, Body], Stream], http: HttpConnection
    ) -> None:
        self._request = request
        self._stream = stream
        self._http = http

    def create(
        self,
        config: Body,
        *,
        meanwhile: Callable[[], None] | None = None,
        note: Callable[[str], object] = str,
    ) -> str:
        """Create a container from a ``ContainerConfig``; its id. ``note`` is told what there is to know."""
        made = self._request("POST", target("containers", "create"), config, meanwhile=meanwhile)
        container = id_of(made)
        list(map(note, made.get("notes", ())))
        return container

    def list(self, *, all: bool = False, filters: Iterable[str] = ()) -> Any:  # noqa: A002
        """Summaries of the running containers, or of all; of these, those that ``KEY=VALUE`` filters fit."""
        query: Query = {"all": all, "filter": filters}
        return self._request("GET", target("containers", "list", query=query))

    def inspect(self, ref: str) -> Any:
        """All that is known of a container."""
        return self._request("GET", target("containers", ref, "inspect"))

    def remove(self, ref: str, *, force: bool = False) -> str:
        """Remove a stopped container, or with ``force`` any; its id."""
        query: dict[str, str | bool] = {"force": True} if force else {}
        return id_of(self._request("DELETE", target("containers", ref, query=query)))

    def stop(self, ref: str, *, timeout: float | None = None) -> str:
        """Stop a container, killing what is left after ``timeout`` seconds (``None``: as it says); its id."""
        query: dict[str, str | bool] = {} if timeout is None else {"timeout": f"{timeout:g}"}
        return id_of(self._request("POST", target("containers", ref, "stop", query=query)))

    def update(self, ref: str, config: Body) -> str:
        """Change what ``config`` (a ``ContainerConfig``) does not leave ``None``; the id."""
        return id_of(self._request("POST", target("containers", ref, "update"), config))

    def change(self, ref: str, config: Body) -> Any:
        """The same; the ``IdResponse`` with what there is to know besides."""
        return self._request("POST", target("containers", ref, "update"), config)

    def logs(self, ref: str, config: Body) -> Stream:
        """What its processes wrote, by a ``LogsConfig``."""
        return self._stream(target("containers", ref, "logs"), config)

    def wait(self, ref: str) -> Stream:
        """Wait until it stops: the last message has the exit status."""
        return self._stream(target("containers", ref, "wait"), {})

    def kill(self, ref: str, signal: str = "SIGKILL") -> str:
        """Send all of its processes a signal; its id. Raises Conflict if it does not run."""
        query: dict[str, str | bool] = {"signal": signal}
        return id_of(self._request("POST", target("containers", ref, "kill", query=query)))

    def top(self, ref: str) -> Any:
        """Its processes. Raises Conflict if it does not run."""
        return self._request("GET", target("containers", ref, "top"))

    def stats(self, ref: str) -> Any:
        """What it uses. Raises Conflict if it does not run."""
        return self._request("GET", target("containers", ref, "stats"))

    def all_stats(self) -> Any:
        """What all running containers use."""
        return self._request("GET", target("containers", "stats"))

    def diff(self, ref: str) -> Any:
        """The files in which it differs from its image."""
        return self._request("GET", target("containers", ref, "diff"))

    def commit(self, ref: str, config: Body) -> str:
        """Make an image of it, by a ``CommitConfig``; the image's id."""
        return id_of(self._request("POST", target("containers", ref, "commit"), config))

    def execs(self, ref: str) -> Any:
        """The execution instances that run in it, the oldest first."""
        return self._request("GET", target("containers", ref, "execs"))

    def attach(self, ref: str, config: Body) -> Stream:
        """Connect to a process that runs in it, by an ``AttachConfig``."""
        return self._stream(target("containers", ref, "attach"), config)

    def read_archive(
        self, ref: str, path: str, *, follow: bool = False
    ) -> Generator[bytes, None, None]:
        """What is at ``path`` in it, as a tar stream; it must be read to its end, or closed.

        Args:
            follow: of a link, what it points to.
        """
        query: Query = {"path": path, "follow": follow}
        return self._http.download(target("containers", ref, "archive", query=query))

    def write_archive(
        self,
        ref: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        name: str = "",
        directory: bool = False,
    ) -> None:
        """Extract a tar stream in its directory ``path``.

        Args:
            name: of the archive's only entry at the top: it is renamed if there is no directory ``path``.
            directory: whether that is a directory.
        """
        query: dict[str, str | bool] = {"path": path, "name": name, "directory": directory}
        self._http.upload(target("containers", ref, "archive", query=query), chunks)

    def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the stopped containers that filters fit, but the persistent ones; their ids."""
        return unused(self._request, "containers", filters)


class Execs:
    """Operations on execution instances: processes in containers."""

    def __init__(self, request: Request, stream: Callable[[str, Body], Stream]) -> None:
        self._request = request
        self._stream = stream

    def create(self, config: Body, *, meanwhile: Callable[[], None] | None = None) -> str:
        """Create an execution instance from an ``ExecConfig``; its id."""
        return id_of(self._request("POST", target("exec", "create"), config, meanwhile=meanwhile))

    def start(self, config: Body) -> Stream:
        """Start one, by an ``ExecStartConfig``; what it writes, and its end."""
        return self._stream(target("exec", "start"), config)

    def stop(self, exec_id: str, *, force: bool = False, stop_container: bool = False) -> str:
        """Stop one (kill it with ``force``), or the whole container; its id."""
        query: dict[str, str | bool] = {"force_stop": force, "stop_container": stop_container}
        return id_of(self._request("POST", target("exec", exec_id, "stop", query=query)))


class Images:
    """Operations on images. ``ref`` is ``ID|NAME[:TAG]``."""

    def __init__(self, request: Request, stream: Callable[[str, Body], Stream]) -> None:
        self._request = request
        self._stream = stream

    def build(self, config: Body) -> Stream:
        """Build an image, by an ``ImageBuildConfig``. Closing the stream early cancels the build."""
        return self._stream(target("images", "build"), config)

    def create(self, config: Body) -> Stream:
        """Make a base image, by an ``ImageCreateConfig``. Closing the stream early cancels it."""
        return self._stream(target("images", "create"), config)

    def list(self, *, filters: Iterable[str] = ()) -> Any:
        """All images, or those that ``KEY=VALUE`` filters fit."""
        return self._request("GET", target("images", "list", query={"filter": filters}))

    def inspect(self, ref: str, *, size: bool = False) -> Any:
        """All that is known of an image; with ``size`` what it holds on disk, too."""
        query: dict[str, str | bool] = {"size": True} if size else {}
        return self._request("GET", target("images", ref, "inspect", query=query))

    def bisect(self, config: Body) -> Stream:
        """Find the first step after which a command fails, by a ``BisectConfig``."""
        return self._stream(target("images", "bisect"), config)

    def history(self, ref: str) -> Any:
        """The steps of the build that made it."""
        return self._request("GET", target("images", ref, "history"))

    def blame(self, ref: str, path: str) -> Any:
        """The step that wrote what is at ``path``, or removed it."""
        return self._request("GET", target("images", ref, "blame", query={"path": shown(path)}))

    def diff(self, older: str, newer: str) -> Any:
        """What differs between two states, ``IMAGE[@SNAPSHOT]``, by path."""
        query: dict[str, str | bool] = {"older": older, "newer": newer}
        return self._request("GET", target("images", "diff", query=query))

    def tag(self, ref: str, nametag: str) -> str:
        """Give an image the name ``NAME[:TAG]``; its id."""
        return id_of(
            self._request("POST", target("images", ref, "tag", query={"nametag": nametag}))
        )

    def remove(self, ref: str) -> str:
        """Remove an image; its id."""
        return id_of(self._request("DELETE", target("images", ref)))

    def prune_plan(self, *, all: bool = False, filters: Collection[str] = ()) -> Any:  # noqa: A002
        """What :meth:`prune` would remove, and the bytes that come free by it."""
        return self._request(
            "GET", target("images", "prune", query={"all": all, "filter": filters})
        )

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the API's name
        filters: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Ids:
        """Remove the untagged images that no container uses, or all unused; their ids.

        Args:
            filters: ``label=``, ``label!=``, ``until=`` (only older ones: a time, or how long ago).
            only: of these, the ones with these ids.
        """
        return prune(self._request, "images", all, filters, only)


class Networks:
    """Operations on networks. ``ref`` is an id, a unique prefix of one, or a name."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def create(self, config: Body) -> str:
        """Create a network from a ``NetworkConfig``; its id."""
        return id_of(self._request("POST", target("networks", "create"), config))

    def list(self, *, filters: Iterable[str] = ()) -> Any:
        """All networks, or those that ``KEY=VALUE`` filters fit."""
        return self._request("GET", target("networks", "list", query={"filter": filters}))

    def inspect(self, ref: str) -> Any:
        """A network and its endpoints."""
        return self._request("GET", target("networks", ref, "inspect"))

    def remove(self, ref: str) -> str:
        """Remove a network; its id."""
        return id_of(self._request("DELETE", target("networks", ref)))

    def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the networks without containers; of these, those that filters fit; their ids."""
        return unused(self._request, "networks", filters)

    def connect(self, config: Body) -> None:
        """Connect a container to a network, by an ``EndPointConfig``."""
        self._request("POST", target("networks", "connect"), config)

    def disconnect(self, network: str, container: str) -> None:
        """Take a container off a network."""
        self._request("POST", target("networks", network, "disconnect", container))


class Volumes:
    """Operations on volumes, which have names only."""

    def __init__(self, request: Request, http: HttpConnection) -> None:
        self._request = request
        self._http = http

    def create(self, config: Body) -> str:
        """Create a volume from a ``VolumeConfig``; its name."""
        return id_of(self._request("POST", target("volumes", "create"), config))

    def list(self, *, filters: Iterable[str] = ()) -> Any:
        """All volumes, or those that ``KEY=VALUE`` filters fit."""
        return self._request("GET", target("volumes", "list", query={"filter": filters}))

    def inspect(self, name: str) -> Any:
        """A volume and its mounts."""
        return self._request("GET", target("volumes", name, "inspect"))

    def remove(self, name: str) -> str:
        """Remove a volume; its name."""
        return id_of(self._request("DELETE", target("volumes", name)))

    def prune(self, *, filters: Collection[str] = ()) -> Ids:
        """Remove the volumes that are not mounted; of these, those that filters fit; their names."""
        return unused(self._request, "volumes", filters)

    def update(self, name: str, config: Body) -> str:
        """Change a volume by a ``VolumeUpdate``; its name."""
        return id_of(self._request("POST", target("volumes", name, "update"), config))

    def snapshots(self, name: str, *, filters: Iterable[str] = ()) -> Any:
        """The snapshots of a volume, or those that ``KEY=VALUE`` filters fit."""
        return self._request("GET", target("volumes", name, "snapshots", query={"filter": filters}))

    def snapshot(self, name: str, snapshot: str = "") -> str:
        """Keep the present state of a volume; the snapshot's name."""
        body = {"name": snapshot}
        return id_of(self._request("POST", target("volumes", name, "snapshots"), body))

    def remove_snapshot(self, name: str, snapshot: str) -> str:
        """Remove a snapshot of a volume; its name."""
        return id_of(self._request("DELETE", target("volumes", name, "snapshots", snapshot)))

    def restore(self, name: str, snapshot: str) -> str:
        """Make a volume what it was; its name. Raises Conflict if running containers mount it."""
        query: dict[str, str | bool] = {"snapshot": snapshot}
        return id_of(self._request("POST", target("volumes", name, "restore", query=query)))

    def clone(self, name: str, new: str, *, snapshot: str = "") -> str:
        """Make the volume ``new`` of the state of another, or of a snapshot of it; its name."""
        body = {"name": new, "snapshot": snapshot}
        return id_of(self._request("POST", target("volumes", name, "clone"), body))

    def read_archive(self, name: str, *, snapshot: str = "") -> Generator[bytes, None, None]:
        """What is in it, as a tar stream; it must be read to its end, or closed."""
        query: dict[str, str | bool] = {"snapshot": snapshot}
        return self._http.download(target("volumes", name, "archive", query=query))

    def write_archive(self, name: str, chunks: Iterable[bytes]) -> None:
        """Fill a new or empty volume from a tar stream."""
        self._http.upload(target("volumes", name, "archive"), chunks)


class JsonClient:
    """A daemon's API in plain JSON values.

    Every operation raises a KleeneError: what the daemon answered (NotFound, Conflict, InvalidInput,
    DaemonFault), or DaemonUnreachable.

    Args:
        host: ``http[s]:///PATH`` or ``http[s]://HOST[:PORT]``.
        timeout: seconds to wait for an answer; ``None`` waits for ever. Streams have none.
    """

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        *,
        tls: Tls | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self._address = parse_address(host)
        self._tls = tls or Tls()
        self._http = self._connection(timeout)
        self.containers = Containers(self._call, self._open_stream, self._http)
        self.execs = Execs(self._call, self._open_stream)
        self.images = Images(self._call, self._open_stream)
        self.contexts = Contexts(self._send, self._http)
        self.builds = Builds(self._call)
        self.networks = Networks(self._call)
        self.volumes = Volumes(self._call, self._http)
        self.secrets = StoredFiles(self._call, "secrets")
        self.configs = StoredFiles(self._call, "configs")

    @property
    def address(self) -> Address:
        """Where the daemon listens."""
        return self._address

    def version(self) -> Any:
        """Versions of the daemon and of its API. Raises DaemonFault if it is no Kleene daemon."""
        answer = self._call("GET", target("version"))
        if not isinstance(answer, dict) or not {"version", "api_version"} <= answer.keys():
            raise not_understood(self._address)
        return answer

    def info(self) -> Any:
        """The daemon and what it found on its host."""
        return self._call("GET", target("info"))

    def events(self, config: Body) -> Stream:
        """What happens to the daemon's objects, by an ``EventsConfig``: output in lines of JSON."""
        return self._open_stream(target("events"), config)

    def df(self) -> Any:
        """What all objects hold on disk, and what pruning would free."""
        return self._call("GET", target("df"))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connection(self, timeout: float | None) -> HttpConnection:
        return HttpConnection(self._address, self._tls, timeout)

    def _call(
        self,
        method: str,
        target: str,
        body: Body | None = None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> Any:
        data = None if body is None else encode(body)
        return self._send(method, target, data, meanwhile)

    def _send(
        self,
        method: str,
        target: str,
        data: bytes | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Any:
        response = self._http.request(method, target, data, meanwhile)
        if not 200 <= response.status < 300:
            raise request_failed(self._address, response.status, response.body)
        try:
            return json.loads(response.body) if response.body else None
        except ValueError as error:
            raise not_understood(self._address) from error

    def _open_stream(self, target: str, config: Body) -> Stream:
        from kleene.client.streams import Stream

        return Stream(self._address, self._tls, target, encode(config))


def encode(body: Body) -> bytes:
    """``body`` as JSON; a wire type may be anywhere in it."""
    return utf8(json.dumps(body, default=_plain, ensure_ascii=False))


def _plain(value: object) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
