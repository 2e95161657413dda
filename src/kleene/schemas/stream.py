"""Stream messages on the WebSocket paths: ``/exec/start``, ``/images/build``, ``/images/create``,
``/containers/ID/logs``, ``/containers/ID/wait``.

Two protocols share these paths. In both, the client's first frame is the JSON configuration.

*Documented* (no subprotocol): a ``starting`` :class:`WebSocketMessage`, then frames of raw output, then a
close frame whose reason is the ``closing`` or ``error`` message. RFC 6455 section 5.5 leaves a close
reason 123 bytes, so a long message is shortened there and also written whole to the raw output before
the close; the error of a build always is. Frames from the client are input, an empty one is its end.

*Typed* (subprotocol :data:`SUBPROTOCOL`): text frames are one :data:`ServerMessage` each; binary frames
are output, the first byte :data:`STDOUT` or :data:`STDERR`, the rest the bytes as the process wrote them.
From the client, binary frames are input (first byte :data:`STDIN`), text frames one :data:`ClientMessage`
each. The last text frame is :class:`Closing` or :class:`Failed`; the close frame that follows has no reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kleene.schemas.constants import CLOSE_DETACHED as CLOSE_DETACHED
from kleene.schemas.constants import CLOSE_DONE as CLOSE_DONE
from kleene.schemas.constants import CLOSE_FAILED as CLOSE_FAILED
from kleene.schemas.constants import CLOSE_INVALID as CLOSE_INVALID
from kleene.schemas.constants import STDERR as STDERR
from kleene.schemas.constants import STDIN as STDIN
from kleene.schemas.constants import STDOUT as STDOUT
from kleene.schemas.constants import SUBPROTOCOL as SUBPROTOCOL
from kleene.schemas.execs import TerminalSize


class WebSocketMessage(msgspec.Struct):
    """A message of the documented protocol."""

    msg_type: Literal["starting", "closing", "error"]
    message: str = ""
    data: str = ""


class Starting(msgspec.Struct, tag="starting"):
    """The request was understood. ``data``: the id of the image being built, else ``""``."""

    data: str = ""


class StepStarted(msgspec.Struct, tag="step_started"):
    """Step ``number`` of ``total`` (from 1) begins; ``instruction`` is its source text.

    Attributes:
        stage, stage_name: index of its stage, from 0, and its name, if it has one. Several stages may be in
            work at the same time.
    """

    number: int
    total: int
    instruction: str
    stage: int = 0
    stage_name: str = ""


class OutputOf(msgspec.Struct, tag="output_of"):
    """The output that follows, until the next of these, is that of step ``number``."""

    number: int


class StepFinished(msgspec.Struct, tag="step_finished", omit_defaults=True):
    """Step ``number`` is done.

    Attributes:
        snapshot: id of the snapshot of the state after it; ``""`` if it has none of its own.
        cached: whether the state was taken from the cache.
        seconds: how long it took.
        reason: why the state was or was not in the cache; ``""`` for a step without a state of its own.
    """

    number: int
    snapshot: str
    cached: bool
    seconds: float
    reason: str = ""


class Progress(msgspec.Struct, tag="progress"):
    """How far a long operation is. ``total`` is ``None`` when unknown; both count ``unit``."""

    operation: str
    done: int
    total: int | None = None
    unit: Literal["bytes", "entries"] = "bytes"


class Warned(msgspec.Struct, tag="warning"):
    """Something is accepted, and should not be so.

    Attributes:
        message: begins with ``FILE:LINE:COLUMN:``, if it has a place.
        rule: name of the check of the Dockerfile that says so; ``""`` if it is none.
        kind: ``check`` makes ``klee build --check`` fail; so does ``experimental``, which is off unless the
            Dockerfile asks for it; ``kleene`` is what Docker does not check.
        hint: the remedy.
        details: the line with carets under the place.
        page: where the check is described.
        line, column: from 1; 0 if there is no place.
    """

    message: str
    rule: str = ""
    kind: Literal["check", "experimental", "kleene"] = "kleene"
    hint: str | None = None
    details: str | None = None
    page: str = ""
    line: int = 0
    column: int = 0


class Closing(msgspec.Struct, tag="closing", kw_only=True):
    """The operation succeeded, or the process ended.

    Attributes:
        message: for people.
        data: id of the image that was made, or of the execution instance.
        exit_code: of a process: its exit status, 128 + n if signal n ended it; of a container: that of
            its main process; ``None`` otherwise.
        container_stopped: of a process: whether its container stopped with it.
        detached: the process was only started, not waited for.
    """

    message: str = ""
    data: str = ""
    exit_code: int | None = None
    container_stopped: bool = False
    detached: bool = False


class Failed(msgspec.Struct, tag="failed", kw_only=True):
    """The operation failed.

    Attributes:
        data: of a build: the last good snapshot, ``""`` if there is none.
        exit_code: of a build: exit status of the command that failed; of a process that could not be
            started: 127 if there is no such command, 126 if it cannot be executed.
        image_id: of a build: the image that was kept as ``NAME:failed``; ``""`` if none was.
        step: of a build: the number of the step that failed; 0 if none did.
        failed_snapshot: of a build: the file system as that step left it; ``""`` if there is none.
        error_id: for an error inside the daemon: the id under which its log has the traceback.
    """

    message: str
    hint: str | None = None
    details: str | None = None
    data: str = ""
    exit_code: int | None = None
    image_id: str = ""
    step: int = 0
    failed_snapshot: str = ""
    error_id: str | None = None


class Resize(msgspec.Struct, tag="resize"):
    """The client's terminal has this size now, in characters."""

    rows: TerminalSize
    columns: TerminalSize


class EndOfInput(msgspec.Struct, tag="end_of_input"):
    """No more input follows: close the process's standard input."""


class Signal(msgspec.Struct, tag="signal"):
    """Send the process this signal, by name (``SIGINT``)."""

    name: str


ServerMessage = (
    Starting | StepStarted | OutputOf | StepFinished | Progress | Warned | Closing | Failed
)
ClientMessage = Resize | EndOfInput | Signal
