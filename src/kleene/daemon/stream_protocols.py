"""The two protocols of the streams: how events, output and errors become frames, and frames become input.

``kleene.schemas.stream`` describes both. Nothing here starts or decides anything.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal, Protocol

import msgspec

from kleene.build import events
from kleene.daemon.inputs import decode
from kleene.daemon.link import MAX_FRAME, Link
from kleene.daemon.problems import problem_of
from kleene.errors import CommandNotStarted, InvalidInput
from kleene.runtime.driver import Output
from kleene.schemas import stream
from kleene.schemas.common import ErrorResponse

Kind = Literal["exec", "logs", "wait", "build", "create", "bisect"]
_OF_PROCESSES = ("exec", "logs", "wait")
"""Kinds whose output is what processes wrote, and nothing else."""

Input = bytes | stream.ClientMessage
Direction = Literal["stdout", "stderr"]

CLOSE_REASON_LIMIT = 123
"""Bytes of a close reason (RFC 6455 section 5.5: 125 of a control frame, less 2 for the code)."""


_UNKNOWN_STEP = {"bytes": 16 * 1024 * 1024, "entries": 10_000}
"""How much more makes a line when it is not known how much there is."""


class Reporter(Protocol):
    """One protocol on one connection."""

    async def begin(self) -> None:
        """The configuration was understood."""
        ...

    async def event(self, event: events.Event) -> None: ...

    async def output(self, output: Output) -> None: ...

    async def done(self, closing: stream.Closing) -> None:
        """Tell the end, and close."""
        ...

    async def failed(self, error: Exception) -> None:
        """Tell the error, and close."""
        ...

    def input(self, frame: str | bytes) -> Input:
        """What a frame from the client means.

        Raises:
            InvalidInput: nothing.
        """
        ...


def reporter_for(link: Link, kind: Kind) -> Reporter:
    """The protocol that the client chose by its subprotocol."""
    return Typed(link, kind) if link.typed else Documented(link, kind)


class Typed:
    """Our own protocol: each message a JSON text frame, each output a binary one."""

    def __init__(self, link: Link, kind: Kind) -> None:
        self._link = link
        self._kind = kind
        self._step = 0
        self._order = asyncio.Lock()

    async def begin(self) -> None:
        if self._kind in _OF_PROCESSES:
            await self._send(stream.Starting())

    async def event(self, event: events.Event) -> None:
        match event:
            case events.Started():
                await self._send(stream.Starting(event.image_id))
            case events.StepStarted():
                await self._send(
                    stream.StepStarted(
                        event.number, event.total, event.instruction, event.stage, event.stage_name
                    )
                )
            case events.StepFinished():
                await self._send(
                    stream.StepFinished(
                        event.number,
                        event.snapshot or "",
                        event.cached,
                        event.seconds,
                        event.reason,
                    )
                )
            case events.OutputWritten():
                await self._step_output(event)
            case events.Warned():
                await self._send(msgspec.convert(asdict(event), stream.Warned))
            case events.ProgressMade():
                await self._send(
                    stream.Progress(event.operation, event.done, event.total, event.unit)
                )

    async def output(self, output: Output) -> None:
        await self._binary(output.stream, output.data)

    async def done(self, closing: stream.Closing) -> None:
        await self._send(closing)
        await self._link.close(stream.CLOSE_DETACHED if closing.detached else stream.CLOSE_DONE)

    async def failed(self, error: Exception) -> None:
        problem = problem_of(error)
        build = error if isinstance(error, events.BuildFailed) else None
        await self._send(
            stream.Failed(
                message=problem.answer.message,
                hint=problem.answer.hint,
                details=problem.answer.details,
                error_id=problem.answer.error_id,
                data=(build.snapshot if build else None) or "",
                exit_code=_exit_code(error),
                image_id=(build.image_id if build else None) or "",
                step=(build.step if build else None) or 0,
                failed_snapshot=(build.failed_snapshot if build else None) or "",
            )
        )
        await self._link.close(problem.close_code)

    def input(self, frame: str | bytes) -> Input:
        if isinstance(frame, str):
            return decode(frame, stream.ClientMessage)  # type: ignore[arg-type]
        if frame[:1] != bytes([stream.STDIN]):
            raise InvalidInput(
                "binary frame is not input", hint=f"its first byte must be {stream.STDIN}"
            )
        return frame[1:]

    async def _send(self, message: stream.ServerMessage) -> None:
        await self._link.send(msgspec.json.encode(message).decode())

    async def _step_output(self, event: events.OutputWritten) -> None:
        """Output of a build, told apart if the steps of several stages write at the same time."""
        async with self._order:
            if event.step != self._step:
                self._step = event.step
                await self._send(stream.OutputOf(event.step))
            await self._binary(event.stream, event.data)

    async def _binary(self, direction: Direction, data: bytes) -> None:
        mark = bytes([stream.STDOUT if direction == "stdout" else stream.STDERR])
        for part in _parts(data):
            await self._link.send(mark + part)


class Documented:
    """The documented protocol: a starting message, raw output, and the rest in the close reason.

    The output of a build goes as text, since the published client looks for its own lines in it and adds the
    line ends to those (so that they are sent without); all other output goes as the bytes that it is.
    """

    def __init__(self, link: Link, kind: Kind) -> None:
        self._link = link
        self._kind = kind
        self._started = False
        self._at_line_start = True
        self._progress = ProgressLines()
        self._decoders = {name: _decoder() for name in ("stdout", "stderr")}

    async def begin(self) -> None:
        if self._kind != "build":
            await self._start("")

    async def event(self, event: events.Event) -> None:
        match event:
            case events.Started():
                await self._start(event.image_id)
            case events.StepStarted():
                await self._line(f"Step {event.number}/{event.total} : {event.instruction}")
            case events.StepFinished():
                await self._finished(event)
            case events.OutputWritten():
                await self._raw(event.stream, event.data)
            case events.Warned():
                warning = "\n".join(filter(None, (f"warning: {event.message}", event.details)))
                await self._line(f"{warning}\n")
            case events.ProgressMade() if self._started:
                if text := self._progress.line(event):
                    await self._text(text)

    async def output(self, output: Output) -> None:
        await self._raw(output.stream, output.data)

    async def done(self, closing: stream.Closing) -> None:
        await self._start("")
        await self._flush()
        code = stream.CLOSE_DETACHED if closing.detached else stream.CLOSE_DONE
        data = "" if self._kind == "exec" else closing.data
        await self._link.close(code, close_reason("closing", closing.message, data))

    async def failed(self, error: Exception) -> None:
        problem = problem_of(error)
        snapshot = error.snapshot if isinstance(error, events.BuildFailed) else None
        reason = close_reason("error", problem.answer.message, f"@{snapshot}" if snapshot else "")
        if problem.close_code != stream.CLOSE_INVALID:
            await self._start("")
            text = _whole(problem.answer)
            # The published client shows the message of the reason, but not that of a build.
            if self._kind == "build" or text != msgspec.json.decode(reason)["message"]:
                await self._line(text)
        await self._link.close(problem.close_code, reason)

    def input(self, frame: str | bytes) -> Input:
        """Bytes as they are; an empty frame is what the published client sends at its end of input."""
        data = frame.encode() if isinstance(frame, str) else frame
        return data or stream.EndOfInput()

    async def _start(self, data: str) -> None:
        if not self._started:
            self._started = True
            message = stream.WebSocketMessage("starting", data=data)
            await self._link.send(msgspec.json.encode(message).decode())

    async def _finished(self, event: events.StepFinished) -> None:
        if event.cached:
            await self._line("--> Using cache\n")
        if event.snapshot:
            await self._line(f"--> Snapshot created: @{event.snapshot}")

    async def _line(self, line: str) -> None:
        """A line of our own, on a line of its own."""
        await self._flush()
        if not self._at_line_start:
            await self._link.send("\n")
        await self._link.send(line)
        self._at_line_start = True

    async def _raw(self, direction: Direction, data: bytes) -> None:
        for part in _parts(data):
            if self._kind in _OF_PROCESSES:
                await self._link.send(part)
            else:
                await self._text(self._decoders[direction].decode(part))

    async def _text(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            await self._link.send(text)

    async def _flush(self) -> None:
        """Send what is left of characters that were cut in two by the end of the output."""
        for decoder in self._decoders.values():
            await self._text(decoder.decode(b"", final=True))


class ProgressLines:
    """Progress as lines of text: one at the begin of an operation, then one for each tenth of it."""

    def __init__(self) -> None:
        self._operation = ""
        self._next = 0

    def line(self, event: events.ProgressMade) -> str | None:
        """The line to show now, if there is one."""
        if event.operation != self._operation:
            self._operation, self._next = event.operation, 0
        if event.done < self._next:
            return None
        step = event.total // 10 if event.total else _UNKNOWN_STEP[event.unit]
        self._next = event.done + max(step, 1)
        return f"{event.operation}: {_amount(event)}\n"


def close_reason(kind: Literal["closing", "error"], message: str, data: str) -> str:
    """A message of the documented protocol that fits into a close reason, the text shortened if need be."""
    shown = message
    while True:
        reason = msgspec.json.encode(stream.WebSocketMessage(kind, shown, data))
        excess = len(reason) - CLOSE_REASON_LIMIT
        if excess <= 0:
            return reason.decode()
        if len(shown) <= 1:
            return close_reason(kind, message, "")
        # A character takes one byte at least and twelve at most: cut little, until it fits.
        shown = shown[: max(len(shown) - 1 - max(excess // 12, 1), 0)] + "…"


def _exit_code(error: Exception) -> int | None:
    if isinstance(error, events.BuildFailed | CommandNotStarted):
        return error.exit_code
    return None


def _whole(answer: ErrorResponse) -> str:
    hint = f"hint: {answer.hint}" if answer.hint else None
    return "\n".join(part for part in (answer.message, answer.details, hint) if part)


def _amount(event: events.ProgressMade) -> str:
    if event.total:
        return f"{100 * event.done // event.total} %"
    return f"{event.done // 1_000_000} MB" if event.unit == "bytes" else f"{event.done} entries"


def _parts(data: bytes) -> Iterator[bytes]:
    return (data[start : start + MAX_FRAME] for start in range(0, len(data), MAX_FRAME))


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
