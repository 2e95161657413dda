"""The WebSocket paths, and their description as GET operations in the OpenAPI document."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import msgspec
from litestar import WebSocket, get, websocket
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from kleene.build.events import Emit, Event, Started
from kleene.daemon.facade import EngineFacade, ExecResult
from kleene.daemon.routes.common import ContainerRef, Engine
from kleene.daemon.stream_protocols import Documented, Reporter
from kleene.daemon.streams import Inputs, Streams, relay, serve
from kleene.runtime.driver import Output
from kleene.schemas.common import ErrorResponse
from kleene.schemas.containers import WaitConfig
from kleene.schemas.events import EventsConfig
from kleene.schemas.execs import AttachConfig, ExecStartConfig
from kleene.schemas.history import BisectConfig
from kleene.schemas.images import ImageBuildConfig, ImageCreateConfig
from kleene.schemas.logs import LogsConfig
from kleene.schemas.stream import ClientMessage, Closing, ServerMessage, WebSocketMessage

Socket = WebSocket[Any, Any, Any]

_PROTOCOLS = """
This path is a WebSocket; a plain GET is answered with 426. The first frame from the client is the
request body described here, as JSON.

**Documented protocol** (no subprotocol). The server sends a `starting` message, then frames of raw
output, then a close frame whose reason is a `closing` message (code 1000, or 1001 if a process was
only started), or an `error` message (code 1002 if the first frame was invalid, 1011 if the operation
failed). A close reason holds 123 bytes: a longer message is shortened there, and written whole to the
output before. Frames from the client are input of the process; an empty one ends the input.

**Typed protocol** (subprotocol `kleene.stream.v1`). Text frames are JSON messages, described under
status 101; binary frames are output or input, their first byte 0 (standard input), 1 (standard output)
or 2 (standard error). The last text frame from the server is a `closing` or a `failed` message; the
close frame has the same codes and no reason.
"""


@websocket("/exec/start")
async def exec_start(socket: Socket, engine: Engine, streams: NamedDependency[Streams]) -> None:
    """Start an execution instance, and stay attached to it if that is wanted."""

    async def operation(config: ExecStartConfig, reporter: Reporter, inputs: Inputs) -> Closing:
        return await _start(engine, config, reporter, inputs)

    await serve(socket, streams, "exec", ExecStartConfig, operation)


@websocket("/containers/{container_id:str}/attach")
async def container_attach(
    socket: Socket, engine: Engine, streams: NamedDependency[Streams], container_id: ContainerRef
) -> None:
    """Connect to a process that runs in a container."""

    async def operation(config: AttachConfig, reporter: Reporter, inputs: Inputs) -> Closing:
        session = await engine.execs.attach(container_id, config)
        return _ended(session.exec_id, await relay(session, reporter, inputs))

    await serve(socket, streams, "exec", AttachConfig, operation)


@websocket("/events")
async def events(socket: Socket, engine: Engine, streams: NamedDependency[Streams]) -> None:
    """Tell what happens to the objects of the daemon."""

    async def operation(config: EventsConfig, reporter: Reporter, _: Inputs) -> Closing:
        async with contextlib.aclosing(engine.events.read(config)) as found:
            async for event in found:
                await reporter.output(Output("stdout", msgspec.json.encode(event) + b"\n"))
        return Closing(message="end of the events")

    await serve(socket, streams, "logs", EventsConfig, operation)


@websocket("/containers/{container_id:str}/logs")
async def container_logs(
    socket: Socket, engine: Engine, streams: NamedDependency[Streams], container_id: ContainerRef
) -> None:
    """Tell what the processes of a container wrote, and go on with it if that is wanted."""

    async def operation(config: LogsConfig, reporter: Reporter, _: Inputs) -> Closing:
        async with contextlib.aclosing(engine.logs.read(container_id, config)) as outputs:
            async for output in outputs:
                await reporter.output(output)
        return Closing(message="end of the logs")

    await serve(socket, streams, "logs", LogsConfig, operation)


@websocket("/containers/{container_id:str}/wait")
async def container_wait(
    socket: Socket, engine: Engine, streams: NamedDependency[Streams], container_id: ContainerRef
) -> None:
    """Wait until a container stops, and tell how."""

    async def operation(config: WaitConfig, reporter: Reporter, _: Inputs) -> Closing:
        code = await engine.execs.wait(container_id)
        return Closing(
            message=f"container {container_id} exited with exit-code {code}",
            exit_code=code,
            container_stopped=True,
        )

    await serve(socket, streams, "wait", WaitConfig, operation)


@websocket("/images/build")
async def image_build(socket: Socket, engine: Engine, streams: NamedDependency[Streams]) -> None:
    """Build an image; a client that goes away cancels the build."""

    async def operation(config: ImageBuildConfig, reporter: Reporter, _: Inputs) -> Closing:
        # The documented protocol cannot tell whose output it is.
        config.ordered = config.ordered or isinstance(reporter, Documented)
        emit = only_started(reporter.event) if config.quiet else reporter.event
        image_id = await engine.images.build(config, emit)
        return Closing(message="checked" if config.check else "image created", data=image_id)

    await serve(socket, streams, "build", ImageBuildConfig, operation)


@websocket("/images/bisect")
async def image_bisect(socket: Socket, engine: Engine, streams: NamedDependency[Streams]) -> None:
    """Find the first step after which a command fails; a client that goes away ends the search."""

    async def operation(config: BisectConfig, reporter: Reporter, _: Inputs) -> Closing:
        found = await engine.bisect.run(config, reporter.event)
        return Closing(message=found.message, data=found.snapshot)

    await serve(socket, streams, "bisect", BisectConfig, operation)


@websocket("/images/create")
async def image_create(socket: Socket, engine: Engine, streams: NamedDependency[Streams]) -> None:
    """Make a base image; a client that goes away cancels it."""

    async def operation(config: ImageCreateConfig, reporter: Reporter, _: Inputs) -> Closing:
        image_id = await engine.images.create(config, reporter.event)
        return Closing(message="image created", data=image_id)

    await serve(socket, streams, "create", ImageCreateConfig, operation)


async def _start(
    engine: EngineFacade, config: ExecStartConfig, reporter: Reporter, inputs: Inputs
) -> Closing:
    session = await engine.execs.start(
        config.exec_id,
        attach=config.attach,
        start_container=config.start_container,
        rows=config.rows,
        columns=config.columns,
    )
    if not config.attach:
        return Closing(message="started", data=session.exec_id, detached=True)
    return _ended(session.exec_id, await relay(session, reporter, inputs))


def _ended(exec_id: str, result: ExecResult) -> Closing:
    return Closing(
        message=exit_message(exec_id, result.exit_code, result.container_stopped),
        data=exec_id,
        exit_code=result.exit_code,
        container_stopped=result.container_stopped,
    )


def exit_message(exec_id: str, exit_code: int, container_stopped: bool) -> str:
    """What the documented client prints when a process has ended."""
    if container_stopped:
        return f"executable {exec_id} and its container exited with exit-code {exit_code}"
    return f"{exec_id} has exited with exit-code {exit_code}"


def only_started(emit: Emit) -> Emit:
    """``emit`` for a client that wants no output of its build."""

    async def emit_started(event: Event) -> None:
        if isinstance(event, Started):
            await emit(event)

    return emit_started


def _describe(
    path: str, operation_id: str, summary: str, text: str, body: Callable[..., Awaitable[None]]
) -> Any:
    """A GET operation that describes a stream. Its body is a dependency's: a GET handler can have none."""

    @get(
        path,
        operation_id=operation_id,
        summary=summary,
        description=text + _PROTOCOLS,
        dependencies={"first_frame": Provide(body)},
        responses={
            101: ResponseSpec(
                ServerMessage | ClientMessage,
                description="Text frames of the typed protocol, of both sides.",
                generate_examples=False,
            ),
            400: ResponseSpec(
                WebSocketMessage,
                description="Documented protocol: the first frame was invalid (close code 1002).",
                generate_examples=False,
            ),
            426: ResponseSpec(
                ErrorResponse,
                description="The request does not ask for a WebSocket.",
                generate_examples=False,
            ),
        },
    )
    async def upgrade_required() -> WebSocketMessage:
        _refuse()

    return upgrade_required


def _refuse() -> NoReturn:
    raise HTTPException(
        "this path is a WebSocket", status_code=426, headers={"Upgrade": "websocket"}
    )


async def _exec_body(data: JSONBody[ExecStartConfig]) -> None: ...


async def _attach_body(container_id: ContainerRef, data: JSONBody[AttachConfig]) -> None: ...


async def _events_body(data: JSONBody[EventsConfig]) -> None: ...


async def _logs_body(container_id: ContainerRef, data: JSONBody[LogsConfig]) -> None: ...


async def _wait_body(container_id: ContainerRef, data: JSONBody[WaitConfig]) -> None: ...


async def _build_body(data: JSONBody[ImageBuildConfig]) -> None: ...


async def _bisect_body(data: JSONBody[BisectConfig]) -> None: ...


async def _create_body(data: JSONBody[ImageCreateConfig]) -> None: ...


handlers = [
    exec_start,
    container_attach,
    events,
    container_logs,
    container_wait,
    image_build,
    image_bisect,
    image_create,
    _describe(
        "/images/bisect",
        "ImageBisect",
        "image bisect",
        "Find the first step of a build after which a command fails, by halving. The output of the command "
        "is streamed; the `closing` message tells the step, and has its snapshot in `data`.",
        _bisect_body,
    ),
    _describe(
        "/exec/start",
        "ExecStartWebSocket",
        "exec start",
        "Start an execution instance. With `attach` its output is streamed until it ends, and the closing "
        "message tells whether its container stopped with it; a client that goes away only detaches.",
        _exec_body,
    ),
    _describe(
        "/containers/{container_id:str}/attach",
        "Container.Attach",
        "container attach",
        "Connect to a process that runs in a container, beside whoever is connected already: its output from "
        "now on and, if it was started with its input open, its input. A client that goes away leaves it "
        "running.",
        _attach_body,
    ),
    _describe(
        "/events",
        "System.Events",
        "events",
        "Tell what happens to the objects of the daemon. The output has a JSON object in each line: "
        "`time` (ISO 8601 in UTC), `kind`, `action`, `id`, `name` and `attributes`, whose values are text.",
        _events_body,
    ),
    _describe(
        "/containers/{container_id:str}/logs",
        "Container.Logs",
        "container logs",
        "Tell what the execution instances of a container wrote, in the order of time, those that have "
        "ended too. With `follow` the stream goes on until the container stops.",
        _logs_body,
    ),
    _describe(
        "/containers/{container_id:str}/wait",
        "Container.Wait",
        "container wait",
        "Wait until a container stops. The closing message tells the exit status of its main process "
        "(its own command, or what it was started for), 0 if there was none; "
        "at once if the container does not run.",
        _wait_body,
    ),
    _describe(
        "/images/build",
        "ImageBuild",
        "image build",
        "Build an image. The `starting` message has its id in `data`, and so has the `closing` message; "
        "an `error` message has the last good snapshot there. A client that goes away cancels the build.",
        _build_body,
    ),
    _describe(
        "/images/create",
        "ImageCreate",
        "image create",
        "Make a base image. The `closing` message has its id in `data`. A client that goes away cancels it.",
        _create_body,
    ),
]
