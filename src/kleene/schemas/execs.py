"""Execution instances on the wire. Documented API: ExecConfig, ExecStartConfig."""

from __future__ import annotations

from typing import Annotated

import msgspec

TerminalSize = Annotated[int, msgspec.Meta(ge=1, le=65535)]
"""Rows or columns in characters: what fits into ``struct winsize`` (ioctl_tty(2))."""


class ExecConfig(msgspec.Struct):
    """A process that shall be started in a container.

    Attributes:
        container_id: the container's name, id or unique prefix.
        cmd: argument vector; ``[]`` takes the container's.
        env: ``NAME=VALUE`` lines, merged over the container's.
        user: ``""`` takes the container's.
        workdir: where it starts, an absolute path, made if it is missing; ``""`` takes the container's.
        privileged: give it all capabilities that the daemon has, whatever the container may.
        tty: give it a terminal.
        stdin: keep its standard input open for the client; without it, it reads end of file. The
            documented API does not have this field, and its clients send input without saying so
            before: who has none to send must say so.
    """

    container_id: str
    cmd: list[str] = []
    env: list[str] = []
    user: str = ""
    tty: bool = False
    stdin: bool = True
    workdir: str = ""
    privileged: bool = False


class ExecStartConfig(msgspec.Struct):
    """First frame of ``/exec/start``.

    Attributes:
        attach: stream the output; else only start the process.
        start_container: start the container too if it does not run.
        rows: terminal height in characters, with a terminal.
        columns: terminal width in characters, with a terminal.
    """

    exec_id: str
    attach: bool
    start_container: bool
    rows: TerminalSize | None = None
    columns: TerminalSize | None = None


class ExecInfo(msgspec.Struct):
    """An execution instance that runs. ``tty``, ``stdin``: as it was started with."""

    id: str
    cmd: list[str]
    user: str
    tty: bool
    stdin: bool


class AttachConfig(msgspec.Struct):
    """First frame of ``/containers/ID/attach``. Input is passed on if the process was started with it open.

    Attributes:
        exec_id: an execution instance that runs, or the beginning of its id; ``""`` is the oldest one.
        rows, columns: of the client's terminal, in characters.
    """

    exec_id: str = ""
    rows: TerminalSize | None = None
    columns: TerminalSize | None = None
